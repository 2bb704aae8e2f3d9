package sample

import "github.com/mitral-health/mitral/internal/contract"

// Names of holders and datasets, which other parts of the demonstration refer to.
const (
	HolderSNDS     = "cnam"
	HolderOSCOUR   = "sante-publique"
	HolderMarrow   = "registre-moelle"
	HolderSarcoma  = "institut-sarcome"
	HolderStudents = "universites"
	HolderResearch = "recherche"
)

// The dataset of each holder, by its name.
const (
	DatasetSNDS     = "snds"
	DatasetOSCOUR   = "oscour"
	DatasetMarrow   = "greffes"
	DatasetSarcoma  = "cohorte"
	DatasetStudents = "etudiants"
	DatasetGiBleed  = "gibleed"
)

// beneficiaries is IR_BEN_R. The pseudonyms of the real table stand here as what they are made from,
// because splitting identity from payload is the holder's agent's work.
var beneficiaries = &table{
	name:  "IR_BEN_R",
	title: names("Référentiel des bénéficiaires", "Register of insured persons", "Vakuutettujen rekisteri"),
	columns: []column{
		textCol("BEN_IDT_ANO", "Identifiant du bénéficiaire", "Person number of the holder", "Rekisterinpitäjän henkilönumero").role(contract.RolePersonKey).required(),
		textCol("BEN_NIR", "NIR du bénéficiaire", "National number (NIR)", "Kansallinen henkilönumero (NIR)").role(contract.RoleNIR),
		textCol("BEN_NOM_NAI", "Nom de naissance", "Birth name", "Syntymänimi").role(contract.RoleBirthName),
		textCol("BEN_NOM_USA", "Nom d'usage", "Used name", "Käytetty nimi").role(contract.RoleUsedName),
		textCol("BEN_PRN", "Prénom", "Given name", "Etunimi").role(contract.RoleGivenName),
		dateCol("BEN_NAI_DTE", "Date de naissance", "Date of birth", "Syntymäaika").role(contract.RoleBirthDate),
		codeCol("BEN_SEX", "sex", sexCodes, "Sexe", "Sex", "Sukupuoli").role(contract.RoleSex),
		codeCol("BEN_NAI_COM", "insee-commune", comCodes, "Commune ou pays de naissance", "Municipality or country of birth", "Syntymäkunta tai -maa").role(contract.RoleBirthPlace),
		codeCol("BEN_RES_COM", "insee-commune", comCodes, "Commune de résidence", "Municipality of residence", "Asuinkunta").role(contract.RoleResidence),
		textCol("ASS_NIR", "NIR de l'ouvreur de droits", "National number of the insured parent", "Vakuutetun vanhemman henkilönumero").role(contract.RoleOwnerNIR),
		textCol("BEN_RNG_GEM", "Rang gémellaire", "Rank among twins", "Kaksosjärjestys").role(contract.RoleTwinRank),
		intCol("BEN_NAI_ANN", "Année de naissance", "Year of birth", "Syntymävuosi"),
		intCol("BEN_NAI_MOI", "Mois de naissance", "Month of birth", "Syntymäkuukausi"),
		intCol("BEN_SEX_COD", "Code sexe", "Sex", "Sukupuoli").list("sex"),
		codeCol("BEN_RES_DPT", "fr-departement", deptCodes, "Département de résidence", "Department of residence", "Asuindepartementti"),
		dateCol("BEN_DCD_DTE", "Date de décès", "Date of death", "Kuolinpäivä"),
		codeCol("BEN_CDI_NIR", "IR_NIR_V", nirKinds, "Code d'identification du NIR", "Kind of national number", "Henkilönumeron laji"),
		intCol("BEN_TOP_CNS", "Top consommant", "Had care in the period (0 or 1)", "Käyttänyt palveluja (0 tai 1)"),
		dateCol("BEN_DTE_INS", "Date d'insertion dans le référentiel", "Date of entry in the register", "Rekisteriin lisäämispäivä"),
	},
}

// nirKinds are the values of BEN_CDI_NIR used here: normal, provisional.
var nirKinds = []string{"00", "04"}

