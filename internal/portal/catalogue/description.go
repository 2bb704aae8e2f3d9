// Package catalogue holds the descriptions of datasets: what exists, who holds it, which tables and
// variables it has and under which conditions it may be used (Regulation (EU) 2025/327 Art. 60(3), 77).
// Holders write them, everybody reads what is published; the gateway, the agents and the feasibility
// questions take the structure of a dataset from here. It never holds a record of a person.
package catalogue

import (
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// Text is a text by language code ("en", "fr", "fi", or the holder's own).
type Text map[string]string

// In returns the text for a reader of lang, and the language it is in: the reader's own, else English,
// French, Finnish, else the first there is. A page shows it when it is not the reader's.
func (t Text) In(lang string) (text, in string) {
	for _, l := range []string{lang, "en", "fr", "fi"} {
		if t[l] != "" {
			return t[l], l
		}
	}
	for _, l := range slices.Sorted(mapKeys(t)) {
		if t[l] != "" {
			return t[l], l
		}
	}
	return "", ""
}

// Shown is a text on its way to a page. Foreign: it is not in the reader's language.
type Shown struct {
	Text, Lang string
	Foreign    bool
}

// Show picks the text for a reader of lang.
func (t Text) Show(lang string) Shown {
	text, in := t.In(lang)
	return Shown{text, in, text != "" && in != lang}
}

// Empty reports whether there is no text in any language.
func (t Text) Empty() bool { s, _ := t.In(""); return s == "" }

// Access says who may get the data (HealthDCAT-AP access rights).
type Access string

const (
	AccessPublic     Access = "public"
	AccessRestricted Access = "restricted"
	AccessNonPublic  Access = "non_public" // personal health data: only under a permit
)

// Party is an organisation with the point where it can be reached.
type Party struct {
	Name  Text   `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
	URL   string `json:"url,omitempty"`
}

// Period is a span of days written YYYY-MM-DD. To is "" when the collection goes on.
type Period struct {
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}

// Description is one dataset as its holder describes it. The elements are those of HealthDCAT-AP for
// data that are not public; names in comments are the profile's.
type Description struct {
	Holder  string `json:"holder"`
	Dataset string `json:"dataset"` // with the holder: dct:identifier

	Title       Text                `json:"title"`
	Description Text                `json:"description,omitempty"`
	Purpose     Text                `json:"purpose,omitempty"`    // why the data were collected
	Provenance  Text                `json:"provenance,omitempty"` // dct:provenance
	GeneratedBy Text                `json:"generated_by,omitempty"`
	Keywords    map[string][]string `json:"keywords,omitempty"` // by language

	Categories    []string `json:"categories,omitempty"` // healthCategory: letters of Art. 51(1)
	Themes        []string `json:"themes,omitempty"`     // healthTheme
	Type          string   `json:"type,omitempty"`       // dct:type: claims, registry, cohort, survey, records, reference
	Structured    bool     `json:"structured,omitempty"` // hasStructuredData
	PersonalData  bool     `json:"personal_data,omitempty"`
	CodingSystems []string `json:"coding_systems,omitempty"`
	ConformsTo    []string `json:"conforms_to,omitempty"` // data models
	Languages     []string `json:"languages,omitempty"`   // of the data
	Frequency     string   `json:"frequency,omitempty"`   // of updates

	Population Text     `json:"population,omitempty"` // populationCoverage
	MinAge     *int     `json:"min_age,omitempty"`
	MaxAge     *int     `json:"max_age,omitempty"`
	Countries  []string `json:"countries,omitempty"` // dct:spatial, ISO 3166-1 alpha-2
	Period     Period   `json:"period,omitzero"`     // dct:temporal
	Records    int64    `json:"records,omitempty"`   // numberOfRecords, as declared; a delivery's figures come first
	Persons    int64    `json:"persons,omitempty"`   // numberOfUniqueIndividuals

	Access        Access   `json:"access,omitempty"`      // dct:accessRights
	Conditions    Text     `json:"conditions,omitempty"`  // in plain words
	Legislation   []string `json:"legislation,omitempty"` // applicableLegislation, IRIs
	LegalBasis    []string `json:"legal_basis,omitempty"`
	Distribution  string   `json:"distribution,omitempty"`  // accessURL
	Documentation string   `json:"documentation,omitempty"` // foaf:page
	Contact       Party    `json:"contact,omitzero"`
	Publisher     Party    `json:"publisher,omitzero"`
	Custodian     Party    `json:"custodian,omitzero"`
	HDAB          Party    `json:"hdab,omitzero"` // health data access body

	Tables []Table `json:"tables,omitempty"`
}

// Table is one table with its variables.
type Table struct {
	Name        string     `json:"name"`
	Title       Text       `json:"title,omitempty"`
	Description Text       `json:"description,omitempty"`
	EventDate   string     `json:"event_date,omitempty"` // column that places a row in time
	Variables   []Variable `json:"variables"`
}

// Variable is one column.
type Variable struct {
	Name        string              `json:"name"`
	Type        contract.ColumnType `json:"type"`
	Role        contract.ColumnRole `json:"role,omitempty"`
	Required    bool                `json:"required,omitempty"`
	Title       Text                `json:"title,omitempty"`
	Description Text                `json:"description,omitempty"`
	CodeList    string              `json:"code_list,omitempty"`
	Since       string              `json:"since,omitempty"`   // first year it is filled
	Until       string              `json:"until,omitempty"`   // year it was dropped
	Missing     []string            `json:"missing,omitempty"` // years without it
}

// Requestable reports whether a permit can cover the variable: identity traits go to the trusted third
// party only, and the person key becomes a project pseudonym in every case.
func (v Variable) Requestable() bool { return v.Role == contract.RolePayload }

// Identifier is "holder/dataset".
func (d *Description) Identifier() string { return d.Holder + "/" + d.Dataset }

// Table returns the table called name, or nil.
func (d *Description) Table(name string) *Table {
	for i := range d.Tables {
		if d.Tables[i].Name == name {
			return &d.Tables[i]
		}
	}
	return nil
}

// Variable returns the variable called name, or nil.
func (t *Table) Variable(name string) *Variable {
	for i := range t.Variables {
		if t.Variables[i].Name == name {
			return &t.Variables[i]
		}
	}
	return nil
}

// AgeSpan is the typical youngest and oldest age in years.
type AgeSpan struct{ From, To int }

// Ages returns the typical ages, or nil when one of them is not known.
func (d *Description) Ages() *AgeSpan {
	if d.MinAge == nil || d.MaxAge == nil {
		return nil
	}
	return &AgeSpan{*d.MinAge, *d.MaxAge}
}

// VariableCount is the number of variables in all tables.
func (d *Description) VariableCount() int {
	n := 0
	for _, t := range d.Tables {
		n += len(t.Variables)
	}
	return n
}

// CodeLists returns the names of the code lists that variables use, sorted.
func (d *Description) CodeLists() []string {
	set := map[string]bool{}
	for _, t := range d.Tables {
		for _, v := range t.Variables {
			if v.CodeList != "" {
				set[v.CodeList] = true
			}
		}
	}
	return slices.Sorted(mapKeys(set))
}

// Schema is the structure that agent, trust and engine work with.
func (d *Description) Schema(version int) contract.DatasetSchema {
	s := contract.DatasetSchema{Holder: d.Holder, Dataset: d.Dataset, Version: version}
	for _, t := range d.Tables {
		ct := contract.Table{Name: t.Name, Title: t.Title, EventDate: t.EventDate}
		for _, v := range t.Variables {
			ct.Columns = append(ct.Columns, contract.Column{
				Name: v.Name, Type: v.Type, Role: v.Role, Required: v.Required, Title: v.Title, CodeList: v.CodeList,
			})
		}
		s.Tables = append(s.Tables, ct)
	}
	return s
}

// Limits keep one description from filling the store.
const (
	maxText      = 20_000
	maxTables    = 2_000
	maxVariables = 100_000
)

// check refuses what no draft may hold: names that could not be addressed, dates that do not exist,
// addresses that are none. Completeness is another matter: see Validate.
func (d *Description) check() error {
	bad := func(element, format string, args ...any) error {
		return &contract.Refusal{Code: "invalid", Reason: element + ": " + fmt.Sprintf(format, args...)}
	}
	if !contract.ValidName(d.Holder) || !contract.ValidName(d.Dataset) {
		return bad("identifier", "holder and dataset are named with letters, digits, '_' and '-'")
	}
	for name, t := range map[string]Text{"title": d.Title, "description": d.Description, "purpose": d.Purpose, "provenance": d.Provenance,
		"generated_by": d.GeneratedBy, "population": d.Population, "conditions": d.Conditions} {
		for lang, s := range t {
			if len(lang) < 2 || len(lang) > 12 || len(s) > maxText {
				return bad(name, "a text has a language code and at most %d bytes", maxText)
			}
		}
	}
	for _, c := range d.Categories {
		if !slices.Contains(Categories, c) {
			return bad("categories", "%q is not a letter of Art. 51(1)", c)
		}
	}
	for _, c := range d.Themes {
		if !slices.Contains(Themes, c) {
			return bad("themes", "unknown theme %q", c)
		}
	}
	if d.Type != "" && !slices.Contains(Types, d.Type) {
		return bad("type", "unknown type %q", d.Type)
	}
	if d.Frequency != "" && !slices.Contains(Frequencies, d.Frequency) {
		return bad("frequency", "unknown frequency %q", d.Frequency)
	}
	switch d.Access {
	case "", AccessPublic, AccessRestricted, AccessNonPublic:
	default:
		return bad("access", "unknown access right %q", d.Access)
	}
	for _, day := range []string{d.Period.From, d.Period.To} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			return bad("period", "%q is not a day written YYYY-MM-DD", day)
		}
	}
	if d.Period.To != "" && d.Period.To < d.Period.From {
		return bad("period", "it ends before it begins")
	}
	for _, c := range d.Countries {
		if len(c) != 2 || strings.ToUpper(c) != c {
			return bad("countries", "%q is not a country code of two capital letters", c)
		}
	}
	if d.Records < 0 || d.Persons < 0 {
		return bad("records", "numbers are not negative")
	}
	for name, a := range map[string]*int{"min_age": d.MinAge, "max_age": d.MaxAge} {
		if a != nil && (*a < 0 || *a > 130) {
			return bad(name, "an age lies between 0 and 130")
		}
	}
	for name, p := range map[string]Party{"contact": d.Contact, "publisher": d.Publisher, "custodian": d.Custodian, "hdab": d.HDAB} {
		if p.Email != "" && !mailAddress(p.Email) {
			return bad(name, "%q is not an e-mail address", p.Email)
		}
		if p.URL != "" && !webAddress(p.URL) {
			return bad(name, "%q is not a web address", p.URL)
		}
	}
	for _, u := range slices.Concat(d.Legislation, []string{d.Distribution, d.Documentation}) {
		if u != "" && !webAddress(u) {
			return bad("addresses", "%q is not a web address", u)
		}
	}
	if len(d.Tables) > maxTables || d.VariableCount() > maxVariables {
		return bad("tables", "at most %d tables and %d variables", maxTables, maxVariables)
	}
	if len(d.Tables) > 0 {
		s := d.Schema(1)
		return s.Validate()
	}
	return nil
}

// mailAddress reports whether s is one e-mail address and nothing else.
func mailAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}

// webAddress reports whether s may be shown as a link: http or https, with a host.
func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != ""
}
