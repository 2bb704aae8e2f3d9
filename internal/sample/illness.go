package sample

// drug is a medicine as a pharmacy bills it.
type drug struct {
	atc    string
	cip13  string
	cents  int32 // price of a box
	boxDay int32 // days a box lasts
	rate   int32 // reimbursement in percent
}

// use says that an illness leads to a drug for a share of its patients.
type use struct {
	atc   string
	share float64
}

// illness describes how often something strikes, whom, and what follows from it. Rates are per year and
// person ill, or per year and inhabitant for acute illness. byAge holds values for ages 0-9, 10-19 … 90+.
type illness struct {
	name    string
	codes   []string    // ICD-10 as written in the PMSI, without the dot
	byAge   [10]float64 // chronic: share of people who have it; acute: cases per person and year
	below   float64     // strikes only under this age; 0 for no limit
	men     float64     // factor for men
	women   float64     // factor for women
	chronic bool
	fresh   float64 // chronic: new cases a year, as a share of byAge
	drugs   []use
	gp      float64 // extra visits to the general practitioner (acute: probability of one)
	special int32   // specialty that follows it, 0 none
	visits  float64 // visits to that specialty
	labs    float64 // laboratory orders
	nurse   float64 // probability of a series of nursing
	physio  float64 // probability of a series of physiotherapy a year
	er      float64 // emergency visits (acute: probability of one)
	stay    float64 // hospital stays (acute: probability, given the emergency visit or the case)
	days    float64 // mean length of a stay
	risk    float64 // factor on the hazard of death while ill
	lethal  float64 // weight as cause of death
	winter  bool    // strikes mostly in winter
	longALD bool    // fully covered as long-term illness (exoneration 42)
	causes  []cause // what having it changes for later illnesses in the list
}

type cause struct {
	of     string
	factor float64
}

// Specialties as in PSE_SPE_COD.
const (
	gpSpecialty = 1
	cardiology  = 3
	surgery     = 4
	dermatology = 5
	radiology   = 6
	gynaecology = 7
	digestive   = 8
	entSpecial  = 11
	paediatrics = 12
	lungs       = 13
	rheumatism  = 14
	eyes        = 15
	neurology   = 32
	psychiatry  = 33
	kidneys     = 35
	hormones    = 42
)

