package contract

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"
)

// PermitSchema names the version of the permit document.
const PermitSchema = "mitral.permit/1"

// PermitKind says what a permit lets the inner zones do.
type PermitKind string

const (
	// PermitData lets engine provision a project dataset and enclave open a workspace for it
	// (Regulation (EU) 2025/327 Art. 68).
	PermitData PermitKind = "data"
	// PermitFeasibility lets engine answer protected counts before any application. It is a standing
	// mandate signed like any other permit, so a portal alone cannot ask for a single count.
	PermitFeasibility PermitKind = "feasibility"
)

// Permit is the decision that opens data, with the content Art. 68(10) asks for. It is signed over its
// canonical form; no field may be changed afterwards.
type Permit struct {
	Schema        string     `json:"schema"`
	ID            string     `json:"id"`      // base id, constant over versions
	Version       int        `json:"version"` // 1, 2, …
	Kind          PermitKind `json:"kind"`
	ApplicationID string     `json:"application_id,omitempty"`
	Procedure     string     `json:"procedure"` // procedure and version the case was decided under, "fr-snds@1"
	Title         string     `json:"title"`
	Purposes      []string   `json:"purposes,omitempty"` // codes of Art. 53(1): "a" … "f"
	Controller    string     `json:"controller"`         // organisation that answers for the use
	Persons       []Person   `json:"persons,omitempty"`  // the natural persons who may work with the data

	Datasets []DatasetScope `json:"datasets"`
	// Period bounds the events that may be used, both days included.
	Period Period `json:"period"`
	Cohort Cohort `json:"cohort"`
	OptOut OptOut `json:"opt_out"`

	// MinCell is the smallest count that may leave, in persons (CASD PMSI rule: 11 in France).
	MinCell int `json:"min_cell"`
	// RoundTo is the base that feasibility counts are rounded to; 0 for data permits.
	RoundTo int `json:"round_to,omitempty"`
	// Reviewers is how many independent persons must approve each export.
	Reviewers int `json:"reviewers,omitempty"`
	// PseudonymDomain separates pseudonyms of two deliveries under one permit (CSP R.1461-7: another
	// pseudonym for each database made available to each controller).
	PseudonymDomain string   `json:"pseudonym_domain"`
	Conditions      []string `json:"conditions,omitempty"`

	IssuedAt   time.Time `json:"issued_at"` // also the instant at which the objection roll is read (Art. 71(3))
	ValidFrom  time.Time `json:"valid_from"`
	ValidUntil time.Time `json:"valid_until"` // at most 10 years (Art. 68(12))
}

// Person is somebody a permit names. Credentials are the passkeys that the enclave's front door accepts
// for this person: the deciding officer's signature covers them, so the portal cannot add one.
type Person struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Affiliation string      `json:"affiliation,omitempty"`
	Principal   bool        `json:"principal,omitempty"`
	Credentials []PublicKey `json:"credentials,omitempty"`
}

// PublicKey is one passkey: SPKI is the DER SubjectPublicKeyInfo (ECDSA P-256 or Ed25519).
type PublicKey struct {
	CredentialID []byte `json:"credential_id"`
	SPKI         []byte `json:"spki"`
}

// DatasetScope is what of one dataset may be used.
type DatasetScope struct {
	Holder  string       `json:"holder"`
	Dataset string       `json:"dataset"`
	Tables  []TableScope `json:"tables"`
}

// TableScope lists the columns that may be delivered. The person column is implied and always becomes
// the project pseudonym.
type TableScope struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

// Period is a span of days written YYYY-MM-DD, both ends included.
type Period struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Cohort says which persons: everybody with data in scope (All), or those with at least one event that
// matches one of the criteria inside Period.
type Cohort struct {
	All    bool        `json:"all,omitempty"`
	AnyOf  []Criterion `json:"any_of,omitempty"`
	Period Period      `json:"period"`
}

// Criterion matches rows of one table whose Column holds one of Codes; with Prefix, whose value starts
// with one (ICD-10 "E11" finds "E112").
type Criterion struct {
	Holder  string   `json:"holder"`
	Dataset string   `json:"dataset"`
	Table   string   `json:"table"`
	Column  string   `json:"column"`
	Codes   []string `json:"codes"`
	Prefix  bool     `json:"prefix,omitempty"`
}

// OptOut says whether objections are honoured (the rule) or, by Art. 71(4), not, and why.
type OptOut struct {
	Honoured      bool   `json:"honoured"`
	Justification string `json:"justification,omitempty"`
}

// SignedPermit is what travels: the canonical bytes as signed, and the officer's passkey assertion.
type SignedPermit struct {
	Permit    json.RawMessage `json:"permit"`
	Assertion Assertion       `json:"assertion"`
}

