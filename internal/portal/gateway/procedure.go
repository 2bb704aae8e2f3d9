package gateway

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // due dates are civil dates of the procedure's country, on any machine

	"gopkg.in/yaml.v3"
)

// Text is a sentence in each language of the portal.
type Text struct {
	EN string `yaml:"en"`
	FR string `yaml:"fr"`
	FI string `yaml:"fi"`
}

// In returns the sentence in a language, English when there is none for it.
func (t Text) In(lang string) string {
	switch lang {
	case "fr":
		return t.FR
	case "fi":
		return t.FI
	}
	return t.EN
}

func (t Text) complete() bool { return t.EN != "" && t.FR != "" && t.FI != "" }

// Waiting says what a clock does while the applicant is asked for more.
type Waiting string

const (
	WaitRestart Waiting = "restart" // a new period begins with the answer
	WaitSuspend Waiting = "suspend" // stands still; the days waited are added
	WaitRun     Waiting = "run"     // goes on
)

// Rule is one legal time limit: a row of the table of clocks.
type Rule struct {
	ID    string `yaml:"id"`
	Start Kind   `yaml:"start"`
	// Also are other events that start it.
	Also   []Kind `yaml:"also,omitempty"`
	Ends   []Kind `yaml:"ends"`
	Length int    `yaml:"length"`
	Unit   Unit   `yaml:"unit"`
	// Extension lengthens the period once, counted from the same start; 0: none.
	Extension int     `yaml:"extension,omitempty"`
	Waiting   Waiting `yaml:"waiting"`
	// Text says the limit in words ("one month from the complete file").
	Text Text `yaml:"text"`
	// Source names the provision ("Decree 2019-536, Art. 90").
	Source Text `yaml:"source"`
	// Missed says what happens when the limit passes.
	Missed Text `yaml:"missed"`
}

// Silence is what passing the limit counts as.
type Silence string

const (
	SilenceNothing    Silence = "none"
	SilenceFavourable Silence = "favourable"
)

// Step is one stage of the procedure.
type Step struct {
	ID       string    `yaml:"id"`
	State    State     `yaml:"state"`
	Role     string    `yaml:"role"`
	Rule     string    `yaml:"rule,omitempty"` // id of the clock; empty: the law sets none
	Silence  Silence   `yaml:"silence"`
	Commands []Command `yaml:"commands"` // what the step's role may do; the master workflow bounds it
	Title    Text      `yaml:"title"`
	Waits    Text      `yaml:"waits"` // "Waiting for the opinion of …"
	Article  Text      `yaml:"article"`
}

// PermitTerms are what a permit under this procedure always says.
type PermitTerms struct {
	// MinCell is the smallest count that may leave, in persons (CASD rule for PMSI: 11).
	MinCell int `yaml:"min_cell"`
	// Reviewers is how many independent persons approve each export.
	Reviewers int `yaml:"reviewers"`
	// MaxMonths bounds the duration (Art. 68(12): 10 years).
	MaxMonths  int    `yaml:"max_months"`
	Conditions []Text `yaml:"conditions"`
	// Feasibility are the terms of the standing mandate to count before any application.
	Feasibility FeasibilityTerms `yaml:"feasibility"`
}

// FeasibilityTerms bound protected counts.
type FeasibilityTerms struct {
	MinCell int `yaml:"min_cell"` // smallest count that is shown, in persons
	RoundTo int `yaml:"round_to"` // base that counts are rounded to, in persons
	Months  int `yaml:"months"`   // how long a mandate lasts
}

// Procedure is one version of a national or European procedure.
type Procedure struct {
	ID       string      `yaml:"id"`
	Version  int         `yaml:"version"`
	Title    Text        `yaml:"title"`
	TimeZone string      `yaml:"time_zone"`
	Calendar Calendar    `yaml:"calendar"`
	Rules    []Rule      `yaml:"rules"`
	Steps    []Step      `yaml:"steps"`
	Permit   PermitTerms `yaml:"permit"`

	zone *time.Location
}

