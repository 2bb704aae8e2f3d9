package catalogue

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ulikunitz/xz"
	"golang.org/x/text/unicode/norm"
	"gopkg.in/yaml.v3"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// TableSchema is one Frictionless Table Schema with the keys that the SNDS schemas add to it
// (https://specs.frictionlessdata.io/table-schema/). Family is the folder it lay in.
type TableSchema struct {
	Name        string             `json:"name"`
	Title       string             `json:"title"`
	Product     string             `json:"produit"`
	Scope       string             `json:"champ"`
	Observation string             `json:"observation"`
	Fields      []TableSchemaField `json:"fields"`
}

// TableSchemaField is one column. DateCreated and DateDeleted are years.
type TableSchemaField struct {
	Name         string   `json:"name"`
	Description  string   `json:"description"`
	Type         string   `json:"type"`
	Nomenclature string   `json:"nomenclature"`
	DateCreated  string   `json:"dateCreated"`
	DateDeleted  string   `json:"dateDeleted"`
	DateMissing  []string `json:"dateMissing"`
	Observation  string   `json:"observation"`
	Rule         string   `json:"regle_gestion"`
}

// TableSchemas is what one import brings.
type TableSchemas struct {
	Tables    []TableSchema `json:"tables"`
	CodeLists []CodeList    `json:"code_lists"`
}

// ImportReport says what an import did.
type ImportReport struct {
	Datasets  int `json:"datasets"`
	Changed   int `json:"changed"` // of those, new or different from before
	Tables    int `json:"tables"`
	Variables int `json:"variables"`
	CodeLists int `json:"code_lists"`
	Codes     int `json:"codes"`
}

// maxSchemaFile bounds one file of an import, in bytes.
const maxSchemaFile = 32 << 20

// ReadTableSchemas reads dir/schemas/**/*.json and, if there, the code lists of dir/nomenclatures.tar.xz
// or dir/nomenclatures. A file that is not a Table Schema is an error that names it.
func ReadTableSchemas(dir string) (*TableSchemas, error) {
	t := &TableSchemas{}
	root := filepath.Join(dir, "schemas")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".json" {
			return err
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		var s TableSchema
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("%s: not a table schema: %w", p, err)
		}
		if !contract.ValidName(s.Name) || len(s.Fields) == 0 {
			return fmt.Errorf("%s: table %q has no valid name or no fields", p, s.Name)
		}
		t.Tables = append(t.Tables, s)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("table schemas: %w", err)
	}
	if len(t.Tables) == 0 {
		return nil, fmt.Errorf("table schemas: no *.json file below %s", root)
	}
	files, err := nomenclatureFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("nomenclatures: %w", err)
	}
	if t.CodeLists, err = readCodeLists(files); err != nil {
		return nil, err
	}
	for name, origin := range commonLists {
		if i := slices.IndexFunc(t.CodeLists, func(l CodeList) bool { return l.Name == origin }); i >= 0 {
			t.CodeLists = append(t.CodeLists, CodeList{Name: name, Codes: t.CodeLists[i].Codes})
		}
	}
	return t, nil
}

// commonLists are names that other datasets use for classifications of which the SNDS has a list.
var commonLists = map[string]string{"icd10": "IR_CIM_V", "ccam": "IR_CCAM_V63"}

// nomenclatureFiles returns the content of every .csv and .json file by its path.
func nomenclatureFiles(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	f, err := os.Open(filepath.Join(dir, "nomenclatures.tar.xz"))
	if errors.Is(err, fs.ErrNotExist) {
		root := filepath.Join(dir, "nomenclatures")
		if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
			return files, nil
		}
		return files, filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files[filepath.ToSlash(p)], err = os.ReadFile(p)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := xz.NewReader(f)
	if err != nil {
		return nil, err
	}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg || h.Size > maxSchemaFile {
			continue
		}
		if files[h.Name], err = io.ReadAll(io.LimitReader(tr, maxSchemaFile)); err != nil {
			return nil, err
		}
	}
}

