// Package lake keeps the health data of the hub: Parquet files keyed by hub pseudonym, one directory
// per delivery, and a pointer per dataset to the delivery in force. Engine publishes deliveries into it;
// plan, provision and feasibility read it. An identity, a ticket or a project pseudonym must never be in
// it.
//
// Layout below the lake's directory:
//
//	<holder>/<dataset>/current                     pointer: delivery and digest of its manifest
//	<holder>/<dataset>/<delivery>/manifest.json    files, digests, rows, schema
//	<holder>/<dataset>/<delivery>/<table>/b=NN/part-0.parquet
//	<holder>/<dataset>/<delivery>/<table>/persons.parquet
//	.build/<delivery>/                             a delivery on its way; never read
//
// Tables that refer to persons have a column "h" (UUID) and are sorted by it and by the event date, so
// that all rows of a person lie together: the column of pseudonyms shrinks to almost nothing, and a scan
// for few persons skips most of the other columns. Buckets are ranges of h.
package lake

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// PersonColumn is the column of hub pseudonyms in the lake.
const PersonColumn = "h"

// ManifestSchema names the version of the manifest.
const ManifestSchema = "mitral.lake/1"

// Manifest describes one delivery in the lake.
type Manifest struct {
	Schema      string                 `json:"schema"`
	Delivery    string                 `json:"delivery"`
	Holder      string                 `json:"holder"`
	Dataset     string                 `json:"dataset"`
	Structure   contract.DatasetSchema `json:"structure"` // as the holder declared it
	Tables      []Table                `json:"tables"`
	Persons     int64                  `json:"persons"` // distinct hub pseudonyms
	Epoch       int                    `json:"epoch"`   // of trust's key
	Years       map[string]int64       `json:"years"`   // rows by year of their event date
	Linkage     contract.LinkReport    `json:"linkage"`
	PublishedAt time.Time              `json:"published_at"`

	dir string
}

// Table describes one table of a delivery.
type Table struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
	// Keyed says that each row belongs to a person (column h); otherwise it is a reference table.
	Keyed bool `json:"keyed"`
	// PersonTable says that the table has no event date and describes persons: at most one row for each
	// person record.
	PersonTable bool   `json:"person_table,omitempty"`
	EventDate   string `json:"event_date,omitempty"`
	// Columns are the payload columns, in order.
	Columns []contract.Column `json:"columns"`
	From    string            `json:"from,omitempty"` // earliest event, YYYY-MM-DD
	To      string            `json:"to,omitempty"`
	Persons int64             `json:"persons,omitempty"`
	Files   []File            `json:"files"`
	// PersonsFile lists the distinct hub pseudonyms of a keyed table.
	PersonsFile *File `json:"persons_file,omitempty"`
}

// File is one Parquet file; Path is relative to the delivery's directory.
type File struct {
	Path   string          `json:"path"`
	Rows   int64           `json:"rows"`
	Bytes  int64           `json:"bytes"`
	Digest contract.Digest `json:"digest"`
}

// Column returns a payload column.
func (t *Table) Column(name string) (contract.Column, bool) {
	i := slices.IndexFunc(t.Columns, func(c contract.Column) bool { return c.Name == name })
	if i < 0 {
		return contract.Column{}, false
	}
	return t.Columns[i], true
}

// Table returns the table called name.
func (m *Manifest) Table(name string) (*Table, bool) {
	i := slices.IndexFunc(m.Tables, func(t Table) bool { return t.Name == name })
	if i < 0 {
		return nil, false
	}
	return &m.Tables[i], true
}

// Files returns the absolute paths of a table's files.
func (m *Manifest) Files(t *Table) []string {
	paths := make([]string, len(t.Files))
	for i, f := range t.Files {
		paths[i] = filepath.Join(m.dir, f.Path)
	}
	return paths
}

// PersonsFile returns the absolute path of the list of a keyed table's hub pseudonyms.
func (m *Manifest) PersonsFile(t *Table) string { return filepath.Join(m.dir, t.PersonsFile.Path) }

// Lake is a directory of datasets. Safe for concurrent use by one process.
type Lake struct {
	dir   string
	temp  string
	opts  Options
	mu    sync.Mutex               // one publication or collection at a time
	cache sync.Map                 // manifest path → *Manifest; what is published never changes
	now   func() time.Time         // for tests
	fault func(stage string) error // for tests: a failure at a named stage
}

// Options bound the work of publishing.
type Options struct {
	Memory  string // of DuckDB
	Threads int
	// BucketRows is how many rows a table may have before it is split into 16 buckets; 0 means 4 million.
	BucketRows int64
}

// Open opens or creates the lake in dir. Temp is for data that does not fit in memory.
func Open(dir, temp string, o Options) (*Lake, error) {
	if o.BucketRows == 0 {
		o.BucketRows = 4_000_000
	}
	for _, d := range []string{dir, temp, filepath.Join(dir, ".build")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("lake: %w", err)
		}
	}
	return &Lake{dir: dir, temp: temp, opts: o, now: time.Now, fault: func(string) error { return nil }}, nil
}

// Dir is the lake's directory, the only one that a reader's database needs access to.
func (l *Lake) Dir() string { return l.dir }

// pointer is the content of a "current" file.
type pointer struct {
	Delivery string          `json:"delivery"`
	Manifest contract.Digest `json:"manifest"`
}

