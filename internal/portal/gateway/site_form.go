package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/portal/access"
)

// formData is the dot of every page of the application form.
type formData struct {
	page.Form
	ID, Page, Title string
	Seq             int64
	Number, Of      int // "question 2 of 7"
	Back            string
	Asked           []Question // what the handler wants to know about this page
	Procedure       *Procedure
	Datasets        []formDataset
	Criteria        []int // indices of the rows of criteria
	Columns         []string
	Persons         []PersonRef
	MaxMonths       int
}

// formDataset is one dataset with all that may be asked for.
type formDataset struct {
	Key    string // holder/dataset
	Tables []formTable
}

type formTable struct {
	Name, Title string
	Chosen      int
	Columns     []formColumn
}

type formColumn struct{ Key, Name, Title string }

// showForm shows one page of the form, or the last page, where the answers are checked.
func (s *Site) showForm(w http.ResponseWriter, r *http.Request) {
	a, u, ok := s.find(w, r, always(access.ApplicationEdit))
	if !ok {
		return
	}
	name := r.PathValue("page")
	if !slices.Contains(Pages, name) {
		s.o.Pages.NotFound(w, r)
		return
	}
	if err := a.Can(u, CmdSave, s.g.Now()); err != nil {
		s.fail(w, r, err)
		return
	}
	if name == "check" {
		s.showCheck(w, r, http.StatusOK, a, nil)
		return
	}
	s.renderForm(w, r, http.StatusOK, a, name, page.Form{Values: formValues(name, a.Answers)})
}

func (s *Site) renderForm(w http.ResponseWriter, r *http.Request, status int, a *Application, name string, f page.Form) {
	i := slices.Index(Pages, name)
	d := formData{Form: f, ID: a.ID, Page: name, Title: a.Title(), Seq: a.Seq, Number: i + 1, Of: len(Pages) - 1,
		Back: "/applications/" + a.ID, Procedure: a.Procedure, MaxMonths: a.Procedure.Permit.MaxMonths}
	if i > 0 {
		d.Back = "/applications/" + a.ID + "/form/" + Pages[i-1]
	}
	for _, q := range a.Questions {
		if q.Page == name {
			d.Asked = append(d.Asked, q)
		}
	}
	switch name {
	case "data", "cohort":
		var err error
		if d.Datasets, err = s.formDatasets(r, a, f.Values["column"]); err != nil {
			s.fail(w, r, err)
			return
		}
		for _, x := range d.Datasets {
			for _, t := range x.Tables {
				for _, c := range t.Columns {
					d.Columns = append(d.Columns, c.Key)
				}
			}
		}
		rows := 1
		for rows < maxCriteria && f.Values.Get(fmt.Sprintf("criterion-%d", rows-1)) != "" {
			rows++
		}
		for i := range rows {
			d.Criteria = append(d.Criteria, i)
		}
	case "persons":
		d.Persons = or(a.Answers.Persons).Persons
	}
	s.o.Pages.Render(w, r, status, "portal/application/"+name, d)
}

// formDatasets lists everything that may be chosen from the datasets of the application.
func (s *Site) formDatasets(r *http.Request, a *Application, chosen []string) ([]formDataset, error) {
	var out []formDataset
	for _, d := range or(a.Answers.Data).Datasets {
		schema, err := s.g.o.Datasets.Schema(r.Context(), d.Holder, d.Dataset)
		if errors.Is(err, ErrUnknown) {
			continue // the check page says so
		}
		if err != nil {
			return nil, err
		}
		out = append(out, formOf(schema, chosen, lang(r)))
	}
	return out, nil
}

// formOf lists the tables and payload columns of a dataset: identity traits and the person key cannot be
// asked for.
func formOf(schema *contract.DatasetSchema, chosen []string, lang string) formDataset {
	x := formDataset{Key: schema.Holder + "/" + schema.Dataset}
	for _, t := range schema.Tables {
		ft := formTable{Name: t.Name, Title: titleIn(t.Title, lang)}
		for _, c := range t.Columns {
			if c.Role != contract.RolePayload {
				continue
			}
			key := x.Key + "/" + t.Name + "/" + c.Name
			ft.Columns = append(ft.Columns, formColumn{Key: key, Name: c.Name, Title: titleIn(c.Title, lang)})
			if slices.Contains(chosen, key) {
				ft.Chosen++
			}
		}
		if len(ft.Columns) > 0 {
			x.Tables = append(x.Tables, ft)
		}
	}
	return x
}

