package sample

// Text is a text by language: "fr", "en", "fi".
type Text map[string]string

// Description is what a holder tells the catalogue about a dataset; description.json has this shape.
type Description struct {
	Holder      string              `json:"holder"`
	Dataset     string              `json:"dataset"`
	HolderName  Text                `json:"holder_name"`
	Title       Text                `json:"title"`
	Description Text                `json:"description"`
	Keywords    map[string][]string `json:"keywords"` // by language
	// Categories are letters of Regulation (EU) 2025/327 Art. 51(1), "a" to "q".
	Categories []string `json:"categories"`
	Purpose    Text     `json:"purpose"`    // why the data were collected
	Provenance Text     `json:"provenance"` // how and by whom
	Population Text     `json:"population"` // who is in it
	PeriodFrom string   `json:"period_from"`
	PeriodTo   string   `json:"period_to"`
	Frequency  string   `json:"frequency"` // of updates: EU vocabulary "ANNUAL", "MONTHLY", "DAILY", "NEVER"
	Contact    Contact  `json:"contact"`
	Access     Text     `json:"access"`       // conditions of access
	AccessCode string   `json:"access_level"` // EU vocabulary: "NON_PUBLIC"
	Spatial    string   `json:"spatial"`      // EU country authority code, "FRA"
	Languages  []string `json:"languages"`    // of the data
	Codings    []string `json:"codings"`      // coding systems in use: "icd10", "atc", …
	MinAge     int      `json:"min_age"`
	MaxAge     int      `json:"max_age"`
	// Records and Individuals are rows and person records in the files of this sample.
	Records     int64 `json:"records"`
	Individuals int64 `json:"individuals"`
}

// Contact is where to ask about a dataset.
type Contact struct {
	Name  Text   `json:"name"`
	Email string `json:"email"`
	URL   string `json:"url"`
}

func contact(fr, en, fi, host string) Contact {
	return Contact{Name: names(fr, en, fi), Email: "data@" + host + ".example", URL: "https://" + host + ".example/data"}
}

// nationalAccess is the condition that all holders of the sample country share.
var nationalAccess = names(
	"Sur autorisation de l'organisme d'accès aux données de santé, pour une finalité de l'article 53, dans un environnement de traitement sécurisé.",
	"By permit of the health data access body, for a purpose of Article 53, in a secure processing environment.",
	"Terveystiedoista vastaavan elimen luvalla, 53 artiklan mukaiseen tarkoitukseen, tietoturvallisessa käsittely-ympäristössä.")