var claims = &table{
	name:      "ER_PRS_F",
	title:     names("Prestations remboursées", "Reimbursed care (claims)", "Korvatut palvelut"),
	eventDate: "EXE_SOI_DTD",
	columns: []column{
		textCol("BEN_IDT_ANO", "Identifiant du bénéficiaire", "Person number of the holder", "Rekisterinpitäjän henkilönumero").role(contract.RolePersonKey).required(),
		dateCol("FLX_DIS_DTD", "Date de mise à disposition", "Date made available", "Saataville asettamisen päivä"),
		intCol("FLX_EMT_NUM", "Numéro de l'émetteur du flux", "Sender of the flow", "Tietovirran lähettäjä"),
		intCol("DCT_ORD_NUM", "Numéro du décompte", "Number of the statement", "Tositteen numero"),
		intCol("PRS_ORD_NUM", "Numéro de la prestation dans le décompte", "Line of the statement", "Tositteen rivi"),
		dateCol("EXE_SOI_DTD", "Date des soins", "Date of care", "Hoitopäivä").required(),
		dateCol("PRE_PRE_DTD", "Date de prescription", "Date of prescription", "Määräyspäivä"),
		intCol("PRS_NAT_REF", "Nature de la prestation", "Kind of care", "Palvelun laji").list("IR_NAT_V"),
		intCol("PSE_SPE_COD", "Spécialité de l'exécutant", "Specialty of the carer", "Hoitajan erikoisala").list("IR_SPE_V"),
		intCol("PSE_ACT_NAT", "Nature d'activité de l'exécutant", "Profession of the carer", "Hoitajan ammatti").list("IR_ACT_V"),
		codeCol("PFS_EXE_NUM", "", carers, "Professionnel exécutant", "Carer", "Hoitaja"),
		amountCol("PRS_ACT_QTE", "Quantité", "Quantity", "Määrä"),
		amountCol("PRS_PAI_MNT", "Montant de la dépense", "Amount paid, euro", "Maksettu summa, euroa"),
		amountCol("BSE_REM_MNT", "Montant remboursé", "Amount reimbursed, euro", "Korvattu summa, euroa"),
		intCol("RGO_REM_TAU", "Taux de remboursement", "Rate of reimbursement, percent", "Korvausprosentti"),
		intCol("EXO_MTF", "Motif d'exonération", "Reason for full cover", "Täyden korvauksen peruste").list("IR_EXO_V"),
		intCol("DPN_QLF", "Qualificatif de la dépense", "Qualifier of the expense", "Kulun määre").list("IR_DEP_V"),
		intCol("BEN_AMA_COD", "Âge", "Age in years", "Ikä vuosina"),
		intCol("BEN_SEX_COD", "Code sexe", "Sex", "Sukupuoli").list("sex"),
		codeCol("BEN_RES_DPT", "fr-departement", deptCodes, "Département de résidence", "Department of residence", "Asuindepartementti"),
	},
}

var pharmacy = &table{
	name:      "ER_PHA_F",
	title:     names("Médicaments délivrés en pharmacie", "Drugs dispensed by pharmacies", "Apteekin toimittamat lääkkeet"),
	eventDate: "EXE_SOI_DTD",
	columns: []column{
		textCol("BEN_IDT_ANO", "Identifiant du bénéficiaire", "Person number of the holder", "Rekisterinpitäjän henkilönumero").role(contract.RolePersonKey).required(),
		dateCol("FLX_DIS_DTD", "Date de mise à disposition", "Date made available", "Saataville asettamisen päivä"),
		intCol("FLX_EMT_NUM", "Numéro de l'émetteur du flux", "Sender of the flow", "Tietovirran lähettäjä"),
		intCol("DCT_ORD_NUM", "Numéro du décompte", "Number of the statement", "Tositteen numero"),
		intCol("PRS_ORD_NUM", "Numéro de la prestation dans le décompte", "Line of the statement", "Tositteen rivi"),
		dateCol("EXE_SOI_DTD", "Date de délivrance", "Date of dispensing", "Toimituspäivä").required(),
		codeCol("PHA_PRS_C13", "cip13", cipCodes, "Code CIP13", "CIP13 package code", "CIP13-pakkauskoodi"),
		codeCol("PHA_ATC_CLA", "atc", atcCodes, "Classe ATC", "ATC class", "ATC-luokka"),
		intCol("PHA_ACT_QSN", "Nombre de boîtes", "Boxes", "Pakkausten määrä"),
		amountCol("PHA_ACT_PRU", "Prix unitaire", "Price of a box, euro", "Pakkauksen hinta, euroa"),
	},
}

