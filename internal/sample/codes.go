package sample

import (
	"fmt"
	"sort"
)

// Diagnoses that come from care and not from an illness of the list.
const (
	icdDelivery  = "O800"
	icdCaesarean = "O820"
	icdNewborn   = "Z380"
	icdDialysis  = "Z491"
	icdChemo     = "Z511"
	icdRadiation = "Z5101"
	icdUnknown   = "R99"
	icdSenility  = "R54"
	icdFall      = "W19"
	icdRoad      = "V892"
	icdSuicide   = "X709"
	icdSudden    = "I469"
	icdInfant    = "P969"
)

var (
	icdCodes  = makeICD()
	icdIndex  = indexOf(icdCodes)
	atcCodes  = makeATC()
	cipCodes  = makeCIP()
	deptCodes = makeDeptCodes()
	comCodes  = makeComCodes()
	hospitals = makeHospitals()
	carers    = makeCarers()
	sexCodes  = []string{"1", "2"}
	digits9   = []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
)

func makeICD() []string {
	seen := map[string]bool{}
	for _, ill := range illnesses {
		for _, c := range ill.codes {
			seen[c] = true
		}
	}
	for _, c := range []string{icdDelivery, icdCaesarean, icdNewborn, icdDialysis, icdChemo, icdRadiation, icdUnknown, icdSenility, icdFall, icdRoad, icdSuicide, icdSudden, icdInfant} {
		seen[c] = true
	}
	out := make([]string, 0, len(seen))
	for c := range seen {
		out = append(out, c)
	}
	sort.Strings(out)
	return out
}

func indexOf(list []string) map[string]int32 {
	out := make(map[string]int32, len(list))
	for i, s := range list {
		out[s] = int32(i)
	}
	return out
}

func makeATC() []string {
	var out []string
	for i := 0; i < len(drugs); i += presentations {
		out = append(out, drugs[i].atc)
	}
	return out
}

func makeCIP() []string {
	var out []string
	for _, d := range drugs {
		out = append(out, d.cip13)
	}
	return out
}

func makeDeptCodes() []string {
	var out []string
	for _, d := range departments {
		out = append(out, d.code)
	}
	return out
}

func makeComCodes() []string {
	var out []string
	for _, p := range places {
		out = append(out, p.code)
	}
	return out
}

// hospitalsPerDepartment is how many hospitals a department has; the first has an emergency ward and a
// maternity ward.
const hospitalsPerDepartment = 4

// makeHospitals numbers hospitals as the FINESS does: department, then seven digits.
func makeHospitals() []string {
	var out []string
	for i, d := range departments {
		for h := range hospitalsPerDepartment {
			out = append(out, fmt.Sprintf("%-2.2s%07d", d.code, 1000+i*10+h))
		}
	}
	return out
}

// carersPerDepartment is how many distinct professionals and pharmacies a department has.
const carersPerDepartment = 60

func makeCarers() []string {
	var out []string
	for i := range departments {
		for c := range carersPerDepartment {
			out = append(out, fmt.Sprintf("%08d", 10000000+i*10007+c*131))
		}
	}
	return out
}
