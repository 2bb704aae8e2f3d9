package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
	"github.com/mitral-health/mitral/internal/sample"
)

// dataset is one dataset of the sample country, as its holder has it.
type dataset struct {
	dir         string
	schema      contract.DatasetSchema
	description sample.Description
}

func (d *dataset) name() string { return d.schema.Holder + "/" + d.schema.Dataset }

// datasets reads what the sample country's holders have.
func (h *Hub) datasets() ([]*dataset, error) {
	files, err := filepath.Glob(h.path("sample", "holders", "*", "*", "schema.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var out []*dataset
	for _, f := range files {
		d := &dataset{dir: filepath.Dir(f)}
		if err := readJSON(f, &d.schema); err != nil {
			return nil, err
		}
		if err := readJSON(filepath.Join(d.dir, "description.json"), &d.description); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	if len(out) < 5 {
		return nil, fmt.Errorf("the sample country has %d datasets, at least five are expected", len(out))
	}
	return out, nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// catalogueTerms are what the catalogue asks for and the sample's holders keep elsewhere: kind of
// dataset and health themes, in the catalogue's own vocabulary.
var catalogueTerms = map[string]struct {
	kind   string
	themes []string
}{
	"cnam/snds":                {"claims", []string{"health_services", "medicines", "mortality", "diabetes"}},
	"sante-publique/oscour":    {"records", []string{"emergency", "health_services"}},
	"registre-moelle/greffes":  {"registry", []string{"transplantation", "cancer"}},
	"institut-sarcome/cohorte": {"cohort", []string{"cancer", "rare_disease"}},
	"universites/etudiants":    {"survey", []string{"mental_health", "youth"}},
	"recherche/gibleed":        {"records", []string{"health_services", "medicines"}},
}

var codingNames = map[string]string{"icd10": "ICD-10", "atc": "ATC", "cip13": "CIP13", "ccmu": "CCMU", "icdo3": "ICD-O-3", "omop": "OMOP"}

// catalogueEntry is the description that the holder files in the catalogue.
func (d *dataset) catalogueEntry() catalogue.Description {
	s, terms := d.description, catalogueTerms[d.name()]
	entry := catalogue.Description{
		Holder: d.schema.Holder, Dataset: d.schema.Dataset,
		Title: catalogue.Text(s.Title), Description: catalogue.Text(s.Description), Purpose: catalogue.Text(s.Purpose),
		Provenance: catalogue.Text(s.Provenance), GeneratedBy: catalogue.Text(s.Provenance), Keywords: s.Keywords,
		Categories: s.Categories, Themes: terms.themes, Type: terms.kind, Structured: true, PersonalData: true,
		Languages: s.Languages, Frequency: strings.ToLower(s.Frequency),
		Population: catalogue.Text(s.Population), MinAge: &s.MinAge, MaxAge: &s.MaxAge, Countries: []string{"FR"},
		Period: catalogue.Period{From: s.PeriodFrom, To: s.PeriodTo}, Records: s.Records, Persons: s.Individuals,
		Access: catalogue.AccessNonPublic, Conditions: catalogue.Text(s.Access),
		Legislation:  []string{"http://data.europa.eu/eli/reg/2025/327/oj"},
		LegalBasis:   []string{"GDPR 9(2)(j)"},
		Distribution: s.Contact.URL,
		Contact:      catalogue.Party{Name: catalogue.Text(s.Contact.Name), Email: s.Contact.Email, URL: s.Contact.URL},
		Publisher:    catalogue.Party{Name: catalogue.Text(s.HolderName), Email: s.Contact.Email},
		Custodian:    catalogue.Party{Name: catalogue.Text(s.HolderName), Email: s.Contact.Email},
		HDAB: catalogue.Party{Name: catalogue.Text{"en": "Health data access body (sample country)", "fr": "Organisme d'accès aux données de santé (pays fictif)",
			"fi": "Terveystiedoista vastaava elin (esimerkkimaa)"}, Email: "acces@hub.example"},
	}
	if terms.kind == "cohort" || terms.kind == "survey" || terms.kind == "registry" {
		entry.Frequency = "annual"
	}
	for _, c := range s.Codings {
		if name, ok := codingNames[c]; ok {
			c = name
		}
		entry.CodingSystems = append(entry.CodingSystems, c)
	}
	if len(entry.CodingSystems) == 0 {
		entry.CodingSystems = []string{"PHQ-9", "GAD-7", "AUDIT-C"} // the student cohort's scales
	}
	for _, t := range d.schema.Tables {
		table := catalogue.Table{Name: t.Name, Title: catalogue.Text(t.Title), EventDate: t.EventDate}
		for _, c := range t.Columns {
			table.Variables = append(table.Variables, catalogue.Variable{Name: c.Name, Type: c.Type, Role: c.Role, Required: c.Required,
				Title: catalogue.Text(c.Title), CodeList: c.CodeList})
		}
		entry.Tables = append(entry.Tables, table)
	}
	return entry
}

// describe files and publishes one description as its holder. A description that is there already is
// left alone, so that an interrupted start can go on.
func (h *Hub) describe(ctx context.Context, d *dataset) (sent int64, err error) {
	holder, err := h.SignIn(ctx, "holder", d.schema.Holder)
	if err != nil {
		return 0, err
	}
	var record struct {
		Version  int    `json:"version"`
		State    string `json:"state"`
		Findings []struct {
			Level string `json:"level"`
			What  string `json:"what"`
		} `json:"findings"`
	}
	path := "/api/v1/datasets/" + d.name()
	err = holder.Call(ctx, http.MethodPost, "/api/v1/datasets", d.catalogueEntry(), &record)
	var refused *APIError
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		err = holder.Call(ctx, http.MethodGet, path+"/draft", nil, &record)
	}
	if err != nil {
		return 0, err
	}
	if record.State == "published" {
		return holder.sent, nil
	}
	for _, f := range record.Findings {
		if f.Level == string(catalogue.Mandatory) {
			return 0, fmt.Errorf("%s cannot be published: %s", d.name(), f.What)
		}
	}
	err = holder.Call(ctx, http.MethodPost, path+"/publish", map[string]int{"version": record.Version}, &record)
	return holder.sent, err
}

// importSNDS files the structure of the real SNDS, without data, when its Table Schemas are there.
func (h *Hub) importSNDS(ctx context.Context) (*catalogue.ImportReport, int64, error) {
	dir := filepath.Join(h.state.Shared, "snds")
	if h.state.Shared == "" || !exists(dir) {
		return nil, 0, nil
	}
	schemas, err := catalogue.ReadTableSchemas(dir)
	if err != nil {
		return nil, 0, err
	}
	operator, err := h.SignIn(ctx, "operator", "")
	if err != nil {
		return nil, 0, err
	}
	var report catalogue.ImportReport
	err = operator.Call(ctx, http.MethodPost, "/api/v1/catalogue/table-schemas", schemas, &report)
	return &report, operator.sent, err
}

// SignIn opens a session at the portal as a demonstration person.
func (h *Hub) SignIn(ctx context.Context, role, person string) (*Client, error) {
	c := NewClient(h.PortalURL())
	return c, c.signIn(ctx, map[string]string{"role": role, "person": person})
}