// Validate checks that the permit is complete and consistent in itself. It says nothing about the
// signature: see VerifyPermit.
func (p *Permit) Validate() error {
	switch {
	case p.Schema != PermitSchema:
		return invalid("schema", "want %s, found %q", PermitSchema, p.Schema)
	case !ValidName(p.ID) || p.Version < 1:
		// The id becomes a directory, and part of what project keys are derived from.
		return invalid("id", "a permit has an id, which is a valid name, and a version from 1")
	case p.Kind != PermitData && p.Kind != PermitFeasibility:
		return invalid("kind", "unknown kind %q", p.Kind)
	case len(p.Datasets) == 0:
		return invalid("datasets", "a permit names at least one dataset")
	case p.MinCell < 1:
		return invalid("min_cell", "must be at least 1")
	case p.Kind == PermitData && p.Reviewers < 1:
		return invalid("reviewers", "at least one reviewer must approve an export")
	case p.Kind == PermitData && len(p.Persons) == 0:
		return invalid("persons", "a data permit names the persons who may work with the data (Art. 68(10)(d))")
	case p.Kind == PermitData && p.PseudonymDomain == "":
		return invalid("pseudonym_domain", "must not be empty")
	case p.IssuedAt.IsZero() || p.ValidFrom.IsZero() || !p.ValidUntil.After(p.ValidFrom):
		return invalid("valid_until", "must be after valid_from")
	case p.ValidUntil.After(p.ValidFrom.AddDate(10, 0, 0)):
		return invalid("valid_until", "a permit lasts at most 10 years (Art. 68(12))")
	case !p.OptOut.Honoured && p.OptOut.Justification == "":
		return invalid("opt_out", "setting objections aside needs a justification (Art. 71(4))")
	}
	if err := p.Period.Validate(); err != nil {
		return invalid("period", "%v", err)
	}
	if err := p.Cohort.Validate(); p.Kind == PermitData && err != nil {
		return invalid("cohort", "%v", err)
	}
	for _, d := range p.Datasets {
		if !ValidName(d.Holder) || !ValidName(d.Dataset) || len(d.Tables) == 0 {
			return invalid("datasets", "dataset %q of holder %q needs valid names and at least one table", d.Dataset, d.Holder)
		}
		for _, t := range d.Tables {
			if !ValidName(t.Table) || (p.Kind == PermitData && len(t.Columns) == 0) {
				return invalid("datasets", "table %q needs a valid name and at least one column", t.Table)
			}
			for _, c := range t.Columns {
				if !ValidName(c) {
					return invalid("datasets", "column %q of table %q is not a valid name", c, t.Table)
				}
			}
		}
	}
	return nil
}

// Validate checks that both days exist and are in order.
func (p Period) Validate() error {
	from, err1 := time.Parse(time.DateOnly, p.From)
	to, err2 := time.Parse(time.DateOnly, p.To)
	if err1 != nil || err2 != nil {
		return fmt.Errorf("dates must be written YYYY-MM-DD, found %q and %q", p.From, p.To)
	}
	if to.Before(from) {
		return fmt.Errorf("%s is before %s", p.To, p.From)
	}
	return nil
}

// Validate checks that the cohort selects by something.
func (c Cohort) Validate() error {
	if c.All == (len(c.AnyOf) > 0) {
		return fmt.Errorf("either all persons or at least one criterion")
	}
	for _, k := range c.AnyOf {
		if !ValidName(k.Holder) || !ValidName(k.Dataset) || !ValidName(k.Table) || !ValidName(k.Column) || len(k.Codes) == 0 {
			return fmt.Errorf("criterion on %q.%q needs valid names and at least one code", k.Table, k.Column)
		}
		for _, code := range k.Codes {
			if code == "" {
				return fmt.Errorf("criterion on %q.%q has an empty code", k.Table, k.Column)
			}
		}
	}
	return c.Period.Validate()
}

// Challenge is what the officer's passkey signs: the SHA-256 of the permit's canonical JSON.
func (p *Permit) Challenge() ([]byte, error) {
	b, err := Canonical(p)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return sum[:], nil
}

// ValidName reports whether s may name a holder, dataset, table or column: 1 to 64 ASCII letters,
// digits, '_' or '-', starting with a letter or '_'. Such a name is safe as a path element and, quoted,
// as an SQL identifier.
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i, r := range s {
		letter := r == '_' || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z')
		if !letter && (i == 0 || !(r == '-' || (r >= '0' && r <= '9'))) {
			return false
		}
	}
	return true
}