// Name is id and version, "fr-snds@1": what a case keeps.
func (p *Procedure) Name() string { return fmt.Sprintf("%s@%d", p.ID, p.Version) }

// Rule returns the rule with an id.
func (p *Procedure) Rule(id string) (*Rule, bool) {
	for i := range p.Rules {
		if p.Rules[i].ID == id {
			return &p.Rules[i], true
		}
	}
	return nil, false
}

// Step returns the step with an id.
func (p *Procedure) Step(id string) (*Step, bool) {
	for i := range p.Steps {
		if p.Steps[i].ID == id {
			return &p.Steps[i], true
		}
	}
	return nil, false
}

// Procedures are all loaded versions, by name.
type Procedures map[string]*Procedure

// LoadProcedures reads every *.yaml file of fsys. The file is refused whole on the first error.
func LoadProcedures(fsys fs.FS) (Procedures, error) {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("procedures: %w", err)
	}
	out := Procedures{}
	for _, name := range names {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("procedures: %w", err)
		}
		p, err := ParseProcedure(b)
		if err != nil {
			return nil, fmt.Errorf("procedure %s: %w", path.Base(name), err)
		}
		if out[p.Name()] != nil {
			return nil, fmt.Errorf("procedure %s: %s is defined twice", path.Base(name), p.Name())
		}
		out[p.Name()] = p
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("procedures: no *.yaml file found")
	}
	return out, nil
}

// Latest returns the newest version of a procedure.
func (ps Procedures) Latest(id string) (*Procedure, bool) {
	var best *Procedure
	for _, p := range ps {
		if p.ID == id && (best == nil || p.Version > best.Version) {
			best = p
		}
	}
	return best, best != nil
}

// ParseProcedure reads one procedure strictly: unknown keys, missing languages, unknown roles, states,
// events or commands are errors, so that a typing mistake cannot change the law silently.
func ParseProcedure(b []byte) (*Procedure, error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	var p Procedure
	if err := dec.Decode(&p); err != nil {
		return nil, err
	}
	if err := dec.Decode(new(any)); err != io.EOF {
		return nil, fmt.Errorf("more than one document")
	}
	if err := p.prepare(); err != nil {
		return nil, err
	}
	return &p, nil
}

func (p *Procedure) prepare() error {
	if p.ID == "" || strings.ContainsAny(p.ID, "@/ ") || p.Version < 1 || !p.Title.complete() {
		return fmt.Errorf("a procedure needs an id, a version from 1 and a title in three languages")
	}
	zone, err := time.LoadLocation(p.TimeZone)
	if err != nil || p.TimeZone == "" {
		return fmt.Errorf("time_zone %q is unknown", p.TimeZone)
	}
	p.zone = zone
	if err := p.Calendar.prepare(); err != nil {
		return fmt.Errorf("calendar: %w", err)
	}
	seen := map[string]bool{}
	for _, r := range p.Rules {
		if err := r.check(); err != nil {
			return fmt.Errorf("rule %q: %w", r.ID, err)
		}
		if seen[r.ID] {
			return fmt.Errorf("rule %q is there twice", r.ID)
		}
		seen[r.ID] = true
	}
	if err := p.checkSteps(); err != nil {
		return err
	}
	t := p.Permit
	if t.MinCell < 1 || t.Reviewers < 1 || t.MaxMonths < 1 || t.MaxMonths > 120 {
		return fmt.Errorf("permit: min_cell and reviewers from 1, max_months from 1 to 120 (Art. 68(12))")
	}
	if f := t.Feasibility; f.MinCell < 1 || f.RoundTo < 1 || f.Months < 1 || f.Months > 120 {
		return fmt.Errorf("permit: feasibility: min_cell and round_to from 1, months from 1 to 120")
	}
	for i, c := range t.Conditions {
		if !c.complete() {
			return fmt.Errorf("permit: condition %d lacks a language", i+1)
		}
	}
	return nil
}

