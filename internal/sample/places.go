package sample

import "fmt"

// department is where people are born and live. Weight is its population in thousands, rounded.
type department struct {
	code   string // "75", "2A", "971"
	weight float64
}

var departments = []department{
	{"01", 660}, {"02", 525}, {"03", 335}, {"04", 165}, {"05", 140}, {"06", 1100}, {"07", 330}, {"08", 265}, {"09", 155}, {"10", 310},
	{"11", 375}, {"12", 280}, {"13", 2050}, {"14", 695}, {"15", 145}, {"16", 350}, {"17", 655}, {"18", 300}, {"19", 240}, {"2A", 160},
	{"2B", 185}, {"21", 535}, {"22", 600}, {"23", 115}, {"24", 415}, {"25", 545}, {"26", 520}, {"27", 600}, {"28", 430}, {"29", 915},
	{"30", 750}, {"31", 1430}, {"32", 190}, {"33", 1650}, {"34", 1200}, {"35", 1100}, {"36", 218}, {"37", 612}, {"38", 1280}, {"39", 259},
	{"40", 420}, {"41", 329}, {"42", 767}, {"43", 227}, {"44", 1460}, {"45", 684}, {"46", 174}, {"47", 331}, {"48", 76}, {"49", 820},
	{"50", 495}, {"51", 565}, {"52", 170}, {"53", 306}, {"54", 732}, {"55", 182}, {"56", 770}, {"57", 1050}, {"58", 202}, {"59", 2610},
	{"60", 830}, {"61", 277}, {"62", 1460}, {"63", 663}, {"64", 690}, {"65", 230}, {"66", 485}, {"67", 1150}, {"68", 767}, {"69", 1890},
	{"70", 234}, {"71", 549}, {"72", 566}, {"73", 440}, {"74", 840}, {"75", 2130}, {"76", 1255}, {"77", 1440}, {"78", 1460}, {"79", 374},
	{"80", 568}, {"81", 393}, {"82", 263}, {"83", 1100}, {"84", 563}, {"85", 700}, {"86", 439}, {"87", 371}, {"88", 360}, {"89", 334},
	{"90", 140}, {"91", 1310}, {"92", 1640}, {"93", 1670}, {"94", 1420}, {"95", 1270}, {"971", 380}, {"972", 350}, {"973", 290}, {"974", 870}, {"976", 300},
}

// countries of birth abroad: INSEE codes 99xxx with a weight.
var countries = []struct {
	code   string
	weight float64
}{
	{"99352", 20}, {"99350", 18}, {"99139", 14}, {"99351", 8}, {"99127", 8}, {"99134", 7}, {"99208", 6}, {"99109", 5}, {"99132", 4}, {"99131", 4},
	{"99122", 3}, {"99114", 4}, {"99341", 3}, {"99326", 3}, {"99335", 3}, {"99322", 3}, {"99312", 3}, {"99216", 3}, {"99243", 2}, {"99410", 2},
	{"99397", 1}, {"99333", 2}, {"99205", 1}, {"99223", 1}, {"99416", 1}, {"99105", 1},
}

// place is a commune or a country of birth, as its INSEE code.
type place struct {
	code string // five characters
	dept int16  // index into departments, -1 abroad
}

// communesPerDepartment bounds the communes that a department has here; real ones have 100 to 900.
const communesPerDepartment = 20

var (
	places         = makePlaces()
	departmentDraw = makeDepartmentDraw()
	countryDraw    = makeCountryDraw()
	communeDraw    = makeCommuneDraw()
	firstCountry   = len(departments) * communesPerDepartment
)

// corsicaSouth is 2A; 2B stands behind it.
var corsicaSouth = func() int16 {
	for i, d := range departments {
		if d.code == "2A" {
			return int16(i)
		}
	}
	panic("2A is not in the list of departments")
}()

func makePlaces() []place {
	var out []place
	for d, dep := range departments {
		for c := range communesPerDepartment {
			n := 3 + c*17 // INSEE numbers communes in alphabetical order, so codes are spread
			code := fmt.Sprintf("%s%03d", dep.code, n)
			switch {
			case dep.code == "75": // arrondissements, which is what birth certificates name
				code = fmt.Sprintf("75%03d", 101+c)
			case len(dep.code) == 3:
				code = fmt.Sprintf("%s%02d", dep.code, 1+c)
			}
			out = append(out, place{code, int16(d)})
		}
	}
	for _, c := range countries {
		out = append(out, place{c.code, -1})
	}
	return out
}

func makeDepartmentDraw() []float64 {
	w := make([]float64, len(departments))
	for i, d := range departments {
		w[i] = d.weight
	}
	return runningSum(w)
}

func makeCountryDraw() []float64 {
	w := make([]float64, len(countries))
	for i, c := range countries {
		w[i] = c.weight
	}
	return runningSum(w)
}

func makeCommuneDraw() []float64 {
	w := make([]float64, communesPerDepartment)
	for i := range w {
		w[i] = 1 / float64(i+2)
	}
	return runningSum(w)
}

// communeIn draws a commune of a department; the answer is an index into places.
func communeIn(r *rng, dept int16) int16 {
	return dept*communesPerDepartment + int16(r.weighted(communeDraw))
}

func anyDepartment(r *rng) int16 { return int16(r.weighted(departmentDraw)) }

func anyCountry(r *rng) int16 { return int16(firstCountry + r.weighted(countryDraw)) }