// illnesses in the order in which they are drawn: what raises a risk stands before what it raises.
var illnesses = []illness{
	{name: "obesity", codes: []string{"E6600", "E6601", "E669"}, byAge: [10]float64{.02, .05, .09, .13, .16, .18, .19, .17, .13, .08}, men: 1, women: 1.05, chronic: true, fresh: .03, gp: .3, special: hormones, visits: .15, labs: .18, stay: .015, days: 3, risk: 1.1,
		causes: []cause{{"diabetes2", 3}, {"hypertension", 1.8}, {"apnoea", 4}, {"osteoarthritis", 1.7}}},
	{name: "hypertension", codes: []string{"I10"}, byAge: [10]float64{0, .001, .008, .035, .11, .24, .40, .53, .60, .60}, men: 1.05, women: .95, chronic: true, fresh: .06, gp: 1.2, special: cardiology, visits: .25, labs: .54, nurse: .02, er: .01, stay: .01, days: 3, risk: 1.05, lethal: .5,
		drugs: []use{{"C08CA01", .42}, {"C09AA05", .35}, {"C09CA06", .3}, {"C03AA03", .2}, {"C09DA04", .15}}, causes: []cause{{"ischaemic", 1.7}, {"stroke", 1.9}, {"heart failure", 1.8}, {"kidney", 1.7}, {"fibrillation", 1.5}}},
	{name: "lipids", codes: []string{"E780", "E785"}, byAge: [10]float64{0, 0, .005, .03, .09, .19, .30, .36, .30, .18}, men: 1.1, women: .9, chronic: true, fresh: .06, gp: .4, labs: .48, risk: 1,
		drugs: []use{{"C10AA05", .5}, {"C10AA07", .3}, {"C10AX09", .15}}, causes: []cause{{"ischaemic", 1.4}}},
	{name: "diabetes1", codes: []string{"E109", "E106"}, byAge: [10]float64{.0015, .003, .004, .0045, .005, .005, .0045, .004, .002, .001}, men: 1.1, women: .9, chronic: true, fresh: .05, gp: .8, special: hormones, visits: 2, labs: 1.8, nurse: .1, er: .08, stay: .12, days: 4, risk: 1.8, lethal: 1, longALD: true,
		drugs: []use{{"A10AB05", 1}, {"A10AE04", .95}}, causes: []cause{{"kidney", 3}, {"ischaemic", 1.8}}},
	{name: "diabetes2", codes: []string{"E119", "E112", "E113", "E114", "E115"}, byAge: [10]float64{0, .0005, .003, .012, .035, .085, .15, .19, .18, .13}, men: 1.2, women: .8, chronic: true, fresh: .07, gp: 1.5, special: hormones, visits: .6, labs: 1.56, nurse: .09, er: .03, stay: .05, days: 5, risk: 1.35, lethal: 2, longALD: true,
		drugs: []use{{"A10BA02", .82}, {"A10BH01", .3}, {"A10BB12", .2}, {"A10AE04", .2}, {"A10BJ02", .14}}, causes: []cause{{"kidney", 2.6}, {"ischaemic", 1.7}, {"stroke", 1.5}, {"heart failure", 1.5}}},
	{name: "hypothyroidism", codes: []string{"E039", "E063"}, byAge: [10]float64{.001, .003, .01, .02, .035, .055, .07, .08, .08, .07}, men: .35, women: 1.65, chronic: true, fresh: .05, gp: .4, special: hormones, visits: .25, labs: .84, risk: 1,
		drugs: []use{{"H03AA01", .98}}},
	{name: "asthma", codes: []string{"J450", "J459"}, byAge: [10]float64{.09, .10, .07, .06, .055, .055, .06, .06, .05, .03}, men: .95, women: 1.05, chronic: true, fresh: .05, gp: 1, special: lungs, visits: .3, labs: .06, er: .07, stay: .02, days: 3, risk: 1.05, lethal: .3,
		drugs: []use{{"R03AC02", .7}, {"R03BA02", .45}, {"R03AK06", .3}}},
	{name: "rhinitis", codes: []string{"J304", "J301"}, byAge: [10]float64{.06, .13, .15, .13, .10, .08, .05, .04, .02, .01}, men: 1, women: 1, chronic: true, fresh: .06, gp: .4, special: entSpecial, visits: .15, risk: 1,
		drugs: []use{{"R06AX27", .4}, {"R01AD09", .3}}},
	{name: "migraine", codes: []string{"G439", "G431"}, byAge: [10]float64{.01, .05, .09, .12, .12, .09, .05, .03, .01, .01}, men: .5, women: 1.5, chronic: true, fresh: .05, gp: .7, special: neurology, visits: .15, er: .02, risk: 1,
		drugs: []use{{"N02CC01", .25}, {"C07AA05", .15}, {"N02BE01", .2}}},
	{name: "depression", codes: []string{"F322", "F321", "F339"}, byAge: [10]float64{0, .02, .05, .06, .075, .085, .085, .09, .10, .10}, men: .65, women: 1.35, chronic: true, fresh: .12, gp: 2, special: psychiatry, visits: 1, labs: .18, er: .03, stay: .03, days: 12, risk: 1.25, lethal: .3,
		drugs: []use{{"N06AB10", .4}, {"N06AB06", .3}, {"N06AX16", .2}, {"N05BA12", .2}}},
	{name: "anxiety", codes: []string{"F411", "F419"}, byAge: [10]float64{.005, .03, .05, .06, .07, .08, .09, .10, .11, .10}, men: .7, women: 1.3, chronic: true, fresh: .12, gp: 1, special: psychiatry, visits: .3, er: .02, risk: 1.02,
		drugs: []use{{"N05BA12", .25}, {"N05BB01", .2}, {"N05CF02", .2}}},
	{name: "schizophrenia", codes: []string{"F200", "F259"}, byAge: [10]float64{0, .001, .005, .008, .008, .007, .006, .004, .003, .002}, men: 1.3, women: .7, chronic: true, fresh: .05, gp: .7, special: psychiatry, visits: 3, labs: .48, nurse: .08, er: .12, stay: .25, days: 18, risk: 2.2, lethal: .5, longALD: true,
		drugs: []use{{"N05AX08", .45}, {"N05AH03", .35}, {"N05AX13", .25}}},
	{name: "bipolar", codes: []string{"F319", "F312"}, byAge: [10]float64{0, .001, .006, .009, .010, .010, .009, .007, .004, .002}, men: .9, women: 1.1, chronic: true, fresh: .06, gp: .7, special: psychiatry, visits: 2.5, labs: .72, er: .06, stay: .12, days: 16, risk: 1.7, lethal: .3, longALD: true,
		drugs: []use{{"N05AN01", .4}, {"N03AG01", .35}, {"N05AH04", .3}}},
	{name: "epilepsy", codes: []string{"G409", "G403"}, byAge: [10]float64{.005, .007, .006, .006, .007, .008, .010, .012, .014, .014}, men: 1.05, women: .95, chronic: true, fresh: .07, gp: .6, special: neurology, visits: 1, labs: .42, er: .15, stay: .08, days: 4, risk: 1.6, lethal: .5, longALD: true,
		drugs: []use{{"N03AX14", .5}, {"N03AG01", .3}, {"N03AX09", .3}}},
	{name: "apnoea", codes: []string{"G473"}, byAge: [10]float64{.002, .003, .005, .015, .03, .05, .07, .06, .03, .01}, men: 1.4, women: .6, chronic: true, fresh: .06, gp: .3, special: lungs, visits: .6, stay: .02, days: 1, risk: 1.05},
	{name: "reflux", codes: []string{"K219", "K210"}, byAge: [10]float64{.02, .01, .03, .05, .08, .11, .14, .17, .18, .17}, men: .95, women: 1.05, chronic: true, fresh: .10, gp: .6, special: digestive, visits: .15, stay: .01, days: 1, risk: 1,
		drugs: []use{{"A02BC05", .5}, {"A02BC02", .4}}},
	{name: "endometriosis", codes: []string{"N800", "N801", "N809"}, byAge: [10]float64{0, .005, .03, .045, .04, .015, .004, .001, 0, 0}, men: 0, women: 2, chronic: true, fresh: .08, gp: .8, special: gynaecology, visits: 1.2, er: .06, stay: .06, days: 2, risk: 1,
		drugs: []use{{"G03DB08", .5}, {"M01AE01", .3}}},
	{name: "prostate hyperplasia", codes: []string{"N40"}, byAge: [10]float64{0, 0, 0, .002, .02, .09, .20, .30, .34, .30}, men: 2, women: 0, chronic: true, fresh: .07, gp: .5, special: surgery, visits: .3, labs: .36, er: .02, stay: .03, days: 4, risk: 1,
		drugs: []use{{"G04CA02", .6}, {"G04CB02", .2}}},
	{name: "osteoarthritis", codes: []string{"M171", "M169", "M159"}, byAge: [10]float64{0, 0, .005, .02, .07, .16, .26, .34, .38, .36}, men: .8, women: 1.2, chronic: true, fresh: .06, gp: .8, special: rheumatism, visits: .3, labs: .12, physio: .25, stay: .03, days: 6, risk: 1,
		drugs: []use{{"N02BE01", .5}, {"M01AE01", .2}, {"N02AJ13", .15}}},
	{name: "osteoporosis", codes: []string{"M810", "M800"}, byAge: [10]float64{0, 0, 0, .001, .005, .03, .08, .14, .18, .18}, men: .25, women: 1.75, chronic: true, fresh: .07, gp: .4, special: rheumatism, visits: .3, labs: .3, risk: 1.05, drugs: []use{{"M05BA04", .4}, {"A11CC05", .6}}, causes: []cause{{"hip fracture", 2.2}, {"wrist fracture", 1.6}}},
	{name: "rheumatoid", codes: []string{"M0580", "M0690"}, byAge: [10]float64{0, .0005, .001, .003, .006, .010, .013, .014, .012, .008}, men: .5, women: 1.5, chronic: true, fresh: .06, gp: 1, special: rheumatism, visits: 2, labs: 1.8, stay: .1, days: 3, risk: 1.3, lethal: .3, longALD: true,
		drugs: []use{{"L04AX03", .7}, {"H02AB06", .5}, {"L04AB04", .25}}},
	{name: "copd", codes: []string{"J441", "J449"}, byAge: [10]float64{0, 0, .001, .004, .015, .04, .075, .095, .09, .07}, men: 1.35, women: .65, chronic: true, fresh: .08, gp: 1.5, special: lungs, visits: .8, labs: .24, nurse: .04, physio: .15, er: .15, stay: .13, days: 7, risk: 2, lethal: 4, longALD: true,
		drugs: []use{{"R03BB04", .6}, {"R03AK06", .4}, {"R03AC02", .6}}},
	{name: "kidney", codes: []string{"N183", "N184", "N189"}, byAge: [10]float64{.0005, .001, .002, .004, .009, .02, .04, .07, .11, .14}, men: 1.15, women: .85, chronic: true, fresh: .08, gp: 1, special: kidneys, visits: 1, labs: 2.4, nurse: .06, er: .05, stay: .1, days: 6, risk: 1.7, lethal: 2, longALD: true,
		drugs: []use{{"C03CA01", .45}, {"B03XA02", .1}, {"V03AE01", .1}}, causes: []cause{{"dialysis", 250}}},
	{name: "dialysis", codes: []string{"N185"}, byAge: [10]float64{0, .00001, .00001, .00002, .00003, .00005, .00007, .0001, .00009, .00005}, men: 1.2, women: .8, chronic: true, fresh: .12, gp: .5, special: kidneys, visits: 3, labs: 4.8, er: .2, stay: .4, days: 6, risk: 3.5, lethal: 4, longALD: true, drugs: []use{{"B03XA02", .8}, {"V03AE01", .6}}},
	{name: "ischaemic", codes: []string{"I251", "I259", "I200"}, byAge: [10]float64{0, 0, .0005, .003, .014, .04, .08, .13, .17, .18}, men: 1.45, women: .55, chronic: true, fresh: .08, gp: 1.5, special: cardiology, visits: 1, labs: .72, nurse: .03, er: .12, stay: .14, days: 4, risk: 1.6, lethal: 4.5, longALD: true,
		drugs: []use{{"B01AC06", .85}, {"C07AB07", .7}, {"C10AA05", .75}, {"C01DA02", .2}}, causes: []cause{{"heart failure", 2.5}, {"infarction", 8}}},
	{name: "fibrillation", codes: []string{"I480", "I489"}, byAge: [10]float64{0, 0, .0005, .001, .005, .015, .045, .10, .16, .20}, men: 1.2, women: .8, chronic: true, fresh: .10, gp: 1.2, special: cardiology, visits: 1, labs: .9, nurse: .05, er: .1, stay: .12, days: 5, risk: 1.4, lethal: 2.2, longALD: true,
		drugs: []use{{"B01AF02", .55}, {"B01AF01", .25}, {"C07AB07", .6}, {"C01BD01", .25}}, causes: []cause{{"stroke", 2.8}, {"heart failure", 2}}},
	{name: "heart failure", codes: []string{"I500", "I501", "I509"}, byAge: [10]float64{0, 0, .00009, .00045, .00135, .0045, .01125, .02475, .0495, .0765}, men: 1.1, women: .9, chronic: true, fresh: .13, gp: 2.5, special: cardiology, visits: 1.2, labs: 1.8, nurse: .15, er: .3, stay: .35, days: 9, risk: 2.6, lethal: 6, longALD: true,
		drugs: []use{{"C03CA01", .9}, {"C09AA05", .6}, {"C07AB07", .7}, {"C03DA01", .3}}},
	{name: "stroke", codes: []string{"I639", "I634", "I64"}, byAge: [10]float64{0, .0002, .0005, .001, .004, .012, .025, .045, .065, .07}, men: 1.15, women: .85, chronic: true, fresh: .13, gp: 1.2, special: neurology, visits: .8, labs: .6, nurse: .08, physio: .35, er: .1, stay: .12, days: 10, risk: 2, lethal: 6.5, longALD: true,
		drugs: []use{{"B01AC06", .7}, {"C10AA05", .6}, {"C09AA05", .4}}},
	{name: "dementia", codes: []string{"G309", "F009", "F03"}, byAge: [10]float64{0, 0, 0, 0, .0005, .002, .01, .05, .16, .30}, men: .75, women: 1.25, chronic: true, fresh: .18, gp: 2, special: neurology, visits: .7, labs: .6, nurse: .3, er: .25, stay: .15, days: 11, risk: 2.5, lethal: 9, longALD: true,
		drugs: []use{{"N06DA02", .25}, {"N05AX08", .15}, {"N06AB10", .3}}, causes: []cause{{"hip fracture", 2}}},
	{name: "parkinson", codes: []string{"G20"}, byAge: [10]float64{0, 0, 0, 0, .0005, .002, .006, .016, .025, .022}, men: 1.2, women: .8, chronic: true, fresh: .11, gp: 1.2, special: neurology, visits: 1.5, nurse: .12, physio: .6, er: .12, stay: .13, days: 9, risk: 1.9, lethal: 3, longALD: true,
		drugs: []use{{"N04BA02", .9}, {"N04BC05", .3}}},
	{name: "sclerosis", codes: []string{"G35"}, byAge: [10]float64{0, .0001, .001, .002, .003, .003, .002, .001, .0005, .0002}, men: .55, women: 1.45, chronic: true, fresh: .05, gp: .7, special: neurology, visits: 2, labs: .9, physio: .5, er: .04, stay: .12, days: 2, risk: 1.4, lethal: .5, longALD: true,
		drugs: []use{{"L04AA27", .4}, {"L03AX13", .3}, {"M03BX01", .3}}},
	{name: "hiv", codes: []string{"B24", "B20"}, byAge: [10]float64{0, .0001, .001, .003, .004, .005, .003, .001, .0003, 0}, men: 1.35, women: .65, chronic: true, fresh: .04, gp: .8, labs: 1.8, stay: .04, days: 5, risk: 1.4, lethal: .5, longALD: true, drugs: []use{{"J05AR20", .98}}},
	{name: "crohn", codes: []string{"K509", "K519"}, byAge: [10]float64{.0002, .002, .004, .005, .005, .004, .004, .003, .002, .001}, men: .95, women: 1.05, chronic: true, fresh: .06, gp: .8, special: digestive, visits: 1.8, labs: 1.8, er: .08, stay: .2, days: 3, risk: 1.15, lethal: .2, longALD: true,
		drugs: []use{{"L04AB04", .4}, {"A07EC02", .5}, {"L04AX01", .25}}},
	{name: "glaucoma", codes: []string{"H401"}, byAge: [10]float64{0, 0, .001, .003, .01, .02, .04, .07, .09, .10}, men: 1, women: 1, chronic: true, fresh: .07, special: eyes, visits: 1.8, risk: 1, drugs: []use{{"S01EE01", .7}, {"S01ED01", .35}}},
	{name: "breast cancer", codes: []string{"C509", "C504", "C508"}, byAge: [10]float64{0, 0, .0002, .002, .009, .018, .027, .030, .026, .02}, men: .01, women: 1.99, chronic: true, fresh: .10, gp: 1.2, special: gynaecology, visits: 1.8, labs: 1.2, nurse: .1, er: .06, stay: .35, days: 3, risk: 2.2, lethal: 26, longALD: true,
		drugs: []use{{"L02BA01", .3}, {"L02BG04", .4}}},
	{name: "prostate cancer", codes: []string{"C61"}, byAge: [10]float64{0, 0, 0, 0, .001, .008, .03, .055, .06, .055}, men: 2, women: 0, chronic: true, fresh: .10, gp: 1, special: surgery, visits: 1.8, labs: 1.2, nurse: .05, er: .07, stay: .2, days: 5, risk: 1.7, lethal: 22, longALD: true,
		drugs: []use{{"L02AE02", .4}, {"L02BB04", .1}}},
	{name: "colorectal cancer", codes: []string{"C189", "C187", "C20"}, byAge: [10]float64{0, 0, .0001, .0004, .0015, .005, .011, .018, .022, .02}, men: 1.15, women: .85, chronic: true, fresh: .14, gp: 1.5, special: digestive, visits: 1.8, labs: 1.8, nurse: .15, er: .15, stay: .5, days: 8, risk: 3.2, lethal: 38, longALD: true,
		drugs: []use{{"L01BC06", .3}, {"A04AA01", .3}}},
	{name: "lung cancer", codes: []string{"C349", "C341"}, byAge: [10]float64{0, 0, 0, .00017, .00119, .0051, .0102, .0119, .0085, .0051}, men: 1.35, women: .65, chronic: true, fresh: .35, gp: 2, special: lungs, visits: 2, labs: 2.4, nurse: .2, er: .3, stay: .8, days: 8, risk: 9, lethal: 120, longALD: true,
		drugs: []use{{"A04AA01", .4}, {"N02AA01", .4}}},
	{name: "other cancer", codes: []string{"C259", "C220", "C169", "C679", "C64"}, byAge: [10]float64{.0001, .0001, .0002, .0005, .0015, .004, .008, .013, .015, .013}, men: 1.3, women: .7, chronic: true, fresh: .25, gp: 1.6, special: digestive, visits: 1.8, labs: 1.8, nurse: .15, er: .2, stay: .6, days: 8, risk: 5, lethal: 75, longALD: true,
		drugs: []use{{"A04AA01", .3}, {"N02AA01", .3}}},
	{name: "blood cancer", codes: []string{"C920", "C900", "C833", "C910"}, byAge: [10]float64{.0008, .0007, .0008, .0012, .002, .0035, .006, .009, .011, .009}, men: 1.15, women: .85, chronic: true, fresh: .20, gp: 1.5, special: 9, visits: 2.5, labs: 3.6, nurse: .2, er: .3, stay: .9, days: 10, risk: 5, lethal: 38, longALD: true,
		drugs: []use{{"L04AX04", .3}, {"J05AB01", .4}, {"H02AB06", .4}}},
	{name: "sarcoma", codes: []string{"C492", "C499", "C493", "C480", "C402"}, byAge: [10]float64{.0008, .0016, .0014, .0016, .0022, .0030, .0038, .0042, .0040, .0034}, men: 1.1, women: .9, chronic: true, fresh: .22, gp: 1.5, special: surgery, visits: 2, labs: 1.8, nurse: .15, er: .15, stay: .7, days: 7, risk: 4, lethal: 26, longALD: true,
		drugs: []use{{"A04AA01", .4}, {"N02AA01", .3}}},

	{name: "cold", codes: []string{"J069", "J00"}, byAge: [10]float64{1.5, .6, .5, .5, .45, .4, .35, .3, .3, .3}, men: .95, women: 1.05, winter: true, gp: .75, er: .012, stay: .01, days: 1, drugs: []use{{"N02BE01", .75}, {"R05CB03", .3}, {"R01AD09", .25}}},
	{name: "otitis", codes: []string{"H669", "H660"}, byAge: [10]float64{.55, .08, .03, .02, .02, .01, .01, .01, .01, .01}, men: 1, women: 1, winter: true, gp: .92, er: .06, stay: .02, days: 1, drugs: []use{{"J01CA04", .75}, {"N02BE01", .8}}},
	{name: "bronchiolitis", codes: []string{"J219", "J210"}, below: 2, byAge: [10]float64{.32, 0, 0, 0, 0, 0, 0, 0, 0, 0}, men: 1.1, women: .9, winter: true, gp: .6, er: .35, stay: .35, days: 3, drugs: []use{{"N02BE01", .5}, {"R03AC02", .3}}},
	{name: "influenza", codes: []string{"J111", "J101"}, byAge: [10]float64{.08, .06, .04, .04, .04, .035, .03, .03, .035, .04}, men: 1, women: 1, winter: true, gp: .8, er: .06, stay: .12, days: 5, lethal: .5, drugs: []use{{"N02BE01", .9}, {"J05AH02", .1}}},
	{name: "covid", codes: []string{"U0710", "U0711"}, byAge: [10]float64{.04, .04, .05, .05, .05, .05, .05, .055, .06, .07}, men: 1, women: 1, winter: true, gp: .5, er: .05, stay: .25, days: 7, lethal: .7, drugs: []use{{"N02BE01", .6}}},
	{name: "pneumonia", codes: []string{"J189", "J181"}, byAge: [10]float64{.008, .003, .003, .004, .005, .008, .013, .026, .06, .10}, men: 1.15, women: .85, winter: true, gp: .6, er: .6, stay: .6, days: 9, lethal: 2.5, drugs: []use{{"J01CR02", .7}, {"J01FA09", .3}, {"N02BE01", .5}}},
	{name: "stomach flu", codes: []string{"A09", "A090"}, byAge: [10]float64{.35, .1, .1, .08, .06, .05, .04, .04, .05, .06}, men: 1, women: 1, winter: true, gp: .65, er: .08, stay: .08, days: 2, drugs: []use{{"A07XA04", .5}, {"A03FA03", .4}}},
	{name: "urinary infection", codes: []string{"N390", "N300", "N10"}, byAge: [10]float64{.012, .015, .05, .05, .05, .05, .06, .08, .10, .12}, men: .3, women: 1.7, gp: .85, er: .08, stay: .2, days: 5, lethal: .4, drugs: []use{{"J01XX01", .6}, {"J01MA06", .15}, {"J01CA08", .2}}},
	{name: "back pain", codes: []string{"M545", "M544"}, byAge: [10]float64{.003, .04, .11, .16, .19, .19, .15, .12, .10, .08}, men: 1, women: 1, gp: .9, er: .03, stay: .03, days: 3, physio: .2, drugs: []use{{"N02BE01", .7}, {"M01AE01", .5}, {"N02AJ13", .25}, {"M03BX05", .2}}},
	{name: "sprain", codes: []string{"S934", "S836"}, byAge: [10]float64{.03, .0825, .06, .045, .03, .0225, .015, .012, .009, .0075}, men: 1.1, women: .9, gp: .4, er: .5, stay: .005, days: 1, physio: .35, drugs: []use{{"N02BE01", .7}, {"M01AE01", .4}}},
	{name: "head injury", codes: []string{"S060", "S099"}, byAge: [10]float64{.0375, .018, .012, .009, .009, .0105, .012, .0225, .045, .075}, men: 1.15, women: .85, gp: .2, er: .9, stay: .1, days: 2, lethal: .5, drugs: []use{{"N02BE01", .4}}},
	{name: "wound", codes: []string{"S610", "S018", "S810"}, byAge: [10]float64{.045, .03, .0375, .033, .03, .024, .018, .018, .0225, .03}, men: 1.35, women: .65, gp: .3, er: .7, stay: .02, days: 1, nurse: .4, drugs: []use{{"D08AG02", .6}, {"J01CR02", .2}}},
	{name: "wrist fracture", codes: []string{"S525", "S526"}, byAge: [10]float64{.008, .009, .003, .003, .003, .005, .006, .008, .01, .01}, men: .75, women: 1.25, gp: .1, er: .95, stay: .2, days: 2, physio: .6, drugs: []use{{"N02BE01", .8}, {"N02AJ13", .3}}},
	{name: "hip fracture", codes: []string{"S7200", "S7210"}, byAge: [10]float64{0, 0, .0001, .0002, .0003, .0006, .0015, .005, .016, .035}, men: .6, women: 1.4, er: 1, stay: 1, days: 11, physio: .9, nurse: .7, lethal: 2, drugs: []use{{"N02BE01", .9}, {"B01AB05", .8}, {"N02AJ13", .3}}},
	{name: "chest pain", codes: []string{"R074", "R073"}, byAge: [10]float64{.0015, .0075, .012, .015, .0195, .024, .027, .03, .03, .03}, men: 1.1, women: .9, gp: .3, er: .85, stay: .15, days: 1.5, drugs: []use{{"N02BE01", .3}}},
	{name: "infarction", codes: []string{"I211", "I214", "I210"}, byAge: [10]float64{0, 0, .00005, .0003, .001, .002, .0025, .0032, .005, .006}, men: 1.45, women: .55, er: .8, stay: 1, days: 6, lethal: 5, drugs: []use{{"B01AC06", .95}, {"B01AC24", .8}, {"C10AA05", .9}, {"C07AB07", .8}}},
	{name: "embolism", codes: []string{"I269", "I802"}, byAge: [10]float64{0, .0002, .0007, .001, .0013, .002, .003, .005, .007, .008}, men: .95, women: 1.05, er: .7, stay: .7, days: 6, lethal: 1.5, drugs: []use{{"B01AF01", .6}, {"B01AB05", .5}}},
	{name: "abdominal pain", codes: []string{"R104", "R103"}, byAge: [10]float64{.045, .045, .045, .033, .027, .0225, .0225, .024, .03, .033}, men: .85, women: 1.15, gp: .4, er: .7, stay: .08, days: 1.5, drugs: []use{{"A03AX13", .5}, {"N02BE01", .4}}},
	{name: "appendicitis", codes: []string{"K358", "K352"}, byAge: [10]float64{.0007, .0022, .0014, .0009, .0006, .0005, .0004, .0003, .0003, .0003}, men: 1.1, women: .9, er: .95, stay: .97, days: 3, nurse: .4, drugs: []use{{"N02BE01", .8}, {"J01CR02", .5}}},
	{name: "gallstones", codes: []string{"K802", "K800"}, byAge: [10]float64{0, .0002, .001, .002, .0025, .003, .0035, .004, .0045, .004}, men: .7, women: 1.3, er: .5, stay: .8, days: 3, lethal: .2, drugs: []use{{"N02BE01", .8}, {"A03AX13", .5}}},
	{name: "kidney stone", codes: []string{"N201", "N200"}, byAge: [10]float64{0, .0005, .003, .005, .006, .005, .004, .003, .002, .001}, men: 1.35, women: .65, gp: .2, er: .85, stay: .25, days: 2, drugs: []use{{"M01AE01", .7}, {"G04CA02", .3}}},
	{name: "skin infection", codes: []string{"L031", "A46"}, byAge: [10]float64{.01, .008, .008, .008, .009, .01, .012, .015, .02, .024}, men: 1.1, women: .9, gp: .8, er: .2, stay: .2, days: 6, nurse: .15, drugs: []use{{"J01FG01", .6}, {"J01CA04", .3}}},
	{name: "bleeding", codes: []string{"K922", "K921"}, byAge: [10]float64{.0002, .0002, .0004, .0006, .001, .0015, .002, .004, .008, .011}, men: 1.1, women: .9, er: .85, stay: .7, days: 5, lethal: 1, drugs: []use{{"A02BC05", .7}}},
	{name: "self-harm", codes: []string{"T509", "T424"}, byAge: [10]float64{0, .0028, .0022, .0018, .002, .0016, .0009, .0006, .0005, .0004}, men: .75, women: 1.25, er: .97, stay: .6, days: 2, lethal: .6, drugs: []use{{"N05BA12", .3}}},
	{name: "cataract", codes: []string{"H259", "H250"}, byAge: [10]float64{0, 0, 0, .0003, .001, .005, .02, .045, .045, .025}, men: .9, women: 1.1, stay: 1, days: 0, drugs: []use{{"S01CA01", .9}}},
	{name: "endoscopy", codes: []string{"Z121", "K635", "Z090"}, byAge: [10]float64{.0002, .001, .006, .012, .022, .04, .045, .035, .015, .005}, men: 1, women: 1, stay: 1, days: 0, drugs: []use{{"A06AD65", .9}}},
	{name: "eczema", codes: []string{"L209", "L309"}, byAge: [10]float64{.09, .05, .04, .035, .03, .03, .03, .035, .04, .04}, men: 1, women: 1, gp: .8, special: dermatology, er: .01, drugs: []use{{"D07AC01", .7}, {"D02AC", .5}}},
}