// readCodeLists pairs each X.csv with X.json, whose fields name the column of the code and of the label.
// Without that the first column is the code and the first whose name speaks of a label the label.
func readCodeLists(files map[string][]byte) ([]CodeList, error) {
	var lists []CodeList
	for _, name := range slices.Sorted(maps.Keys(files)) {
		base, isCSV := strings.CutSuffix(name, ".csv")
		if !isCSV {
			continue
		}
		r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(files[name], []byte("\ufeff"))))
		r.Comma, r.FieldsPerRecord, r.LazyQuotes = ';', -1, true // real lists have bare quotes in labels
		head, err := r.Read()
		if err == io.EOF {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("code list %s: %w", name, err)
		}
		code, label := codeColumns(files[base+".json"], head)
		list := CodeList{Name: path.Base(base)}
		seen := map[string]bool{}
		for {
			row, err := r.Read()
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("code list %s: %w", name, err)
			}
			c := Code{}
			if code < len(row) {
				c.Code = strings.TrimSpace(row[code])
			}
			if label >= 0 && label < len(row) {
				c.Label = strings.TrimSpace(row[label])
			}
			if c.Code == "" || seen[c.Code] {
				continue // history: the same code with older tariffs
			}
			seen[c.Code] = true
			list.Codes = append(list.Codes, c)
		}
		if len(list.Codes) > 0 && contract.ValidName(list.Name) {
			lists = append(lists, list)
		}
	}
	return lists, nil
}

func codeColumns(schema []byte, head []string) (code, label int) {
	code, label = 0, -1
	var s struct {
		Fields []struct{ Name, Role string }
	}
	if json.Unmarshal(schema, &s) == nil {
		for _, f := range s.Fields {
			i := slices.Index(head, f.Name)
			switch {
			case i < 0:
			case f.Role == "code":
				code = i
			case f.Role == "label":
				label = i
			}
		}
	}
	if label < 0 {
		label = slices.IndexFunc(head, func(h string) bool { return strings.Contains(h, "_LIB") })
	}
	return code, label
}

//go:embed families.yaml
var familiesYAML []byte

// families describes the datasets that SNDS tables are grouped into, by their product.
var families = sync.OnceValues(func() (map[string]Description, error) {
	var doc struct {
		Common   map[string]any            `yaml:"common"`
		Families map[string]map[string]any `yaml:"families"`
	}
	if err := yaml.Unmarshal(familiesYAML, &doc); err != nil {
		return nil, err
	}
	out := map[string]Description{}
	for name, f := range doc.Families {
		merged := maps.Clone(doc.Common)
		maps.Copy(merged, f)
		raw, err := json.Marshal(merged)
		if err != nil {
			return nil, err
		}
		var d Description
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&d); err != nil {
			return nil, fmt.Errorf("family %s: %w", name, err)
		}
		out[name] = d
	}
	return out, nil
})

// Descriptions groups the tables by family into one description for each dataset.
func (t *TableSchemas) Descriptions() ([]*Description, error) {
	known, err := families()
	if err != nil {
		return nil, fmt.Errorf("families: %w", err)
	}
	byFamily := map[string]*Description{}
	for _, s := range t.Tables {
		family := norm.NFC.String(s.Product)
		d := byFamily[family]
		if d == nil {
			f, ok := known[family]
			if !ok {
				return nil, contract.Refuse("invalid", "table %s: unknown family %q", s.Name, s.Product)
			}
			d = &f
			byFamily[family] = d
		}
		d.Tables = append(d.Tables, s.table())
	}
	var list []*Description
	for _, name := range slices.Sorted(maps.Keys(byFamily)) {
		d := byFamily[name]
		slices.SortFunc(d.Tables, func(a, b Table) int { return strings.Compare(a.Name, b.Name) })
		list = append(list, d)
	}
	return list, nil
}

