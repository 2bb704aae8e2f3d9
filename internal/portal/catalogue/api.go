package catalogue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
)

// SummaryView is a dataset in a list.
type SummaryView struct {
	Identifier string         `json:"identifier" doc:"holder/dataset"`
	Title      Text           `json:"title"`
	Categories []string       `json:"categories" doc:"Letters of Art. 51(1)"`
	Version    int            `json:"version"`
	Persons    int64          `json:"persons,omitempty"`
	Records    int64          `json:"records,omitempty"`
	Delivered  bool           `json:"delivered" doc:"Data have arrived at this hub"`
	Matching   int            `json:"matching" doc:"Variables that fit the search"`
	Variables  []VariableView `json:"variables" doc:"The best of them"`
}

// VariableView is a variable in a list.
type VariableView struct {
	Table       string `json:"table"`
	Name        string `json:"name"`
	Title       Text   `json:"title,omitempty"`
	Type        string `json:"type,omitempty"`
	CodeList    string `json:"code_list,omitempty"`
	Requestable bool   `json:"requestable" doc:"A permit can cover it; identity traits and person keys never"`
}

// FindingView is a rule that a description breaks.
type FindingView struct {
	Code    string   `json:"code"`
	Level   Level    `json:"level"`
	Section string   `json:"section"`
	Sources []Source `json:"sources"`
	What    string   `json:"what" doc:"In the reader's language"`
	Why     string   `json:"why"`
	How     string   `json:"how"`
}

// RecordView is a description with where it stands.
type RecordView struct {
	Description Description   `json:"description"`
	Version     int           `json:"version" doc:"Send it back in If-Match to change the description"`
	State       string        `json:"state" enum:"draft,published,changed,withdrawn"`
	Published   int           `json:"published,omitempty" doc:"Version that everybody sees"`
	Findings    []FindingView `json:"findings"`
}

// DatasetPath is the address of a dataset.
type DatasetPath struct {
	Holder  string `path:"holder" maxLength:"64"`
	Dataset string `path:"dataset" maxLength:"64"`
}

type searchInput struct {
	Q        string `query:"q" maxLength:"200" doc:"What to look for, in any of the three languages"`
	Category string `query:"category" maxLength:"1"`
	Holder   string `query:"holder" maxLength:"64"`
	System   string `query:"system" maxLength:"64" doc:"Coding system"`
	From     int    `query:"from" minimum:"0" maximum:"2200" doc:"Year"`
	To       int    `query:"to" minimum:"0" maximum:"2200" doc:"Year"`
	Page     int    `query:"page" minimum:"1" default:"1"`
}

type searchOutput struct {
	Body struct {
		Total    int           `json:"total"`
		Page     int           `json:"page"`
		Pages    int           `json:"pages"`
		Datasets []SummaryView `json:"datasets"`
	}
}

type entryOutput struct {
	Body struct {
		Description Description    `json:"description"`
		Version     int            `json:"version"`
		Updated     time.Time      `json:"updated"`
		Delivery    *DeliveredView `json:"delivery,omitempty"`
	}
}

// DeliveredView tells what arrived. Rows of years with few rows are left out; persons are rounded to 10.
type DeliveredView struct {
	At      time.Time        `json:"at"`
	Rows    map[string]int64 `json:"rows" doc:"By table"`
	Years   map[string]int64 `json:"years,omitempty"`
	Persons int64            `json:"persons"`
}

type recordOutput struct {
	ETag string `header:"ETag"`
	Body RecordView
}

type createInput struct{ Body Description }

type updateInput struct {
	DatasetPath
	IfMatch string `header:"If-Match" required:"true" doc:"Version on which the change is made"`
	Body    Description
}

type publishInput struct {
	DatasetPath
	Body struct {
		Version int `json:"version" minimum:"1" doc:"The newest version"`
	}
}

type schemaOutput struct{ Body contract.DatasetSchema }

type variablesInput struct {
	DatasetPath
	Table string `query:"table" maxLength:"64"`
	Q     string `query:"q" maxLength:"100" doc:"Part of the name or title"`
}

type variablesOutput struct {
	Body struct {
		Variables []VariableView `json:"variables"`
	}
}

type codeListInput struct {
	Name  string `path:"name" maxLength:"64"`
	Q     string `query:"q" maxLength:"100" doc:"Beginning of the code or part of the label"`
	Limit int    `query:"limit" minimum:"1" maximum:"20000" default:"1000"`
}