var stays = &table{
	name:      "T_MCOaaB",
	title:     names("Séjours hospitaliers (MCO)", "Hospital stays (acute care)", "Sairaalajaksot"),
	eventDate: "EXE_SOI_DTD",
	columns: []column{
		textCol("BEN_IDT_ANO", "Identifiant du bénéficiaire", "Person number of the holder", "Rekisterinpitäjän henkilönumero").role(contract.RolePersonKey).required(),
		codeCol("ETA_NUM", "finess", hospitals, "Numéro FINESS de l'établissement", "Hospital (FINESS number)", "Sairaala (FINESS-numero)"),
		intCol("RSA_NUM", "Numéro du séjour", "Number of the stay", "Jakson numero"),
		dateCol("EXE_SOI_DTD", "Date d'entrée", "Date of admission", "Tulopäivä").required(),
		dateCol("EXE_SOI_DTF", "Date de sortie", "Date of discharge", "Lähtöpäivä"),
		intCol("SOR_ANN", "Année de sortie", "Year of discharge", "Lähtövuosi"),
		intCol("SOR_MOI", "Mois de sortie", "Month of discharge", "Lähtökuukausi"),
		intCol("AGE_ANN", "Âge en années", "Age in years", "Ikä vuosina"),
		codeCol("COD_SEX", "sex", sexCodes, "Sexe", "Sex", "Sukupuoli"),
		codeCol("BDI_DEP", "fr-departement", deptCodes, "Département de résidence", "Department of residence", "Asuindepartementti"),
		codeCol("ENT_MOD", "MS_SOR_V", digits9, "Mode d'entrée", "Way of admission (8 from home, 7 transfer)", "Tulotapa (8 kotoa, 7 siirto)"),
		codeCol("ENT_PRV", "MS_PRV_V", digits9, "Provenance", "Came from (5 emergency ward)", "Tulopaikka (5 päivystys)"),
		codeCol("SOR_MOD", "MS_SOR_V", digits9, "Mode de sortie", "Way of discharge (8 home, 9 death)", "Lähtötapa (8 koti, 9 kuolema)"),
		intCol("SEJ_NBJ", "Durée du séjour en nuits", "Nights", "Öiden määrä"),
		codeCol("DGN_PAL", "icd10", icdCodes, "Diagnostic principal", "Main diagnosis", "Päädiagnoosi"),
		codeCol("DGN_REL", "icd10", icdCodes, "Diagnostic relié", "Related diagnosis", "Liittyvä diagnoosi"),
		intCol("NBR_DGN", "Nombre de diagnostics associés", "Number of secondary diagnoses", "Sivudiagnoosien määrä"),
		intCol("NBR_SEA", "Nombre de séances", "Number of sessions", "Hoitokertojen määrä"),
		intCol("POI_NAI", "Poids à la naissance en grammes", "Birth weight, grams", "Syntymäpaino, grammaa"),
	},
}

var deaths = &table{
	name:      "KI_CCI_R",
	title:     names("Causes de décès", "Causes of death", "Kuolemansyyt"),
	eventDate: "BEN_DCD_DTE",
	columns: []column{
		textCol("BEN_IDT_ANO", "Identifiant du bénéficiaire", "Person number of the holder", "Rekisterinpitäjän henkilönumero").role(contract.RolePersonKey).required(),
		intCol("FLX_PER_ANN", "Année de décès", "Year of death", "Kuolinvuosi"),
		dateCol("BEN_DCD_DTE", "Date de décès", "Date of death", "Kuolinpäivä").required(),
		codeCol("DCD_DPT_COD", "fr-departement", deptCodes, "Département de décès", "Department of death", "Kuolindepartementti"),
		codeCol("BEN_RES_DPT", "fr-departement", deptCodes, "Département de résidence", "Department of residence", "Asuindepartementti"),
		intCol("DCD_LIE_COD", "Lieu du décès", "Place of death", "Kuolinpaikka").list("DS_LIE_V"),
		intCol("BEN_NAI_ANN", "Année de naissance", "Year of birth", "Syntymävuosi"),
		intCol("BEN_NAI_MOI", "Mois de naissance", "Month of birth", "Syntymäkuukausi"),
		intCol("BEN_SEX_COD", "Code sexe", "Sex", "Sukupuoli").list("sex"),
		codeCol("DCD_CIM_COD", "icd10", icdCodes, "Cause initiale du décès", "Underlying cause of death", "Peruskuolemansyy"),
	},
}