func (r *Rule) check() error {
	switch {
	case r.ID == "":
		return fmt.Errorf("no id")
	case !knownKinds[r.Start]:
		return fmt.Errorf("unknown start event %q", r.Start)
	case len(r.Ends) == 0:
		return fmt.Errorf("no end event")
	case r.Length < 1 || r.Length > 3660 || r.Extension < 0 || r.Extension > 3660:
		return fmt.Errorf("length %d, extension %d: want 1 to 3660, and 0 or more", r.Length, r.Extension)
	case !r.Unit.Valid():
		return fmt.Errorf("unknown unit %q", r.Unit)
	case r.Waiting != WaitRestart && r.Waiting != WaitSuspend && r.Waiting != WaitRun:
		return fmt.Errorf("waiting %q: want restart, suspend or run", r.Waiting)
	case !r.Text.complete() || !r.Source.complete() || !r.Missed.complete():
		return fmt.Errorf("text, source and missed are needed in three languages")
	}
	for _, k := range r.Also {
		if !knownKinds[k] {
			return fmt.Errorf("unknown start event %q", k)
		}
	}
	for _, k := range r.Ends {
		if !knownKinds[k] || r.starts(k) {
			return fmt.Errorf("end event %q is unknown or a start", k)
		}
	}
	return nil
}

// starts reports whether an event of kind k starts the period.
func (r *Rule) starts(k Kind) bool { return k == r.Start || slices.Contains(r.Also, k) }

// checkSteps holds the procedure to the master workflow: the same stages in the same order, each with
// commands that the master knows for it, each clock defined.
func (p *Procedure) checkSteps() error {
	var ids []string
	for _, s := range p.Steps {
		m, ok := masterSteps[s.ID]
		switch {
		case !ok:
			return fmt.Errorf("step %q is not one of the master workflow", s.ID)
		case slices.Contains(ids, s.ID):
			return fmt.Errorf("step %q is there twice", s.ID)
		case s.State != m.state || s.Role != m.role:
			return fmt.Errorf("step %q: state %q and role %q, want %q and %q", s.ID, s.State, s.Role, m.state, m.role)
		case !s.Title.complete() || !s.Waits.complete() || !s.Article.complete():
			return fmt.Errorf("step %q: title, waits and article are needed in three languages", s.ID)
		case s.Silence != SilenceNothing && (s.Silence != SilenceFavourable || !m.silence || s.Rule == ""):
			return fmt.Errorf("step %q: silence %q is not possible here", s.ID, s.Silence)
		}
		if s.Rule != "" {
			if _, ok := p.Rule(s.Rule); !ok {
				return fmt.Errorf("step %q: unknown rule %q", s.ID, s.Rule)
			}
		}
		for _, c := range s.Commands {
			if !slices.Contains(m.commands, c) {
				return fmt.Errorf("step %q: command %q is not possible here", s.ID, c)
			}
			if r, _ := p.Rule(s.Rule); c == CmdExtend && (r == nil || r.Extension == 0) {
				return fmt.Errorf("step %q: nothing to extend", s.ID)
			}
		}
		for _, c := range m.needs {
			if !slices.Contains(s.Commands, c) {
				return fmt.Errorf("step %q: command %q is missing, the case could never leave it", s.ID, c)
			}
		}
		ids = append(ids, s.ID)
	}
	for _, id := range masterOrder {
		if !slices.Contains(ids, id) && masterSteps[id].required {
			return fmt.Errorf("step %q is missing", id)
		}
	}
	if !slices.IsSortedFunc(ids, func(a, b string) int { return slices.Index(masterOrder, a) - slices.Index(masterOrder, b) }) {
		return fmt.Errorf("steps are out of order: want %s", strings.Join(masterOrder, ", "))
	}
	return nil
}