type codeListOutput struct {
	Body struct {
		Name  string `json:"name"`
		Total int    `json:"total"`
		Codes []Code `json:"codes"`
	}
}

type importInput struct{ Body TableSchemas }

type importOutput struct{ Body ImportReport }

// Operations registers the room's part of the JSON interface.
func (c *Catalogue) Operations(a huma.API) {
	const room = "catalogue"
	created := func(op *huma.Operation) { op.DefaultStatus = http.StatusCreated }
	api.Register(a, room, "list-datasets", http.MethodGet, "/datasets", "Search published datasets and their variables", true, c.apiSearch)
	api.Register(a, room, "create-dataset", http.MethodPost, "/datasets", "Describe a new dataset (draft)", false, c.apiCreate, created, api.MaxBody(16<<20))
	api.Register(a, room, "get-dataset", http.MethodGet, "/datasets/{holder}/{dataset}", "A published dataset", true, c.apiGet)
	api.Register(a, room, "update-dataset", http.MethodPut, "/datasets/{holder}/{dataset}", "Save a new version (draft)", false, c.apiUpdate, api.MaxBody(16<<20))
	api.Register(a, room, "get-draft", http.MethodGet, "/datasets/{holder}/{dataset}/draft", "The newest version with what is missing, for its holder", false, c.apiDraft)
	api.Register(a, room, "publish-dataset", http.MethodPost, "/datasets/{holder}/{dataset}/publish", "Publish the newest version", false, c.apiPublish)
	api.Register(a, room, "withdraw-dataset", http.MethodPost, "/datasets/{holder}/{dataset}/withdraw", "Take a dataset out of the catalogue", false, c.apiWithdraw)
	api.Register(a, room, "get-schema", http.MethodGet, "/datasets/{holder}/{dataset}/schema.json", "Structure of a published dataset, for the holder's agent", true, c.apiSchema)
	api.Register(a, room, "list-variables", http.MethodGet, "/datasets/{holder}/{dataset}/variables", "Variables of a published dataset", true, c.apiVariables)
	api.Register(a, room, "get-code-list", http.MethodGet, "/code-lists/{name}", "Codes and labels", true, c.apiCodeList)
	api.Register(a, room, "import-table-schemas", http.MethodPost, "/catalogue/table-schemas", "Import Table Schemas and code lists as published datasets", false, c.apiImport, api.MaxBody(64<<20),
		func(op *huma.Operation) { op.SkipValidateBody = true; op.BodyReadTimeout = time.Minute })
}

// problemOf turns the room's errors into problems.
func problemOf(ctx context.Context, err error) error {
	var not *NotPublishable
	switch {
	case errors.Is(err, ErrUnknown):
		return api.Unknown("dataset")
	case errors.Is(err, ErrChanged):
		return api.Fail(http.StatusConflict, "changed", "Somebody else saved a newer version meanwhile. Fetch it, make your change again and send its version.")
	case errors.As(err, &not):
		var lines []string
		for _, r := range not.Broken {
			if r.Level == Mandatory {
				lines = append(lines, r.Code)
			}
		}
		return api.Fail(http.StatusUnprocessableEntity, "incomplete", "Mandatory elements are missing; see the draft's findings.", lines...)
	}
	return err
}

func holderResource(holder, dataset string) access.Resource {
	return access.Resource{ID: holder + "/" + dataset, Holders: []string{holder}}
}

// actor is the account that a change is recorded under.
func actor(ctx context.Context) string {
	if u := access.UserFrom(ctx); u != nil {
		return u.ID
	}
	return ""
}

func (c *Catalogue) apiSearch(ctx context.Context, in *searchInput) (*searchOutput, error) {
	res, err := c.Search(ctx, Search{Text: in.Q, Lang: i18n.Lang(ctx), Category: in.Category, Holder: in.Holder, System: in.System, From: in.From, To: in.To, Page: in.Page})
	if err != nil {
		return nil, err
	}
	out := &searchOutput{}
	out.Body.Total, out.Body.Page, out.Body.Pages, out.Body.Datasets = res.Total, res.Page, res.Pages, []SummaryView{}
	for _, h := range res.Datasets {
		v := SummaryView{Identifier: h.Entry.Identifier(), Title: h.Entry.Title, Categories: h.Entry.Categories, Version: h.Entry.Version,
			Persons: h.Entry.PersonCount(), Records: h.Entry.Rows(), Delivered: h.Entry.Delivered != nil, Matching: h.Matching, Variables: []VariableView{}}
		for _, x := range h.Variables {
			if t := h.Entry.Table(x.Table); t != nil && t.Variable(x.Name) != nil {
				v.Variables = append(v.Variables, view(x.Table, *t.Variable(x.Name)))
			}
		}
		out.Body.Datasets = append(out.Body.Datasets, v)
	}
	return out, nil
}