var emergencies = &table{
	name:      "RPU",
	title:     names("Résumés de passage aux urgences", "Emergency visits", "Päivystyskäynnit"),
	eventDate: "ENTREE",
	columns: []column{
		intCol("NUM_PASSAGE", "Numéro du passage", "Number of the visit", "Käynnin numero").required(),
		codeCol("FINESS", "finess", hospitals, "Établissement", "Hospital", "Sairaala"),
		textCol("NOM_NAISSANCE", "Nom de naissance", "Birth name", "Syntymänimi").role(contract.RoleBirthName),
		textCol("NOM_USAGE", "Nom d'usage", "Used name", "Käytetty nimi").role(contract.RoleUsedName),
		textCol("PRENOM", "Prénom", "Given name", "Etunimi").role(contract.RoleGivenName),
		dateCol("NAISSANCE", "Date de naissance", "Date of birth", "Syntymäaika").role(contract.RoleBirthDate),
		codeCol("SEXE", "sex", sexCodes, "Sexe", "Sex", "Sukupuoli").role(contract.RoleSex),
		codeCol("COMMUNE", "insee-commune", comCodes, "Commune de résidence", "Municipality of residence", "Asuinkunta").role(contract.RoleResidence),
		timeCol("ENTREE", "Date et heure d'entrée", "Arrival", "Tuloaika").required(),
		timeCol("SORTIE", "Date et heure de sortie", "Departure", "Lähtöaika"),
		intCol("AGE", "Âge en années", "Age in years", "Ikä vuosina"),
		intCol("SEXE_COD", "Code sexe", "Sex", "Sukupuoli").list("sex"),
		codeCol("DEPARTEMENT", "fr-departement", deptCodes, "Département de résidence", "Department of residence", "Asuindepartementti"),
		codeCol("MODE_ENTREE", "oscour-mode", digits9, "Mode d'entrée", "Way of arrival", "Tulotapa"),
		codeCol("TRANSPORT", "oscour-transport", transports, "Transport", "Transport", "Kuljetus"),
		codeCol("GRAVITE", "ccmu", severities, "Gravité (CCMU)", "Severity (CCMU)", "Vakavuus (CCMU)"),
		codeCol("DP", "icd10", icdCodes, "Diagnostic principal", "Main diagnosis", "Päädiagnoosi"),
		codeCol("MODE_SORTIE", "oscour-mode", digits9, "Mode de sortie", "Way of departure (8 home, 6 admitted)", "Lähtötapa (8 koti, 6 osastolle)"),
		codeCol("ORIENT", "oscour-orientation", orientations, "Orientation", "Referred to", "Jatkohoito"),
	},
}

var (
	transports   = []string{"PERSO", "AMBU", "VSAB", "SMUR"}
	severities   = []string{"1", "2", "3", "4", "5", "D", "P"}
	orientations = []string{"MED", "CHIR", "UHCD", "REA"}
)

