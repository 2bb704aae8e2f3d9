package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/conf"
)

// Config says what to deliver and where to.
type Config struct {
	Holder string           `yaml:"holder"`
	Schema string           `yaml:"schema"` // JSON file of contract.DatasetSchema
	Tables map[string]Files `yaml:"tables"` // one entry for each table of the schema
	// Spool is a directory for the split files until they have arrived; as large as the data, readable by
	// the agent only, on an encrypted disk.
	Spool  string   `yaml:"spool"`
	Trust  string   `yaml:"trust"`  // "https://trust.hub.example:7444"
	Engine string   `yaml:"engine"` // "https://engine.hub.example:7445"
	TLS    conf.TLS `yaml:"tls"`    // the certificate mitral://agent/<holder>
	// Delivery names the delivery; empty: the unfinished one of this dataset, or a new random name.
	Delivery  string `yaml:"delivery"`
	DemoClock string `yaml:"demo_clock"` // file with a clock offset; demonstrations only
}

// Files are the files of one table.
type Files struct {
	Files     string `yaml:"files"`     // glob: "/data/IR_BEN_R*.parquet"
	Format    string `yaml:"format"`    // "csv", "csv.gz" or "parquet"
	Separator string `yaml:"separator"` // CSV: one character; default ","
	Encoding  string `yaml:"encoding"`  // CSV: "utf-8" (default), "latin-1" or "windows-1252"
}

const (
	formatCSV     = "csv"
	formatGzip    = "csv.gz"
	formatParquet = "parquet"
)

// ticketColumn is the name of the column that stands in the payload for the person.
const ticketColumn = "ticket"

// plan is a checked configuration.
type plan struct {
	schema contract.DatasetSchema
	tables []tablePlan // the person table first
}

type tablePlan struct {
	*contract.Table
	kind  tableKind
	files Files
	paths []string
}

// tableKind says how rows of a table refer to persons.
type tableKind int

const (
	reference tableKind = iota // not at all
	persons                    // one row is one person: person key and identity
	events                     // by the person key of the person table
	rowwise                    // each row carries the identity of its person
)

func kindOf(t *contract.Table) tableKind {
	switch key, identity := t.PersonKey() != "", t.HasIdentity(); {
	case key && identity:
		return persons
	case key:
		return events
	case identity:
		return rowwise
	}
	return reference
}

// load reads the schema and finds the files.
func (c *Config) load() (*plan, error) {
	if c.Spool == "" {
		return nil, errors.New("agent: spool is missing")
	}
	f, err := os.Open(c.Schema)
	if err != nil {
		return nil, fmt.Errorf("agent: schema: %w", err)
	}
	defer f.Close()
	p := &plan{}
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p.schema); err != nil {
		return nil, fmt.Errorf("agent: schema %s: %w", c.Schema, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("agent: schema %s: bytes after the document", c.Schema)
	}
	if err := p.schema.Validate(); err != nil {
		return nil, fmt.Errorf("agent: schema %s: %w", c.Schema, err)
	}
	if c.Holder != p.schema.Holder {
		return nil, fmt.Errorf("agent: the configuration is of holder %q, the schema of %q", c.Holder, p.schema.Holder)
	}
	if c.Delivery != "" && !contract.ValidName(c.Delivery) {
		return nil, fmt.Errorf("agent: delivery %q: want 1 to 64 letters, digits, '_' or '-'", c.Delivery)
	}
	for name := range c.Tables {
		if _, ok := p.schema.Table(name); !ok {
			return nil, fmt.Errorf("agent: table %s is not in the schema", name)
		}
	}
	count := map[tableKind]int{}
	for i := range p.schema.Tables {
		t := tablePlan{Table: &p.schema.Tables[i], files: c.Tables[p.schema.Tables[i].Name]}
		if err := t.resolve(); err != nil {
			return nil, fmt.Errorf("agent: table %s: %w", t.Name, err)
		}
		count[t.kind]++
		p.tables = append(p.tables, t)
	}
	if count[persons] > 1 {
		return nil, errors.New("agent: the schema has more than one table with a person key and identity; which of them others refer to cannot be told")
	}
	if count[events] > 0 && count[persons] == 0 {
		return nil, errors.New("agent: tables have a person key, but no table says who the persons are (a person key and at least one identity column)")
	}
	slices.SortStableFunc(p.tables, func(a, b tablePlan) int { return order(a.kind) - order(b.kind) })
	return p, nil
}

func order(k tableKind) int {
	if k == persons {
		return 0
	}
	return 1
}

func (t *tablePlan) resolve() error {
	t.kind = kindOf(t.Table)
	payload := 0
	for _, c := range t.Columns {
		if c.Role == contract.RolePayload {
			payload++
			if c.Name == ticketColumn && t.kind != reference {
				return fmt.Errorf("a column may not be called %q: that is the name of the column which replaces the person", ticketColumn)
			}
		}
	}
	if payload == 0 && t.kind == reference {
		return errors.New("no column")
	}
	switch t.files.Format {
	case formatCSV, formatGzip:
		if t.files.Separator == "" {
			t.files.Separator = ","
		}
		if r := []rune(t.files.Separator); len(r) != 1 || r[0] == '"' || r[0] == '\n' || r[0] == '\r' || r[0] == 0xFFFD || r[0] == 0 {
			return fmt.Errorf("separator %q: want one character", t.files.Separator)
		}
		switch t.files.Encoding {
		case "", "utf-8", "latin-1", "windows-1252":
		default:
			return fmt.Errorf(`encoding %q: want "utf-8", "latin-1" or "windows-1252"`, t.files.Encoding)
		}
	case formatParquet:
	case "":
		return errors.New("no files are configured; a delivery replaces the whole dataset, so each table needs at least one")
	default:
		return fmt.Errorf(`format %q: want "csv", "csv.gz" or "parquet"`, t.files.Format)
	}
	paths, err := filepath.Glob(t.files.Files)
	if err != nil {
		return fmt.Errorf("files %q: %w", t.files.Files, err)
	}
	if len(paths) == 0 {
		return fmt.Errorf("no file fits %q", t.files.Files)
	}
	t.paths = paths
	return nil
}