func view(table string, v Variable) VariableView {
	return VariableView{Table: table, Name: v.Name, Title: v.Title, Type: string(v.Type), CodeList: v.CodeList, Requestable: v.Requestable()}
}

func (c *Catalogue) apiGet(ctx context.Context, in *DatasetPath) (*entryOutput, error) {
	e, err := c.Published(ctx, in.Holder, in.Dataset)
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	out := &entryOutput{}
	out.Body.Description, out.Body.Version, out.Body.Updated = *e.Description, e.Version, e.Updated
	if d := e.Delivered; d != nil {
		out.Body.Delivery = &DeliveredView{At: d.At, Rows: d.Rows, Years: d.Years, Persons: d.Persons}
	}
	return out, nil
}

func (c *Catalogue) record(ctx context.Context, holder, dataset string) (*recordOutput, error) {
	r, d, err := c.Draft(ctx, holder, dataset)
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	out := &recordOutput{ETag: strconv.Quote(strconv.Itoa(r.Latest))}
	out.Body = RecordView{Description: *d, Version: r.Latest, State: r.State(), Published: r.Published, Findings: []FindingView{}}
	lang := i18n.Lang(ctx)
	for _, f := range Validate(d) {
		key := i18n.Key("catalogue.rule.", f.Code)
		out.Body.Findings = append(out.Body.Findings, FindingView{Code: f.Code, Level: f.Level, Section: f.Section, Sources: f.Sources,
			What: c.label(lang, key+".what"), Why: c.label(lang, key+".why"), How: c.label(lang, key+".how")})
	}
	return out, nil
}

func (c *Catalogue) apiCreate(ctx context.Context, in *createInput) (*recordOutput, error) {
	if err := api.Allow(ctx, access.DatasetDescribe, holderResource(in.Body.Holder, in.Body.Dataset)); err != nil {
		return nil, err
	}
	if _, err := c.Save(ctx, actor(ctx), &in.Body, 0); err != nil {
		return nil, problemOf(ctx, err)
	}
	return c.record(ctx, in.Body.Holder, in.Body.Dataset)
}

func (c *Catalogue) apiUpdate(ctx context.Context, in *updateInput) (*recordOutput, error) {
	if err := api.Allow(ctx, access.DatasetDescribe, holderResource(in.Holder, in.Dataset)); err != nil {
		return nil, err
	}
	if in.Body.Holder != in.Holder || in.Body.Dataset != in.Dataset {
		return nil, api.Fail(http.StatusUnprocessableEntity, "invalid", "The identifier of a dataset does not change.")
	}
	base, err := strconv.Atoi(strings.Trim(in.IfMatch, `"`))
	if err != nil || base < 1 {
		return nil, api.Fail(http.StatusUnprocessableEntity, "invalid", "If-Match holds the version on which the change is made, a number from 1.")
	}
	if _, err := c.Save(ctx, actor(ctx), &in.Body, base); err != nil {
		return nil, problemOf(ctx, err)
	}
	return c.record(ctx, in.Holder, in.Dataset)
}

func (c *Catalogue) apiDraft(ctx context.Context, in *DatasetPath) (*recordOutput, error) {
	if err := api.Allow(ctx, access.DatasetDescribe, holderResource(in.Holder, in.Dataset)); err != nil {
		return nil, err
	}
	return c.record(ctx, in.Holder, in.Dataset)
}

func (c *Catalogue) apiPublish(ctx context.Context, in *publishInput) (*recordOutput, error) {
	if err := api.Allow(ctx, access.DatasetPublish, holderResource(in.Holder, in.Dataset)); err != nil {
		return nil, err
	}
	if err := c.Publish(ctx, actor(ctx), in.Holder, in.Dataset, in.Body.Version); err != nil {
		return nil, problemOf(ctx, err)
	}
	return c.record(ctx, in.Holder, in.Dataset)
}

func (c *Catalogue) apiWithdraw(ctx context.Context, in *DatasetPath) (*recordOutput, error) {
	if err := api.Allow(ctx, access.DatasetPublish, holderResource(in.Holder, in.Dataset)); err != nil {
		return nil, err
	}
	if err := c.Withdraw(ctx, actor(ctx), in.Holder, in.Dataset); err != nil {
		return nil, problemOf(ctx, err)
	}
	return c.record(ctx, in.Holder, in.Dataset)
}