var transplants = &table{
	name:      "GREFFE",
	title:     names("Greffes de moelle osseuse", "Bone-marrow transplants", "Luuydinsiirrot"),
	eventDate: "DATE_GREFFE",
	columns: []column{
		textCol("NUM_GREFFE", "Numéro de la greffe", "Number of the transplant", "Siirron numero").required(),
		textCol("NIR", "NIR", "National number (NIR)", "Kansallinen henkilönumero (NIR)").role(contract.RoleNIR),
		textCol("NOM_NAISSANCE", "Nom de naissance", "Birth name", "Syntymänimi").role(contract.RoleBirthName),
		textCol("PRENOM", "Prénom", "Given name", "Etunimi").role(contract.RoleGivenName),
		dateCol("DATE_NAISSANCE", "Date de naissance", "Date of birth", "Syntymäaika").role(contract.RoleBirthDate),
		codeCol("SEXE", "sex", sexCodes, "Sexe", "Sex", "Sukupuoli").role(contract.RoleSex),
		dateCol("DATE_GREFFE", "Date de la greffe", "Date of transplant", "Siirtopäivä").required(),
		codeCol("CENTRE", "finess", hospitals, "Centre greffeur", "Transplant centre", "Siirtokeskus"),
		intCol("AGE", "Âge à la greffe", "Age at transplant", "Ikä siirrossa"),
		codeCol("INDICATION", "icd10", icdCodes, "Indication", "Indication", "Aihe"),
		dateCol("DATE_DIAGNOSTIC", "Date du diagnostic", "Date of diagnosis", "Diagnoosipäivä"),
		codeCol("TYPE_GREFFE", "greffe-type", graftKinds, "Type de greffe", "Kind of transplant", "Siirron laji"),
		codeCol("SOURCE", "greffe-source", graftSources, "Source des cellules", "Source of cells", "Solujen lähde"),
		intCol("RANG", "Rang de la greffe", "First or later transplant", "Monesko siirto"),
		intCol("GVH_GRADE", "Grade de la GVH aiguë", "Grade of acute GVHD", "Akuutin GVHD:n aste"),
		codeCol("STATUT", "greffe-statut", vitalStates, "Statut aux dernières nouvelles", "Status when last seen", "Tila viimeksi nähtäessä"),
		dateCol("DATE_DERNIERE_NOUVELLE", "Date des dernières nouvelles", "Last seen", "Viimeksi nähty"),
	},
}

var (
	graftKinds   = []string{"AUTO", "ALLO_FRATRIE", "ALLO_FICHIER", "ALLO_HAPLO"}
	graftSources = []string{"MOELLE", "CSP", "CORDON"}
	vitalStates  = []string{"VIVANT", "DECEDE", "PERDU_DE_VUE"}
)

var sarcomaPatients = &table{
	name:      "PATIENT",
	title:     names("Patients de la cohorte", "Patients of the cohort", "Kohortin potilaat"),
	eventDate: "DATE_DIAGNOSTIC",
	columns: []column{
		textCol("NUM_PATIENT", "Numéro de patient", "Patient number", "Potilasnumero").role(contract.RolePersonKey).required(),
		textCol("NOM_NAISSANCE", "Nom de naissance", "Birth name", "Syntymänimi").role(contract.RoleBirthName),
		textCol("NOM_USAGE", "Nom d'usage", "Used name", "Käytetty nimi").role(contract.RoleUsedName),
		textCol("PRENOM", "Prénom", "Given name", "Etunimi").role(contract.RoleGivenName),
		dateCol("DATE_NAISSANCE", "Date de naissance", "Date of birth", "Syntymäaika").role(contract.RoleBirthDate),
		codeCol("SEXE", "sex", sexCodes, "Sexe", "Sex", "Sukupuoli").role(contract.RoleSex),
		codeCol("COMMUNE_NAISSANCE", "insee-commune", comCodes, "Commune de naissance", "Municipality of birth", "Syntymäkunta").role(contract.RoleBirthPlace),
		dateCol("DATE_DIAGNOSTIC", "Date du diagnostic", "Date of diagnosis", "Diagnoosipäivä").required(),
		intCol("AGE_DIAGNOSTIC", "Âge au diagnostic", "Age at diagnosis", "Ikä diagnoosissa"),
		intCol("SEXE_COD", "Code sexe", "Sex", "Sukupuoli").list("sex"),
		codeCol("CIM10", "icd10", icdCodes, "Localisation (CIM-10)", "Site (ICD-10)", "Sijainti (ICD-10)"),
		codeCol("HISTOLOGIE", "icdo3", histologies, "Histologie (CIM-O-3)", "Histology (ICD-O-3)", "Histologia (ICD-O-3)"),
		intCol("GRADE", "Grade FNCLCC", "FNCLCC grade", "FNCLCC-aste"),
		intCol("TAILLE_MM", "Taille de la tumeur en mm", "Size of the tumour, mm", "Kasvaimen koko, mm"),
		intCol("METASTASE", "Métastase au diagnostic", "Metastasis at diagnosis (0 or 1)", "Etäpesäke diagnoosissa (0 tai 1)"),
		codeCol("CENTRE", "finess", hospitals, "Centre", "Centre", "Keskus"),
	},
}