// Snapshot is the state of the whole lake at one instant.
type Snapshot struct {
	// ID is the digest of all pointers: two snapshots with the same id hold the same bytes.
	ID       string
	Pointers map[string]string // "holder/dataset" → delivery
	datasets map[string]*Manifest
}

// Dataset returns the dataset of a holder.
func (s *Snapshot) Dataset(holder, dataset string) (*Manifest, bool) {
	m, ok := s.datasets[holder+"/"+dataset]
	return m, ok
}

// Datasets returns all datasets, by holder and name.
func (s *Snapshot) Datasets() []*Manifest {
	keys := make([]string, 0, len(s.datasets))
	for k := range s.datasets {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]*Manifest, len(keys))
	for i, k := range keys {
		out[i] = s.datasets[k]
	}
	return out
}

// Snapshot reads the deliveries in force.
func (l *Lake) Snapshot() (*Snapshot, error) {
	files, err := filepath.Glob(filepath.Join(l.dir, "*", "*", "current"))
	if err != nil {
		return nil, fmt.Errorf("lake: %w", err)
	}
	pointers := map[string]string{}
	for _, f := range files {
		p, err := readPointer(f)
		if err != nil {
			return nil, err
		}
		pointers[l.datasetOf(filepath.Dir(f))] = p.Delivery
	}
	return l.At(pointers)
}

// At returns the snapshot that the pointers describe: a run that is resumed sees the data it began with.
func (l *Lake) At(pointers map[string]string) (*Snapshot, error) {
	s := &Snapshot{Pointers: pointers, datasets: map[string]*Manifest{}}
	lines := make([]string, 0, len(pointers))
	for dataset, delivery := range pointers {
		path := filepath.Join(l.dir, filepath.FromSlash(dataset), delivery, "manifest.json")
		m, digest, err := l.manifest(path)
		if err != nil {
			return nil, err
		}
		s.datasets[dataset] = m
		lines = append(lines, dataset+" "+delivery+" "+string(digest)+"\n")
	}
	slices.Sort(lines)
	s.ID = string(contract.DigestOf([]byte(strings.Join(lines, ""))))
	return s, nil
}

func (l *Lake) datasetOf(dir string) string {
	return filepath.Base(filepath.Dir(dir)) + "/" + filepath.Base(dir)
}

type cached struct {
	m      *Manifest
	digest contract.Digest
}

func (l *Lake) manifest(path string) (*Manifest, contract.Digest, error) {
	if c, ok := l.cache.Load(path); ok {
		return c.(cached).m, c.(cached).digest, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("lake: %w", err)
	}
	m := &Manifest{dir: filepath.Dir(path)}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, "", fmt.Errorf("lake: manifest %s: %w", path, err)
	}
	if m.Schema != ManifestSchema {
		return nil, "", fmt.Errorf("lake: manifest %s: of unknown version %q", path, m.Schema)
	}
	c := cached{m, contract.DigestOf(b)}
	l.cache.Store(path, c)
	return c.m, c.digest, nil
}

func readPointer(path string) (pointer, error) {
	var p pointer
	b, err := os.ReadFile(path)
	if err != nil {
		return p, fmt.Errorf("lake: %w", err)
	}
	if err := json.Unmarshal(b, &p); err != nil || !contract.ValidName(p.Delivery) {
		return p, fmt.Errorf("lake: pointer %s is damaged", path)
	}
	return p, nil
}

// Collect removes deliveries that nobody needs any more: all but the one in force, the one before it, and
// those of which inUse is true. It also clears what an interrupted publication left behind, except for
// the deliveries that are still to be published.
func (l *Lake) Collect(inUse func(dataset, delivery string) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	pointers, err := filepath.Glob(filepath.Join(l.dir, "*", "*", "current"))
	if err != nil {
		return fmt.Errorf("lake: %w", err)
	}
	for _, file := range pointers {
		current, err := readPointer(file)
		if err != nil {
			return err
		}
		dir := filepath.Dir(file)
		manifests, err := filepath.Glob(filepath.Join(dir, "*", "manifest.json"))
		if err != nil {
			return fmt.Errorf("lake: %w", err)
		}
		var former []*Manifest
		for _, path := range manifests {
			m, _, err := l.manifest(path)
			if err != nil {
				return err
			}
			if m.Delivery != current.Delivery {
				former = append(former, m)
			}
		}
		slices.SortFunc(former, func(a, b *Manifest) int { return b.PublishedAt.Compare(a.PublishedAt) })
		for i, m := range former {
			if i == 0 || inUse(l.datasetOf(dir), m.Delivery) {
				continue
			}
			l.cache.Delete(filepath.Join(m.dir, "manifest.json"))
			// The manifest goes first: a directory without one is no delivery.
			if err := os.Remove(filepath.Join(m.dir, "manifest.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("lake: %w", err)
			}
			if err := os.RemoveAll(m.dir); err != nil {
				return fmt.Errorf("lake: %w", err)
			}
		}
	}
	return nil
}

// point makes m the delivery in force of its dataset.
func (l *Lake) point(m *Manifest, digest contract.Digest) error {
	b, err := json.Marshal(pointer{m.Delivery, digest})
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(l.dir, m.Holder, m.Dataset, "current"), b)
}

// WriteFile writes a file so that after a crash it is there whole or not at all.
func WriteFile(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // does nothing once renamed
	if _, err = tmp.Write(b); err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes renames and new names in a directory last.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
