package catalogue

import "slices"

// Level is what follows from a finding.
type Level string

const (
	Mandatory   Level = "mandatory"   // must be mended before publication
	Recommended Level = "recommended" // shown, publication is possible
)

// Source says who asks for an element.
type Source string

const (
	// SourceProfile is HealthDCAT-AP release 8, shapes for the dataset's access level.
	SourceProfile Source = "healthdcat-ap-r8"
	// SourceRegulation is the list of minimum elements of Implementing Regulation (EU) 2026/2098, which
	// is stricter than the profile for some elements.
	SourceRegulation Source = "eu-2026-2098"
	// SourceHub is what this hub needs to work with the data at all.
	SourceHub Source = "hub"
)

// Rule asks for one element. Its sentences are the messages catalogue.rule.<Code>.what, .why and .how.
type Rule struct {
	Code    string
	Section string // of the editing form: about, content, access, structure
	Level   Level
	Sources []Source
	Levels  []Access // access levels it applies to; nil: all
	ok      func(*Description) bool
}

var (
	both       = []Source{SourceProfile, SourceRegulation}
	regulation = []Source{SourceRegulation}
	profile    = []Source{SourceProfile}
	hub        = []Source{SourceHub}
	nonPublic  = []Access{AccessNonPublic}
	notOpen    = []Access{AccessNonPublic, AccessRestricted}
)

// Rules is the table of what a description must and should have. The law binds to the current release
// of the profile; where the two differ the stricter one counts here.
var Rules = []Rule{
	{"title", "about", Mandatory, both, nil, func(d *Description) bool { return !d.Title.Empty() }},
	{"title_language", "about", Recommended, hub, nil, func(d *Description) bool { return d.Title["en"] != "" && d.Title["fr"] != "" && d.Title["fi"] != "" }},
	{"description", "about", Mandatory, profile, nil, func(d *Description) bool { return !d.Description.Empty() }},
	{"keyword", "about", Mandatory, both, nonPublic, func(d *Description) bool { return len(d.Keywords) > 0 }},
	{"purpose", "about", Recommended, profile, nil, func(d *Description) bool { return !d.Purpose.Empty() }},
	{"provenance", "about", Mandatory, both, nonPublic, func(d *Description) bool { return !d.Provenance.Empty() }},
	{"generated_by", "about", Mandatory, regulation, notOpen, func(d *Description) bool { return !d.GeneratedBy.Empty() }},

	{"category", "content", Mandatory, both, nil, func(d *Description) bool { return len(d.Categories) > 0 }},
	{"theme", "content", Mandatory, both, nil, func(d *Description) bool { return len(d.Themes) > 0 }},
	{"type", "content", Mandatory, both, nonPublic, func(d *Description) bool { return d.Type != "" }},
	{"population", "content", Recommended, profile, nil, func(d *Description) bool { return !d.Population.Empty() }},
	{"countries", "content", Mandatory, regulation, notOpen, func(d *Description) bool { return len(d.Countries) > 0 }},
	{"period", "content", Mandatory, regulation, notOpen, func(d *Description) bool { return d.Period.From != "" }},
	{"language", "content", Mandatory, regulation, notOpen, func(d *Description) bool { return len(d.Languages) > 0 }},
	{"records", "content", Recommended, regulation, nil, func(d *Description) bool { return d.Records > 0 }},
	{"persons", "content", Recommended, regulation, nil, func(d *Description) bool { return d.Persons > 0 || !d.PersonalData }},
	{"ages", "content", Recommended, profile, nil, func(d *Description) bool { return (d.MinAge != nil && d.MaxAge != nil) || !d.PersonalData }},
	{"frequency", "content", Recommended, profile, nil, func(d *Description) bool { return d.Frequency != "" }},
	{"conforms_to", "content", Recommended, regulation, nil, func(d *Description) bool { return len(d.ConformsTo) > 0 }},

	{"access", "access", Mandatory, both, nil, func(d *Description) bool { return d.Access != "" }},
	{"access_level", "access", Mandatory, hub, nil, func(d *Description) bool { return !d.PersonalData || d.Access != AccessPublic }},
	{"legislation", "access", Mandatory, both, nil, func(d *Description) bool { return len(d.Legislation) > 0 }},
	{"legal_basis", "access", Recommended, profile, nil, func(d *Description) bool { return len(d.LegalBasis) > 0 }},
	{"contact", "access", Mandatory, both, nonPublic, func(d *Description) bool { return d.Contact.reachable() }},
	{"publisher", "access", Mandatory, regulation, notOpen, func(d *Description) bool { return !d.Publisher.Name.Empty() }},
	{"custodian", "access", Mandatory, regulation, notOpen, func(d *Description) bool { return !d.Custodian.Name.Empty() }},
	{"hdab", "access", Mandatory, both, nil, func(d *Description) bool { return !d.HDAB.Name.Empty() && d.HDAB.reachable() }},
	{"distribution", "access", Mandatory, both, nil, func(d *Description) bool { return d.Distribution != "" }},
	{"documentation", "access", Recommended, profile, nil, func(d *Description) bool { return d.Documentation != "" }},

	{"variables", "structure", Mandatory, both, nil, func(d *Description) bool { return !d.Structured || d.VariableCount() > 0 }},
	{"table_title", "structure", Mandatory, profile, nil, func(d *Description) bool {
		return !slices.ContainsFunc(d.Tables, func(t Table) bool { return t.Title.Empty() })
	}},
	{"variable_title", "structure", Mandatory, profile, nil, func(d *Description) bool {
		return !slices.ContainsFunc(d.Tables, func(t Table) bool {
			return slices.ContainsFunc(t.Variables, func(v Variable) bool { return v.Title.Empty() })
		})
	}},
	{"coding_system", "structure", Mandatory, regulation, notOpen, func(d *Description) bool {
		return !d.Structured || len(d.CodingSystems) > 0
	}},
	{"code_values", "structure", Recommended, regulation, nil, func(d *Description) bool {
		return !d.Structured || len(d.CodeLists()) > 0
	}},
}

func (p Party) reachable() bool { return p.Email != "" || p.URL != "" }

// Validate returns the rules that a description breaks, in the order of the table.
func Validate(d *Description) []Rule {
	var broken []Rule
	for _, r := range Rules {
		// Without an access level the strictest one counts.
		level := d.Access
		if level == "" {
			level = AccessNonPublic
		}
		if (r.Levels == nil || slices.Contains(r.Levels, level)) && !r.ok(d) {
			broken = append(broken, r)
		}
	}
	return broken
}

// Publishable reports whether no mandatory rule is broken.
func Publishable(broken []Rule) bool {
	return !slices.ContainsFunc(broken, func(r Rule) bool { return r.Level == Mandatory })
}