// titleIn picks a title, falling back on English, French, then any.
func titleIn(titles map[string]string, lang string) string {
	for _, l := range []string{lang, "en", "fr"} {
		if titles[l] != "" {
			return titles[l]
		}
	}
	for _, t := range titles {
		return t
	}
	return ""
}

// saveForm keeps a page of answers, whole or not, and leads on. With "later" it leads back to the case
// without asking for what is missing.
func (s *Site) saveForm(w http.ResponseWriter, r *http.Request) {
	a, u, ok := s.find(w, r, always(access.ApplicationEdit))
	if !ok || !s.form(w, r) {
		return
	}
	name := r.PathValue("page")
	if !slices.Contains(Pages, name) || name == "check" {
		s.o.Pages.NotFound(w, r)
		return
	}
	seen := expected(r.PostForm)
	answers := parseForm(name, r.PostForm)
	saved := a
	if !answers.empty() {
		var err error
		saved, err = s.g.Do(r.Context(), u, a.ID, Action{Command: CmdSave, ExpectedSeq: seen, Answers: &answers})
		var invalid *Invalid
		if errors.As(err, &invalid) {
			s.renderForm(w, r, http.StatusUnprocessableEntity, a, name, page.Form{Values: r.PostForm, Errors: formErrors(invalid.Problems)})
			return
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
	}
	switch {
	case r.PostForm.Get("go") == "later":
		http.Redirect(w, r, "/applications/"+a.ID, http.StatusSeeOther)
		return
	case r.PostForm.Get("go") == "stay" || r.PostForm.Get("remove") != "":
		http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
		return
	}
	var missing []Problem
	for _, p := range s.g.Incomplete(r.Context(), saved) {
		if p.Page == name {
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		v := r.PostForm
		if name == "persons" {
			v = formValues(name, saved.Answers)
		}
		s.renderForm(w, r, http.StatusUnprocessableEntity, saved, name, page.Form{Values: v, Errors: formErrors(missing)})
		return
	}
	next := Pages[slices.Index(Pages, name)+1]
	http.Redirect(w, r, "/applications/"+a.ID+"/form/"+next, http.StatusSeeOther)
}

// answerRow is one answer in a summary.
type answerRow struct{ Key, Text string }

// answerSection is one page of the form in a summary.
type answerSection struct {
	Page string
	Rows []answerRow
}

// showCheck shows all answers and what is still missing; from here the application is sent.
func (s *Site) showCheck(w http.ResponseWriter, r *http.Request, status int, a *Application, errs page.Errors) {
	ps := s.g.Incomplete(r.Context(), a)
	type fault struct {
		Page string
		page.Message
	}
	var data struct {
		page.Form
		ID, Title string
		Seq       int64
		Sections  []answerSection
		Missing   []fault
		Questions []Question
		Awaiting  bool
		NoKey     []string // persons without a passkey: the permit cannot name them yet
		Owner     bool
	}
	data.Form = page.Form{Values: r.PostForm, Errors: errs}
	data.ID, data.Title, data.Seq = a.ID, a.Title(), a.Seq
	data.Sections = s.sections(r, a)
	data.Awaiting, data.Questions = a.State == StateAwaiting, a.Questions
	data.Owner = actorOf(r.Context()).ID == a.Applicant
	for _, p := range ps {
		data.Missing = append(data.Missing, fault{p.Page, messageOf(p)})
	}
	for _, ref := range or(a.Answers.Persons).Persons {
		p, err := s.g.o.People(r.Context(), ref.Account)
		if err == nil && len(p.Credentials) == 0 {
			data.NoKey = append(data.NoKey, p.Name)
		}
	}
	s.o.Pages.Render(w, r, status, "portal/application/check", data)
}

// sections writes the answers out for reading.
func (s *Site) sections(r *http.Request, a *Application) []answerSection {
	t := func(key string, args ...any) string { return s.o.Pages.T(r, key, args...) }
	period := func(p contract.Period) string { return s.period(r, p) }
	yes := func(b bool) string {
		if b {
			return t("gateway.yes")
		}
		return t("gateway.no")
	}
	ans := a.Answers
	var out []answerSection
	section := func(page string, rows ...answerRow) { out = append(out, answerSection{page, rows}) }
	p := or(ans.Project)
	section("project", answerRow{"title", p.Title}, answerRow{"lay_summary", p.LaySummary}, answerRow{"controller", p.Controller}, answerRow{"public_body", yes(p.PublicBody)})
	var purposes []string
	for _, c := range or(ans.Purpose).Purposes {
		purposes = append(purposes, s.purpose(r, c))
	}
	section("purpose", answerRow{"purposes", strings.Join(purposes, "\n")}, answerRow{"aim", or(ans.Purpose).Aim})
	section("data", answerRow{"datasets", s.datasetLines(r, or(ans.Data).Datasets)}, answerRow{"need", or(ans.Data).Need})
	duration := ""
	if n := or(ans.Period).DurationMonths; n > 0 {
		duration = t("gateway.months", "count", n)
	}
	section("period", answerRow{"period", period(or(ans.Period).Period)}, answerRow{"duration", duration})
	section("cohort", answerRow{"cohort", s.cohort(r, ans.Cohort)})
	var persons []string
	for _, x := range or(ans.Persons).Persons {
		line := x.Name
		if x.Affiliation != "" {
			line += ", " + x.Affiliation
		}
		if x.Principal {
			line += " (" + t("gateway.principal") + ")"
		}
		persons = append(persons, line)
	}
	section("persons", answerRow{"persons", strings.Join(persons, "\n")})
	opt := ""
	if o := ans.OptOut; o != nil {
		opt = s.optOut(r, o.OptOut)
	}
	section("optout", answerRow{"optout", opt})
	return out
}

func (s *Site) purpose(r *http.Request, code string) string {
	if !slices.Contains(PurposeCodes, code) {
		return code
	}
	return s.o.Pages.T(r, purposeKey(code))
}

func (s *Site) period(r *http.Request, p contract.Period) string {
	from, err1 := parseDay(p.From)
	to, err2 := parseDay(p.To)
	if err1 != nil || err2 != nil {
		return strings.TrimSpace(p.From + " " + p.To)
	}
	return s.o.Pages.T(r, "gateway.period", "from", from, "to", to)
}

func (s *Site) optOut(r *http.Request, o contract.OptOut) string {
	if o.Honoured {
		return s.o.Pages.T(r, "gateway.optout.honoured")
	}
	return s.o.Pages.T(r, "gateway.optout.exception", "reason", o.Justification)
}

// cohort says in words who is in the cohort.
func (s *Site) cohort(r *http.Request, c *CohortPage) string {
	if c == nil {
		return ""
	}
	if c.Cohort.All {
		return s.o.Pages.T(r, "gateway.cohort.all", "period", s.period(r, c.Cohort.Period))
	}
	var lines []string
	for _, k := range c.Cohort.AnyOf {
		key := "gateway.cohort.equals"
		if k.Prefix {
			key = "gateway.cohort.begins"
		}
		lines = append(lines, s.o.Pages.T(r, key, "column", k.Table+"."+k.Column, "codes", strings.Join(k.Codes, ", ")))
	}
	return s.o.Pages.T(r, "gateway.cohort.any", "period", s.period(r, c.Cohort.Period)) + "\n" + strings.Join(lines, "\n")
}

// datasetLines says which tables and how many columns of each dataset.
func (s *Site) datasetLines(r *http.Request, ds []contract.DatasetScope) string {
	var lines []string
	for _, d := range ds {
		lines = append(lines, d.Holder+"/"+d.Dataset)
		for _, t := range d.Tables {
			lines = append(lines, "– "+t.Table+": "+strings.Join(t.Columns, ", "))
		}
	}
	return strings.Join(lines, "\n")
}
