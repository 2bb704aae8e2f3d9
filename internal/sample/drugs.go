package sample

import (
	"fmt"
	"sort"
)

// priceOf gives the box of a drug: cents, days it lasts, reimbursement in percent. Prices are of the
// right order, not the real ones. Drugs not listed get a common box.
var priceOf = map[string][3]int32{
	"A10AB05": {3650, 28, 65}, "A10AE04": {3880, 28, 65}, "A10BJ02": {8600, 28, 65}, "A10BA02": {290, 30, 65}, "A10BH01": {2150, 28, 65}, "A10BB12": {410, 30, 65},
	"B01AF01": {6300, 28, 65}, "B01AF02": {6500, 30, 65}, "C10AA05": {720, 28, 65}, "C10AA07": {650, 28, 65}, "L04AB04": {62000, 28, 65}, "L04AX03": {1600, 28, 65},
	"L04AA27": {142000, 28, 65}, "L03AX13": {68000, 28, 65}, "L04AX04": {310000, 28, 100}, "L02BA01": {1450, 30, 100}, "L02BG04": {3900, 30, 100}, "L02AE02": {33000, 90, 100}, "L02BB04": {270000, 28, 100},
	"L01BC06": {12000, 21, 100}, "J05AR20": {72000, 30, 100}, "B03XA02": {14500, 28, 65}, "N02BE01": {210, 8, 65}, "M01AE01": {180, 10, 65}, "R05CB03": {190, 8, 15}, "S01EE01": {1090, 28, 65},
	"M05BA04": {1050, 28, 65}, "R03AK06": {3100, 30, 65}, "R03BB04": {2900, 30, 65}, "H03AA01": {260, 30, 65}, "G03AA07": {330, 84, 65}, "J07BB02": {1150, 1, 65},
}

// otherDrugs are dispensed without an illness of the list.
var otherDrugs = []string{"G03AA07", "J07BB02", "A11CC05", "N02BE01", "M01AE01", "R06AX27", "A06AD65", "D02AC", "S01XA20", "N05CF02", "B03AA07", "V06DX", "D08AG02"}

var (
	drugs    = makeDrugs()
	drugByID = indexDrugs()
)

// makeDrugs lists every drug that an illness or otherDrugs name, in two packages each, with fictitious CIP13 codes in the French range (34009…), with their check digit.
func makeDrugs() []drug {
	seen := map[string]bool{}
	var atc []string
	add := func(code string) {
		if !seen[code] {
			seen[code] = true
			atc = append(atc, code)
		}
	}
	for _, ill := range illnesses {
		for _, u := range ill.drugs {
			add(u.atc)
		}
	}
	for _, code := range otherDrugs {
		add(code)
	}
	sort.Strings(atc)
	var out []drug
	for i, code := range atc {
		box, ok := priceOf[code]
		if !ok {
			box = [3]int32{540, 28, 65}
		}
		for j := range presentations {
			d := drug{atc: code, cip13: cip13(100000 + i*37 + j*7919), cents: box[0], boxDay: box[1], rate: box[2]}
			if j == 1 && d.boxDay >= 28 && d.boxDay < 60 { // the second package lasts three months
				d.cents, d.boxDay = d.cents*27/10, d.boxDay*3
			}
			out = append(out, d)
		}
	}
	return out
}

// presentations is how many packages each substance is sold in.
const presentations = 2

// cip13 completes 34009 and seven digits with the EAN-13 check digit.
func cip13(n int) string {
	body := fmt.Sprintf("34009%07d", 3000000+n)
	sum := 0
	for i, c := range []byte(body) {
		d := int(c - '0')
		if i%2 == 1 {
			d *= 3
		}
		sum += d
	}
	return body + string(digit((10-sum%10)%10))
}

// indexDrugs maps an ATC code to the index of its first presentation.
func indexDrugs() map[string]int {
	out := map[string]int{}
	for i := len(drugs) - 1; i >= 0; i-- {
		out[drugs[i].atc] = i
	}
	return out
}