func (s TableSchema) table() Table {
	t := Table{Name: s.Name, Title: Text{"fr": strings.TrimSpace(s.Title)}}
	if t.Title.Empty() {
		t.Title = Text{"fr": s.Name}
	}
	if about := joinNotes(s.Scope, s.Observation); about != "" {
		t.Description = Text{"fr": about}
	}
	for _, f := range s.Fields {
		v := Variable{Name: f.Name, Type: columnType(f.Type), Title: Text{"fr": strings.TrimSpace(f.Description)}, Since: year(f.DateCreated), Until: year(f.DateDeleted)}
		if v.Title.Empty() {
			v.Title = Text{"fr": f.Name}
		}
		if note := joinNotes(f.Observation, f.Rule); note != "" {
			v.Description = Text{"fr": note}
		}
		for _, y := range f.DateMissing {
			if y = year(y); y != "" {
				v.Missing = append(v.Missing, y)
			}
		}
		// "IR_SEX_V:SEX_COD" names a column of the list.
		if list, _, _ := strings.Cut(f.Nomenclature, ":"); contract.ValidName(list) {
			v.CodeList = list
		}
		t.Variables = append(t.Variables, v)
	}
	return t
}

func joinNotes(a, b string) string {
	return strings.TrimSpace(strings.TrimSpace(a) + "\n" + strings.TrimSpace(b))
}

func year(s string) string {
	if n, err := strconv.Atoi(s); err != nil || n < 1900 || n > 2100 {
		return ""
	}
	return s
}

// columnType maps the types of Table Schema to those of the lake. Booleans are coded in the SNDS and
// months have no type of their own.
func columnType(t string) contract.ColumnType {
	switch t {
	case "integer", "year":
		return contract.TypeInteger
	case "number":
		return contract.TypeNumber
	case "date":
		return contract.TypeDate
	case "datetime":
		return contract.TypeTime
	}
	return contract.TypeString
}

// PostTableSchemas sends an import to the API of the portal at baseURL. The client carries the session of
// an operator.
func PostTableSchemas(ctx context.Context, client *http.Client, baseURL string, t *TableSchemas) (*ImportReport, error) {
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(baseURL, "/")+"/api/v1/catalogue/table-schemas", bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	defer resp.Body.Close()
	if err := httpx.Check(resp); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	rep := &ImportReport{}
	if err := json.NewDecoder(resp.Body).Decode(rep); err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	return rep, nil
}

// ImportTableSchemas stores and publishes the datasets and code lists as a whole or not at all. Importing
// the same again changes nothing.
func (c *Catalogue) ImportTableSchemas(ctx context.Context, actor string, t *TableSchemas) (*ImportReport, error) {
	list, err := t.Descriptions()
	if err != nil {
		return nil, err
	}
	rep := &ImportReport{}
	for _, d := range list {
		if err := d.check(); err != nil {
			return nil, err
		}
		rep.Datasets++
		rep.Tables += len(d.Tables)
		rep.Variables += d.VariableCount()
	}
	for _, l := range t.CodeLists {
		if err := l.check(); err != nil {
			return nil, err
		}
		rep.CodeLists++
		rep.Codes += len(l.Codes)
	}
	err = c.db.InTx(ctx, func(tx *store.Tx) error {
		rep.Changed = 0
		for _, d := range list {
			changed, err := c.importOne(ctx, tx, actor, d)
			if err != nil {
				return fmt.Errorf("import %s: %w", d.Identifier(), err)
			}
			if changed {
				rep.Changed++
			}
		}
		return c.saveCodeLists(ctx, tx, t.CodeLists...)
	})
	if err != nil {
		return nil, err
	}
	return rep, nil
}

func (c *Catalogue) importOne(ctx context.Context, tx *store.Tx, actor string, d *Description) (changed bool, err error) {
	base := 0
	r, err := selectRecord(ctx, tx, d.Holder, d.Dataset)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return false, err
	}
	if err == nil {
		base = r.Latest
		old, err := selectVersion(ctx, tx, d.Holder, d.Dataset, base)
		if err != nil {
			return false, err
		}
		a, err1 := json.Marshal(old)
		b, err2 := json.Marshal(d)
		if err := errors.Join(err1, err2); err != nil {
			return false, err
		}
		if bytes.Equal(a, b) && r.Published == base {
			return false, nil
		}
	}
	if err := c.save(ctx, tx, actor, d, base); err != nil {
		return false, err
	}
	return true, c.publish(ctx, tx, actor, d, base+1)
}
