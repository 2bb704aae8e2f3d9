package gateway

import "github.com/mitral-health/mitral/internal/contract"

// Pages of the form, in the order they are asked. The last, "check", asks nothing.
var Pages = []string{"project", "purpose", "data", "period", "cohort", "persons", "optout", "check"}

// Answers are what the applicant has said, page by page; a page that was never saved is nil.
type Answers struct {
	Project *ProjectPage `json:"project,omitempty"`
	Purpose *PurposePage `json:"purpose,omitempty"`
	Data    *DataPage    `json:"data,omitempty"`
	Period  *PeriodPage  `json:"period,omitempty"`
	Cohort  *CohortPage  `json:"cohort,omitempty"`
	Persons *PersonsPage `json:"persons,omitempty"`
	OptOut  *OptOutPage  `json:"optout,omitempty"`
}

// ProjectPage is what the register publishes first (Art. 57(1)(j)(ii)).
type ProjectPage struct {
	Title      string `json:"title"`
	LaySummary string `json:"lay_summary"`
	// Controller is the organisation that answers for the use.
	Controller string `json:"controller"`
	// PublicBody: a public sector body or Union institution, or acting for one (Art. 53(2)).
	PublicBody bool `json:"public_body"`
}

// PurposePage names codes of Art. 53(1), "a" … "f", and the aim in words.
type PurposePage struct {
	Purposes []string `json:"purposes"`
	Aim      string   `json:"aim"`
	// NoProhibitedUse is the declaration of Art. 54.
	NoProhibitedUse bool `json:"no_prohibited_use"`
}

// DataPage is the basket and why each part is needed (Art. 66: minimisation).
type DataPage struct {
	Datasets []contract.DatasetScope `json:"datasets"`
	Need     string                  `json:"need"`
}

// PeriodPage bounds the events, and says how long the permit is wanted for.
type PeriodPage struct {
	Period         contract.Period `json:"period"`
	DurationMonths int             `json:"duration_months"`
}

// CohortPage says which persons' data are asked for.
type CohortPage struct {
	Cohort contract.Cohort `json:"cohort"`
}

// PersonsPage names everybody who is to work with the data, by account.
type PersonsPage struct {
	Persons []PersonRef `json:"persons"`
}

// PersonRef is an account that the permit will name. Name and affiliation are copied from the account
// when the page is saved, so that the file shows who was meant then.
type PersonRef struct {
	Account     string `json:"account"`
	Name        string `json:"name,omitempty"`
	Affiliation string `json:"affiliation,omitempty"`
	Principal   bool   `json:"principal,omitempty"`
}

// OptOutPage says whether objections are honoured.
type OptOutPage struct {
	OptOut contract.OptOut `json:"opt_out"`
}

// merge replaces the pages that are set in b.
func (a *Answers) merge(b Answers) {
	if b.Project != nil {
		a.Project = b.Project
	}
	if b.Purpose != nil {
		a.Purpose = b.Purpose
	}
	if b.Data != nil {
		a.Data = b.Data
	}
	if b.Period != nil {
		a.Period = b.Period
	}
	if b.Cohort != nil {
		a.Cohort = b.Cohort
	}
	if b.Persons != nil {
		a.Persons = b.Persons
	}
	if b.OptOut != nil {
		a.OptOut = b.OptOut
	}
}

// pagesSet lists the pages that b holds, in form order.
func (a Answers) pagesSet() []string {
	var out []string
	for i, set := range []bool{a.Project != nil, a.Purpose != nil, a.Data != nil, a.Period != nil, a.Cohort != nil, a.Persons != nil, a.OptOut != nil} {
		if set {
			out = append(out, Pages[i])
		}
	}
	return out
}

// empty reports whether no page is set.
func (a Answers) empty() bool { return len(a.pagesSet()) == 0 }
