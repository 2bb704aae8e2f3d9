package catalogue

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/portal/access"
)

// Sections of the editing form, in order.
var sections = []string{"about", "content", "access", "structure"}

type mineRow struct {
	Record
	Title     Text
	Mandatory int // rules broken
	Advice    int
	Delivered *Delivered
}

type mineData struct {
	Holder string
	Rows   []mineRow
}

func (s *Site) mine(w http.ResponseWriter, r *http.Request) {
	holder, err := holderOf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	records, err := s.c.Records(r.Context(), holder)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	d := mineData{Holder: holder}
	for _, rec := range records {
		_, desc, err := s.c.Draft(r.Context(), rec.Holder, rec.Dataset)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		row := mineRow{Record: rec, Title: desc.Title}
		for _, b := range Validate(desc) {
			if b.Level == Mandatory {
				row.Mandatory++
			} else {
				row.Advice++
			}
		}
		if row.Delivered, err = selectDelivery(r.Context(), s.c.db, rec.Holder, rec.Dataset); err != nil {
			s.fail(w, r, err)
			return
		}
		d.Rows = append(d.Rows, row)
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/catalogue/holder", d)
}

type newData struct {
	page.Form
	Holder string
}

func (s *Site) newDataset(w http.ResponseWriter, r *http.Request) {
	holder, err := holderOf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/catalogue/new", newData{Holder: holder})
}

func (s *Site) createDataset(w http.ResponseWriter, r *http.Request) {
	holder, err := holderOf(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if err := r.ParseForm(); err != nil {
		s.o.Pages.Error(w, r, http.StatusBadRequest, nil)
		return
	}
	d := newData{Form: page.Form{Values: r.PostForm}, Holder: holder}
	name, title := strings.TrimSpace(d.Value("dataset")), strings.TrimSpace(d.Value("title"))
	if !contract.ValidName(name) {
		d.Bad("dataset", "catalogue.error.name")
	}
	if title == "" {
		d.Bad("title", "catalogue.error.title")
	}
	if len(d.Errors) == 0 {
		desc := &Description{Holder: holder, Dataset: name, Title: Text{i18n.Lang(r.Context()): title}, Structured: true, PersonalData: true, Access: AccessNonPublic}
		switch _, err := s.c.Save(r.Context(), actor(r.Context()), desc, 0); {
		case err == nil:
			http.Redirect(w, r, "/holder/datasets/"+holder+"/"+name, http.StatusSeeOther)
			return
		case errors.Is(err, ErrChanged):
			d.Bad("dataset", "catalogue.error.taken")
		default:
			s.fail(w, r, err)
			return
		}
	}
	s.o.Pages.Render(w, r, http.StatusUnprocessableEntity, "portal/catalogue/new", d)
}

type draftData struct {
	Record
	Description *Description
	Sections    []sectionData
	Publishable bool
	Changes     []Change
	Done        string // what was just done: "saved", "published", "withdrawn"
}

type sectionData struct {
	Name      string
	Mandatory []Rule
	Advice    []Rule
}

// load returns the draft of the address for an action, or has already answered.
func (s *Site) load(w http.ResponseWriter, r *http.Request, action access.Action) (Record, *Description, bool) {
	holder, dataset := r.PathValue("holder"), r.PathValue("dataset")
	if err := access.Allow(r, action, holderResource(holder, dataset)); err != nil {
		s.fail(w, r, err)
		return Record{}, nil, false
	}
	rec, d, err := s.c.Draft(r.Context(), holder, dataset)
	if err != nil {
		s.fail(w, r, err)
		return rec, nil, false
	}
	return rec, d, true
}

func (s *Site) draft(w http.ResponseWriter, r *http.Request) {
	rec, d, ok := s.load(w, r, access.DatasetDescribe)
	if !ok {
		return
	}
	broken := Validate(d)
	data := draftData{Record: rec, Description: d, Publishable: Publishable(broken)}
	if done := r.URL.Query().Get("done"); slices.Contains([]string{"saved", "published", "withdrawn"}, done) {
		data.Done = done
	}
	for _, name := range sections {
		sec := sectionData{Name: name}
		for _, b := range broken {
			switch {
			case b.Section != name:
			case b.Level == Mandatory:
				sec.Mandatory = append(sec.Mandatory, b)
			default:
				sec.Advice = append(sec.Advice, b)
			}
		}
		data.Sections = append(data.Sections, sec)
	}
	var err error
	if data.Changes, err = s.c.History(r.Context(), rec.Holder, rec.Dataset); err != nil {
		s.fail(w, r, err)
		return
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/catalogue/draft", data)
}

type editData struct {
	page.Form
	Record
	Description *Description
	Section     string
	Base        int
	Conflict    bool
}

// Lists for the form.
func (editData) Categories() []string  { return Categories }
func (editData) Themes() []string      { return Themes }
func (editData) Types() []string       { return Types }
func (editData) Frequencies() []string { return Frequencies }
func (editData) AccessRights() []Access {
	return AccessRights
}
func (editData) Languages() []string { return languages }

func (s *Site) edit(w http.ResponseWriter, r *http.Request) {
	rec, d, ok := s.load(w, r, access.DatasetDescribe)
	if !ok {
		return
	}
	section := r.PathValue("section")
	if !slices.Contains(sections, section) {
		s.o.Pages.NotFound(w, r)
		return
	}
	s.o.Pages.Render(w, r, http.StatusOK, "portal/catalogue/edit", editData{
		Form: page.Form{Values: formOf(d, section)}, Record: rec, Description: d, Section: section, Base: rec.Latest})
}

func (s *Site) saveSection(w http.ResponseWriter, r *http.Request) {
	rec, old, ok := s.load(w, r, access.DatasetDescribe)
	if !ok {
		return
	}
	section := r.PathValue("section")
	if !slices.Contains(sections, section) {
		s.o.Pages.NotFound(w, r)
		return
	}
	if err := r.ParseForm(); err != nil {
		s.o.Pages.Error(w, r, http.StatusBadRequest, nil)
		return
	}
	data := editData{Form: page.Form{Values: r.PostForm}, Record: rec, Description: old, Section: section}
	base, err := strconv.Atoi(data.Value("base"))
	if err != nil || base < 1 {
		s.o.Pages.Error(w, r, http.StatusBadRequest, nil)
		return
	}
	data.Base = base
	d := *old
	d.applyForm(&data.Form, section)
	if len(data.Errors) == 0 {
		_, err := s.c.Save(r.Context(), actor(r.Context()), &d, base)
		var refusal *contract.Refusal
		switch {
		case err == nil:
			http.Redirect(w, r, "/holder/datasets/"+d.Holder+"/"+d.Dataset+"?done=saved", http.StatusSeeOther)
			return
		case errors.Is(err, ErrChanged):
			// What was typed is shown again on top of the newest version; nothing is lost.
			data.Conflict, data.Base = true, rec.Latest
			s.o.Pages.Render(w, r, http.StatusConflict, "portal/catalogue/edit", data)
			return
		case errors.As(err, &refusal):
			data.Bad(map[string]string{"structure": "variables"}[section], "catalogue.error.refused", "reason", refusal.Reason)
		default:
			s.fail(w, r, err)
			return
		}
	}
	s.o.Pages.Render(w, r, http.StatusUnprocessableEntity, "portal/catalogue/edit", data)
}

func (s *Site) publish(w http.ResponseWriter, r *http.Request) {
	rec, _, ok := s.load(w, r, access.DatasetPublish)
	if !ok {
		return
	}
	version, err := strconv.Atoi(r.PostFormValue("version"))
	if err != nil {
		s.o.Pages.Error(w, r, http.StatusBadRequest, nil)
		return
	}
	var not *NotPublishable
	done := "?done=published"
	if err := s.c.Publish(r.Context(), actor(r.Context()), rec.Holder, rec.Dataset, version); errors.As(err, &not) {
		done = "" // the page lists what is missing
	} else if err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/holder/datasets/"+rec.Holder+"/"+rec.Dataset+done, http.StatusSeeOther)
}

func (s *Site) withdraw(w http.ResponseWriter, r *http.Request) {
	rec, _, ok := s.load(w, r, access.DatasetPublish)
	if !ok {
		return
	}
	if err := s.c.Withdraw(r.Context(), actor(r.Context()), rec.Holder, rec.Dataset); err != nil {
		s.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/holder/datasets/"+rec.Holder+"/"+rec.Dataset+"?done=withdrawn", http.StatusSeeOther)
}

// textFields and the like name the form's fields and where their values live.
func (d *Description) textFields(section string) map[string]*Text {
	switch section {
	case "about":
		return map[string]*Text{"title": &d.Title, "description": &d.Description, "purpose": &d.Purpose, "provenance": &d.Provenance, "generated_by": &d.GeneratedBy}
	case "content":
		return map[string]*Text{"population": &d.Population}
	case "access":
		return map[string]*Text{"conditions": &d.Conditions}
	}
	return nil
}

func (d *Description) listFields(section string) map[string]*[]string {
	switch section {
	case "content":
		return map[string]*[]string{"coding_systems": &d.CodingSystems, "conforms_to": &d.ConformsTo, "languages": &d.Languages, "countries": &d.Countries}
	case "access":
		return map[string]*[]string{"legal_basis": &d.LegalBasis, "legislation": &d.Legislation}
	}
	return nil
}

func (d *Description) parties() map[string]*Party {
	return map[string]*Party{"contact": &d.Contact, "publisher": &d.Publisher, "custodian": &d.Custodian, "hdab": &d.HDAB}
}

// formOf fills the form of a section from a description.
func formOf(d *Description, section string) url.Values {
	v := url.Values{}
	for name, t := range d.textFields(section) {
		for _, l := range languages {
			v.Set(name+"-"+l, (*t)[l])
		}
	}
	for name, l := range d.listFields(section) {
		v.Set(name, strings.Join(*l, "\n"))
	}
	number := func(name string, n int64) {
		if n > 0 {
			v.Set(name, strconv.FormatInt(n, 10))
		}
	}
	age := func(name string, n *int) {
		if n != nil {
			v.Set(name, strconv.Itoa(*n))
		}
	}
	switch section {
	case "about":
		for _, l := range languages {
			v.Set("keywords-"+l, strings.Join(d.Keywords[l], ", "))
		}
	case "content":
		v["categories"], v["themes"] = d.Categories, d.Themes
		v.Set("type", d.Type)
		v.Set("frequency", d.Frequency)
		v.Set("from", d.Period.From)
		v.Set("to", d.Period.To)
		number("records", d.Records)
		number("persons", d.Persons)
		age("min_age", d.MinAge)
		age("max_age", d.MaxAge)
		if d.PersonalData {
			v.Set("personal_data", "yes")
		} else {
			v.Set("personal_data", "no")
		}
	case "access":
		v.Set("access", string(d.Access))
		v.Set("distribution", d.Distribution)
		v.Set("documentation", d.Documentation)
		for name, p := range d.parties() {
			for _, l := range languages {
				v.Set(name+"-name-"+l, p.Name[l])
			}
			v.Set(name+"-email", p.Email)
			v.Set(name+"-url", p.URL)
		}
	case "structure":
		v.Set("variables", structureCSV(d.Tables))
	}
	return v
}

// applyForm writes what was typed into the description and notes faults. Texts in languages that the
// form does not show are kept.
func (d *Description) applyForm(f *page.Form, section string) {
	value := func(name string) string { return strings.TrimSpace(strings.ReplaceAll(f.Value(name), "\r\n", "\n")) }
	texts := func(name string, t *Text) {
		out := Text{}
		for l, s := range *t {
			if !slices.Contains(languages, l) {
				out[l] = s
			}
		}
		for _, l := range languages {
			if s := value(name + "-" + l); s != "" {
				out[l] = s
			}
		}
		*t = out
	}
	for name, t := range d.textFields(section) {
		texts(name, t)
	}
	for name, l := range d.listFields(section) {
		*l = splitList(value(name), "\n")
	}
	number := func(name string, to *int64) {
		*to = 0
		if s := value(name); s != "" {
			n, err := strconv.ParseInt(strings.NewReplacer(" ", "", "\u00a0", "", "\u202f", "").Replace(s), 10, 64)
			if err != nil || n < 0 {
				f.Bad(name, "catalogue.error.number")
			}
			*to = n
		}
	}
	switch section {
	case "about":
		d.Keywords = map[string][]string{}
		for _, l := range languages {
			if k := splitList(value("keywords-"+l), ","); len(k) > 0 {
				d.Keywords[l] = k
			}
		}
	case "content":
		d.Categories, d.Themes = f.Values["categories"], f.Values["themes"]
		d.Type, d.Frequency, d.PersonalData = value("type"), value("frequency"), value("personal_data") != "no"
		d.Period = Period{value("from"), value("to")}
		for name, day := range map[string]string{"from": d.Period.From, "to": d.Period.To} {
			if day != "" && (contract.Period{From: day, To: day}).Validate() != nil {
				f.Bad(name, "catalogue.error.day")
			}
		}
		if d.Period.To != "" && d.Period.To < d.Period.From {
			f.Bad("to", "catalogue.error.backwards")
		}
		number("records", &d.Records)
		number("persons", &d.Persons)
		for name, to := range map[string]**int{"min_age": &d.MinAge, "max_age": &d.MaxAge} {
			*to = nil
			if s := value(name); s != "" {
				n, err := strconv.Atoi(s)
				if err != nil || n < 0 || n > 130 {
					f.Bad(name, "catalogue.error.age")
					continue
				}
				*to = &n
			}
		}
		for i, c := range d.Countries {
			if d.Countries[i] = strings.ToUpper(c); len(c) != 2 {
				f.Bad("countries", "catalogue.error.country")
			}
		}
	case "access":
		d.Access, d.Distribution, d.Documentation = Access(value("access")), value("distribution"), value("documentation")
		for name, u := range map[string]string{"distribution": d.Distribution, "documentation": d.Documentation} {
			if u != "" && !webAddress(u) {
				f.Bad(name, "catalogue.error.address")
			}
		}
		if slices.ContainsFunc(d.Legislation, func(u string) bool { return !webAddress(u) }) {
			f.Bad("legislation", "catalogue.error.address")
		}
		for name, p := range d.parties() {
			texts(name+"-name", &p.Name)
			p.Email, p.URL = value(name+"-email"), value(name+"-url")
			if p.Email != "" && !mailAddress(p.Email) {
				f.Bad(name+"-email", "catalogue.error.email")
			}
			if p.URL != "" && !webAddress(p.URL) {
				f.Bad(name+"-url", "catalogue.error.address")
			}
		}
	case "structure":
		tables, err := parseStructure(value("variables"), d.Tables)
		if err != nil {
			f.Bad("variables", "catalogue.error.structure", "line", err.line, "reason", err.reason)
			return
		}
		d.Tables, d.Structured = tables, len(tables) > 0 || d.Structured
	}
}

func splitList(s, sep string) []string {
	var out []string
	for part := range strings.SplitSeq(s, sep) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// structureHead is the first line of the text in which a holder edits tables and variables.
var structureHead = []string{"table", "variable", "type", "role", "code_list", "title_en", "title_fr", "title_fi"}

// structureCSV writes tables as lines "table;variable;…". A line without variable is the table itself;
// its type column holds the variable that dates its rows.
func structureCSV(tables []Table) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	w.Comma = ';'
	// Writing to a strings.Builder does not fail.
	_ = w.Write(structureHead)
	for _, t := range tables {
		_ = w.Write([]string{t.Name, "", t.EventDate, "", "", t.Title["en"], t.Title["fr"], t.Title["fi"]})
		for _, v := range t.Variables {
			_ = w.Write([]string{t.Name, v.Name, string(v.Type), string(v.Role), v.CodeList, v.Title["en"], v.Title["fr"], v.Title["fi"]})
		}
	}
	w.Flush()
	return b.String()
}

type structureError struct {
	line   int
	reason string
}

// parseStructure reads what structureCSV writes. What the text does not hold (descriptions, dates of
// validity) is taken over from old.
func parseStructure(s string, old []Table) ([]Table, *structureError) {
	before := Description{Tables: old}
	r := csv.NewReader(strings.NewReader(s))
	r.Comma, r.FieldsPerRecord = ';', len(structureHead)
	var tables []Table
	at := map[string]int{}
	for first := true; ; first = false {
		row, err := r.Read()
		if err == io.EOF {
			return tables, nil
		}
		line, _ := r.FieldPos(0)
		var bad *csv.ParseError
		if errors.As(err, &bad) {
			return nil, &structureError{bad.Line, bad.Err.Error()}
		}
		if err != nil {
			return nil, &structureError{line, err.Error()}
		}
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if first && row[0] == structureHead[0] {
			continue
		}
		name, variable := row[0], row[1]
		if !contract.ValidName(name) || (variable != "" && !contract.ValidName(variable)) {
			return nil, &structureError{line, fmt.Sprintf("%q, %q", name, variable)}
		}
		i, known := at[name]
		if !known {
			t := Table{Name: name}
			if o := before.Table(name); o != nil {
				t = *o
				t.Variables = nil
			}
			i = len(tables)
			at[name], tables = i, append(tables, t)
		}
		title := func(old Text) Text {
			out := Text{}
			for l, s := range old {
				if !slices.Contains(languages, l) {
					out[l] = s
				}
			}
			for j, l := range []string{"en", "fr", "fi"} {
				if row[5+j] != "" {
					out[l] = row[5+j]
				}
			}
			return out
		}
		t := &tables[i]
		if variable == "" {
			t.EventDate, t.Title = row[2], title(t.Title)
			continue
		}
		v := Variable{Name: variable}
		if o := before.Table(name); o != nil && o.Variable(variable) != nil {
			v = *o.Variable(variable)
		}
		v.Type, v.Role, v.CodeList, v.Title = contract.ColumnType(row[2]), contract.ColumnRole(row[3]), row[4], title(v.Title)
		t.Variables = append(t.Variables, v)
	}
}