// descriptions by the order of datasets; the period and the counts are filled when files are written.
var descriptions = [...]Description{
	inSNDS: {
		HolderName:  names("Caisse nationale de l'assurance maladie (pays fictif)", "National health insurance (sample country)", "Kansallinen sairausvakuutus (esimerkkimaa)"),
		Title:       names("Base nationale des remboursements, séjours et décès", "National claims, hospital stays and deaths", "Kansalliset korvaukset, sairaalajaksot ja kuolemat"),
		Description: names("Soins remboursés, médicaments délivrés, séjours hospitaliers et causes de décès de toute la population, avec les noms de tables et de variables du SNDS.", "Reimbursed care, dispensed drugs, hospital stays and causes of death of the whole population, with the table and variable names of the French SNDS.", "Koko väestön korvattu hoito, toimitetut lääkkeet, sairaalajaksot ja kuolemansyyt Ranskan SNDS:n taulu- ja muuttujanimin."),
		Keywords: map[string][]string{"fr": {"remboursements", "médicaments", "hospitalisations", "causes de décès", "SNDS", "diabète"},
			"en": {"claims", "drugs", "hospital stays", "causes of death", "SNDS", "diabetes"}, "fi": {"korvaukset", "lääkkeet", "sairaalajaksot", "kuolemansyyt", "SNDS", "diabetes"}},
		Categories: []string{"e", "l"},
		Purpose:    names("Rembourser les soins et payer les hôpitaux.", "To reimburse care and to pay hospitals.", "Hoidon korvaaminen ja sairaaloiden rahoitus."),
		Provenance: names("Feuilles de soins des professionnels et pharmacies, résumés de sortie des hôpitaux, certificats de décès.", "Claims of professionals and pharmacies, discharge summaries of hospitals, death certificates.", "Ammattilaisten ja apteekkien laskut, sairaaloiden poistoilmoitukset, kuolintodistukset."),
		Population: names("Toutes les personnes assurées, de la naissance au décès.", "All insured persons, from birth to death.", "Kaikki vakuutetut syntymästä kuolemaan."),
		Frequency:  "MONTHLY", Contact: contact("Département accès aux données", "Data access department", "Tietolupaosasto", "assurance-maladie"), Codings: []string{"icd10", "atc", "cip13"}, MaxAge: 110,
	},
	inOSCOUR: {
		HolderName:  names("Agence de santé publique (pays fictif)", "Public health agency (sample country)", "Kansanterveysvirasto (esimerkkimaa)"),
		Title:       names("Passages aux urgences", "Emergency visits", "Päivystyskäynnit"),
		Description: names("Un résumé par passage aux urgences : arrivée, motif, gravité, diagnostic, orientation. L'identité figure dans chaque ligne, sans NIR.", "One summary for each emergency visit: arrival, severity, diagnosis, where the patient went. Identity stands in each row, without national number.", "Yksi tietue päivystyskäyntiä kohti: saapuminen, vakavuus, diagnoosi, jatkohoito. Henkilötiedot ovat joka rivillä ilman henkilönumeroa."),
		Keywords:    map[string][]string{"fr": {"urgences", "surveillance", "RPU", "grippe", "traumatisme"}, "en": {"emergency", "surveillance", "influenza", "injury"}, "fi": {"päivystys", "seuranta", "influenssa", "vamma"}},
		Categories:  []string{"a", "e"},
		Purpose:     names("Surveillance sanitaire quotidienne.", "Daily health surveillance.", "Päivittäinen terveysseuranta."),
		Provenance:  names("Transmis chaque jour par les services d'urgence.", "Sent each day by emergency wards.", "Päivystysten päivittäin lähettämät."),
		Population:  names("Toutes les personnes venues aux urgences.", "Everybody who came to an emergency ward.", "Kaikki päivystyksessä käyneet."),
		Frequency:   "DAILY", Contact: contact("Cellule données", "Data unit", "Tietoyksikkö", "sante-publique"), Codings: []string{"icd10", "ccmu"}, MaxAge: 110,
	},
	inMarrow: {
		HolderName:  names("Registre des greffes de moelle (pays fictif)", "Bone-marrow registry (sample country)", "Luuydinrekisteri (esimerkkimaa)"),
		Title:       names("Registre des greffes de moelle osseuse", "Bone-marrow transplant registry", "Luuydinsiirtorekisteri"),
		Description: names("Chaque greffe de cellules souches : indication, type, source, complications et devenir.", "Each stem-cell transplant: indication, kind, source, complications and outcome.", "Jokainen kantasolusiirto: aihe, laji, lähde, komplikaatiot ja hoitotulos."),
		Keywords:    map[string][]string{"fr": {"greffe", "leucémie", "myélome", "registre"}, "en": {"transplant", "leukaemia", "myeloma", "registry"}, "fi": {"siirto", "leukemia", "myelooma", "rekisteri"}},
		Categories:  []string{"l"},
		Purpose:     names("Évaluer les résultats des greffes.", "To evaluate the outcome of transplants.", "Siirtojen tulosten arviointi."),
		Provenance:  names("Saisi par les centres greffeurs.", "Entered by the transplant centres.", "Siirtokeskusten kirjaamat."),
		Population:  names("Personnes greffées, de moins de 75 ans.", "Persons with a transplant, under 75.", "Siirron saaneet, alle 75-vuotiaat."),
		Frequency:   "ANNUAL", Contact: contact("Bureau du registre", "Registry office", "Rekisteritoimisto", "registre-moelle"), Codings: []string{"icd10"}, MaxAge: 75,
	},
	inSarcoma: {
		HolderName:  names("Institut du sarcome (pays fictif)", "Sarcoma institute (sample country)", "Sarkoomainstituutti (esimerkkimaa)"),
		Title:       names("Cohorte nationale des sarcomes", "National sarcoma cohort", "Kansallinen sarkoomakohortti"),
		Description: names("Patients atteints d'un sarcome et leur suivi : histologie, grade, traitements, réponse, douleur.", "Patients with a sarcoma and their follow-up: histology, grade, treatment, response, pain.", "Sarkoomapotilaat ja heidän seurantansa: histologia, aste, hoito, vaste, kipu."),
		Keywords:    map[string][]string{"fr": {"sarcome", "cancer rare", "cohorte", "histologie"}, "en": {"sarcoma", "rare cancer", "cohort", "histology"}, "fi": {"sarkooma", "harvinainen syöpä", "kohortti", "histologia"}},
		Categories:  []string{"l", "p"},
		Purpose:     names("Recherche clinique et épidémiologique sur les sarcomes.", "Clinical and epidemiological research on sarcomas.", "Sarkoomien kliininen ja epidemiologinen tutkimus."),
		Provenance:  names("Saisi par les centres de référence, sans NIR.", "Entered by reference centres, without national number.", "Osaamiskeskusten kirjaamat ilman henkilönumeroa."),
		Population:  names("Personnes atteintes d'un sarcome, de tous âges.", "Persons with a sarcoma, of all ages.", "Sarkoomaan sairastuneet, kaikenikäiset."),
		Frequency:   "ANNUAL", Contact: contact("Équipe cohorte", "Cohort team", "Kohorttiryhmä", "institut-sarcome"), Codings: []string{"icd10", "icdo3"}, MaxAge: 110,
	},
	inStudents: {
		HolderName:  names("Réseau des universités (pays fictif)", "Network of universities (sample country)", "Yliopistojen verkosto (esimerkkimaa)"),
		Title:       names("Cohorte de santé des étudiants", "Student health cohort", "Opiskelijoiden terveyskohortti"),
		Description: names("Étudiants de 18 à 30 ans suivis par un questionnaire annuel : humeur, anxiété, sommeil, tabac, alcool, renoncement aux soins.", "Students aged 18 to 30 followed by a yearly questionnaire: mood, anxiety, sleep, tobacco, alcohol, care forgone.", "18–30-vuotiaat opiskelijat, joille tehdään vuosikysely: mieliala, ahdistus, uni, tupakka, alkoholi, hoidotta jääminen."),
		Keywords:    map[string][]string{"fr": {"étudiants", "santé mentale", "questionnaire", "sommeil"}, "en": {"students", "mental health", "questionnaire", "sleep"}, "fi": {"opiskelijat", "mielenterveys", "kysely", "uni"}},
		Categories:  []string{"b", "p"},
		Purpose:     names("Recherche sur la santé des étudiants.", "Research on the health of students.", "Opiskelijoiden terveyden tutkimus."),
		Provenance:  names("Questionnaires en ligne remplis par les étudiants.", "Online questionnaires answered by students.", "Opiskelijoiden täyttämät verkkokyselyt."),
		Population:  names("Étudiants volontaires de 18 à 30 ans.", "Volunteer students aged 18 to 30.", "18–30-vuotiaat vapaaehtoiset opiskelijat."),
		Frequency:   "ANNUAL", Contact: contact("Équipe cohorte", "Cohort team", "Kohorttiryhmä", "universites"), Codings: []string{}, MinAge: 18, MaxAge: 30,
	},
}

// describe completes the description of dataset i.
func describe(i int, start, end day, rows, individuals int64) Description {
	d := descriptions[i]
	d.Holder, d.Dataset = datasets[i].holder, datasets[i].name
	d.PeriodFrom, d.PeriodTo = dateText(start), dateText(end)
	d.Access, d.AccessCode, d.Spatial, d.Languages = nationalAccess, "NON_PUBLIC", "FRA", []string{"fr"}
	d.Records, d.Individuals = rows, individuals
	return d
}