// histologies as ICD-O-3 morphology: liposarcoma, leiomyosarcoma, undifferentiated pleomorphic sarcoma,
// synovial sarcoma, myxofibrosarcoma, osteosarcoma, Ewing sarcoma.
var histologies = []string{"8850/3", "8890/3", "8802/3", "9040/3", "8811/3", "9180/3", "9364/3"}

var sarcomaFollowUp = &table{
	name:      "SUIVI",
	title:     names("Suivi des patients", "Follow-up visits", "Seurantakäynnit"),
	eventDate: "DATE_SUIVI",
	columns: []column{
		textCol("NUM_PATIENT", "Numéro de patient", "Patient number", "Potilasnumero").role(contract.RolePersonKey).required(),
		dateCol("DATE_SUIVI", "Date du suivi", "Date of visit", "Käyntipäivä").required(),
		codeCol("TRAITEMENT", "sarcome-traitement", treatments, "Traitement en cours", "Treatment", "Hoito"),
		codeCol("REPONSE", "recist", responses, "Réponse (RECIST 1.1)", "Response (RECIST 1.1)", "Vaste (RECIST 1.1)"),
		intCol("TOXICITE", "Toxicité maximale (CTCAE)", "Worst toxicity (CTCAE grade)", "Pahin haittavaikutus (CTCAE)"),
		intCol("DOULEUR_EVA", "Douleur de 0 à 10", "Pain, 0 to 10", "Kipu, 0–10"),
		codeCol("STATUT", "greffe-statut", vitalStates, "Statut", "Status", "Tila"),
	},
}

var (
	treatments = []string{"CHIRURGIE", "CHIMIOTHERAPIE", "RADIOTHERAPIE", "SURVEILLANCE", "SOINS_DE_SUPPORT"}
	responses  = []string{"RC", "RP", "STABLE", "PROGRESSION", "NE"}
)

var students = &table{
	name:      "ETUDIANT",
	title:     names("Étudiants de la cohorte", "Students of the cohort", "Kohortin opiskelijat"),
	eventDate: "DATE_INCLUSION",
	columns: []column{
		textCol("NUM_ETUDIANT", "Numéro d'étudiant", "Student number", "Opiskelijanumero").role(contract.RolePersonKey).required(),
		textCol("NIR", "NIR", "National number (NIR)", "Kansallinen henkilönumero (NIR)").role(contract.RoleNIR),
		textCol("NOM", "Nom de naissance", "Birth name", "Syntymänimi").role(contract.RoleBirthName),
		textCol("PRENOM", "Prénom", "Given name", "Etunimi").role(contract.RoleGivenName),
		dateCol("DATE_NAISSANCE", "Date de naissance", "Date of birth", "Syntymäaika").role(contract.RoleBirthDate),
		codeCol("SEXE", "sex", sexCodes, "Sexe", "Sex", "Sukupuoli").role(contract.RoleSex),
		dateCol("DATE_INCLUSION", "Date d'inclusion", "Date of inclusion", "Mukaanottopäivä").required(),
		intCol("ANNEE_NAISSANCE", "Année de naissance", "Year of birth", "Syntymävuosi"),
		intCol("SEXE_COD", "Code sexe", "Sex", "Sukupuoli").list("sex"),
		codeCol("ACADEMIE", "fr-departement", deptCodes, "Département de l'université", "Department of the university", "Yliopiston departementti"),
		codeCol("FILIERE", "etudiants-filiere", fields, "Filière", "Field of study", "Opintoala"),
		intCol("NIVEAU", "Année d'études", "Year of study", "Opintovuosi"),
		intCol("BOURSIER", "Boursier", "Holds a grant (0 or 1)", "Saa opintotukea (0 tai 1)"),
	},
}

var fields = []string{"DROIT", "SANTE", "SCIENCES", "LETTRES", "SHS", "STAPS", "INGENIEUR", "IUT"}