func (c *Catalogue) apiSchema(ctx context.Context, in *DatasetPath) (*schemaOutput, error) {
	s, err := c.Schema(ctx, in.Holder, in.Dataset)
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	return &schemaOutput{Body: *s}, nil
}

func (c *Catalogue) apiVariables(ctx context.Context, in *variablesInput) (*variablesOutput, error) {
	e, err := c.Published(ctx, in.Holder, in.Dataset)
	if err != nil {
		return nil, problemOf(ctx, err)
	}
	if in.Table != "" && e.Table(in.Table) == nil {
		return nil, api.Unknown("table")
	}
	out := &variablesOutput{}
	out.Body.Variables = []VariableView{}
	for _, t := range e.Tables {
		if in.Table != "" && t.Name != in.Table {
			continue
		}
		for _, v := range t.Variables {
			if v.fits(in.Q) {
				out.Body.Variables = append(out.Body.Variables, view(t.Name, v))
			}
		}
	}
	return out, nil
}

// fits reports whether the name or a title of a variable contains q, whatever its case and accents.
func (v Variable) fits(q string) bool {
	q = fold(strings.ToLower(strings.TrimSpace(q)))
	if q == "" || strings.Contains(strings.ToLower(v.Name), q) {
		return true
	}
	for _, t := range v.Title {
		if strings.Contains(fold(strings.ToLower(t)), q) {
			return true
		}
	}
	return false
}

func (c *Catalogue) apiCodeList(ctx context.Context, in *codeListInput) (*codeListOutput, error) {
	l, err := c.CodeList(ctx, in.Name)
	if errors.Is(err, ErrUnknown) {
		return nil, api.Unknown("code list")
	}
	if err != nil {
		return nil, err
	}
	codes := l.Find(in.Q)
	out := &codeListOutput{}
	out.Body.Name, out.Body.Total, out.Body.Codes = l.Name, len(codes), codes[:min(len(codes), in.Limit)]
	if out.Body.Codes == nil {
		out.Body.Codes = []Code{}
	}
	return out, nil
}

// Find returns the codes that begin with q or whose label contains it.
func (l *CodeList) Find(q string) []Code {
	q = fold(strings.ToLower(strings.TrimSpace(q)))
	if q == "" {
		return l.Codes
	}
	var found []Code
	for _, c := range l.Codes {
		if strings.HasPrefix(strings.ToLower(c.Code), q) || strings.Contains(fold(strings.ToLower(c.Label)), q) {
			found = append(found, c)
		}
	}
	return found
}

func (c *Catalogue) apiImport(ctx context.Context, in *importInput) (*importOutput, error) {
	if err := api.Allow(ctx, access.DatasetImport, access.Resource{}); err != nil {
		return nil, err
	}
	if len(in.Body.Tables) == 0 {
		return nil, api.Fail(http.StatusUnprocessableEntity, "invalid", "There is no table in it.")
	}
	rep, err := c.ImportTableSchemas(ctx, actor(ctx), &in.Body)
	if err != nil {
		return nil, fmt.Errorf("import: %w", problemOf(ctx, err))
	}
	return &importOutput{Body: *rep}, nil
}

// Schema is the structure of a published dataset, or ErrUnknown.
func (c *Catalogue) Schema(ctx context.Context, holder, dataset string) (*contract.DatasetSchema, error) {
	e, err := c.Published(ctx, holder, dataset)
	if err != nil {
		return nil, err
	}
	s := e.Description.Schema(e.Version)
	return &s, nil
}

// Schemas are the structures of all published datasets that have tables.
func (c *Catalogue) Schemas(ctx context.Context) ([]contract.DatasetSchema, error) {
	list, err := c.All(ctx)
	return schemas(list), err
}

// BasketSchemas are the structures of the datasets in somebody's basket.
func (c *Catalogue) BasketSchemas(ctx context.Context, account string) ([]contract.DatasetSchema, error) {
	list, err := c.Basket(ctx, account)
	return schemas(list), err
}

func schemas(list []*Entry) []contract.DatasetSchema {
	var out []contract.DatasetSchema
	for _, e := range list {
		if len(e.Tables) > 0 {
			out = append(out, e.Description.Schema(e.Version))
		}
	}
	return out
}