var questionnaires = &table{
	name:      "QUESTIONNAIRE",
	title:     names("Questionnaires annuels", "Yearly questionnaires", "Vuosikyselyt"),
	eventDate: "DATE_REPONSE",
	columns: []column{
		textCol("NUM_ETUDIANT", "Numéro d'étudiant", "Student number", "Opiskelijanumero").role(contract.RolePersonKey).required(),
		dateCol("DATE_REPONSE", "Date de réponse", "Date of answer", "Vastauspäivä").required(),
		intCol("PHQ9", "Score de dépression PHQ-9", "Depression score PHQ-9 (0 to 27)", "Masennuspisteet PHQ-9 (0–27)"),
		intCol("GAD7", "Score d'anxiété GAD-7", "Anxiety score GAD-7 (0 to 21)", "Ahdistuspisteet GAD-7 (0–21)"),
		amountCol("SOMMEIL_H", "Sommeil en heures par nuit", "Sleep, hours a night", "Uni, tuntia yössä"),
		intCol("TABAC", "Fume chaque jour", "Smokes daily (0 or 1)", "Tupakoi päivittäin (0 tai 1)"),
		intCol("AUDIT_C", "Score d'alcool AUDIT-C", "Alcohol score AUDIT-C (0 to 12)", "Alkoholipisteet AUDIT-C (0–12)"),
		amountCol("IMC", "Indice de masse corporelle", "Body mass index, kg/m²", "Painoindeksi, kg/m²"),
		intCol("MIGRAINE", "Migraine déclarée", "Reports migraine (0 or 1)", "Ilmoittaa migreenin (0 tai 1)"),
		intCol("RENONCEMENT", "A renoncé à des soins", "Went without care (0 or 1)", "Jäänyt ilman hoitoa (0 tai 1)"),
	},
}

// truePersons and trueRecords are the truth file: who exists, and which record of which holder is whose.
// No holder has it; tests and benchmarks of linkage do.
var truePersons = &table{
	name: "truth",
	columns: []column{
		intCol("PERSON", "", "", ""), textCol("NIR", "", "", ""), textCol("BIRTH_NAME", "", "", ""), textCol("USED_NAME", "", "", ""), textCol("GIVEN_NAME", "", "", ""),
		dateCol("BIRTH_DATE", "", "", ""), intCol("SEX", "", "", ""), codeCol("BIRTH_PLACE", "", comCodes, "", "", ""), codeCol("RESIDENCE", "", comCodes, "", "", ""),
		codeCol("FORMER_RESIDENCE", "", comCodes, "", "", ""), dateCol("MOVED", "", "", ""), dateCol("MARRIED", "", "", ""), dateCol("DEATH_DATE", "", "", ""),
		intCol("MOTHER", "", "", ""), intCol("FATHER", "", "", ""), intCol("PARTNER", "", "", ""), intCol("TWIN", "", "", ""),
	},
}

var trueRecords = &table{
	name: "truth-records",
	columns: []column{
		codeCol("DATASET", "", datasetNames, "", "", ""), textCol("RECORD", "", "", ""), intCol("PERSON", "", "", ""), textCol("ALTERED", "", "", ""),
	},
}

// datasetNames index DATASET of the truth file: "holder/dataset".
var datasetNames = []string{
	HolderSNDS + "/" + DatasetSNDS, HolderOSCOUR + "/" + DatasetOSCOUR, HolderMarrow + "/" + DatasetMarrow,
	HolderSarcoma + "/" + DatasetSarcoma, HolderStudents + "/" + DatasetStudents,
}

// Order of the datasets, the same as in datasetNames.
const (
	inSNDS = iota
	inOSCOUR
	inMarrow
	inSarcoma
	inStudents
)

var datasets = []*dataset{
	{holder: HolderSNDS, name: DatasetSNDS, tables: []*table{beneficiaries, claims, pharmacy, stays, deaths}},
	{holder: HolderOSCOUR, name: DatasetOSCOUR, tables: []*table{emergencies}},
	{holder: HolderMarrow, name: DatasetMarrow, tables: []*table{transplants}},
	{holder: HolderSarcoma, name: DatasetSarcoma, tables: []*table{sarcomaPatients, sarcomaFollowUp}},
	{holder: HolderStudents, name: DatasetStudents, tables: []*table{students, questionnaires}},
}
