package sample

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Formats of the table files.
const (
	CSV     = "csv"
	Parquet = "parquet"
)

// lastYear is the last year of every sample: a fixed date, so that a seed means the same country for ever.
const lastYear = 2025

// chunkPeople is how many people are made at a time; families never cross chunks. Changing it changes
// every country.
const chunkPeople = 2000

// Options say which country to make. Everything but Out and Progress decides its bytes.
type Options struct {
	People int
	Seed   uint64
	Years  int    // years of events, up to the end of 2025
	Out    string // directory, made if missing; must be empty or hold the same sample
	Format string // CSV or Parquet
	// OMOP is a directory with the GiBleed tables as *.csv.gz, delivered as one more dataset; "" for none.
	OMOP string
	// Progress is told how far the work is; may be nil. It is called from one goroutine at a time.
	Progress func(done, total int64, unit string)
}

// Summary says what was made; it is also the file summary.json.
type Summary struct {
	People int              `json:"people"`
	Seed   uint64           `json:"seed"`
	Years  int              `json:"years"`
	Format string           `json:"format"`
	OMOP   bool             `json:"omop"`
	From   string           `json:"from"`
	To     string           `json:"to"`
	Rows   map[string]int64 `json:"rows"`       // by holder/dataset/TABLE, and truth
	Events int64            `json:"event_rows"` // rows of tables with an event date, the OMOP tables apart
	Bytes  int64            `json:"bytes"`
	Files  int              `json:"files"`
	Counts Counts           `json:"counts"`
	// Orphans are rows of the OMOP source that were left out because its person table lacks the person.
	Orphans int64 `json:"omop_orphans"`
	Version int   `json:"generator"` // changes when the same options give other bytes

	Reused  bool    `json:"-"` // the directory held this sample already
	Seconds float64 `json:"-"`
}

// generatorVersion is raised when the same options give other bytes than before.
const generatorVersion = 3

// ErrOccupied is returned when Out holds something else than the sample asked for.
var ErrOccupied = errors.New("the output directory is not empty and holds another sample or other files: choose another directory or empty it")

// Generate writes a sample country to o.Out. A directory with an earlier sample of the same options is
// left as it is and reported as reused. The sample appears as a whole: until the end it is written beside
// Out under another name, so that a killed run leaves nothing that looks finished.
func Generate(ctx context.Context, o Options) (Summary, error) {
	load()
	begun := time.Now()
	if err := o.check(); err != nil {
		return Summary{}, err
	}
	if s, ok, err := o.earlier(); ok || err != nil {
		return s, err
	}
	parent := filepath.Dir(filepath.Clean(o.Out))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return Summary{}, err
	}
	tmp := filepath.Join(parent, "."+filepath.Base(o.Out)+".part")
	lock, err := claim(tmp)
	if err != nil {
		return Summary{}, err
	}
	defer lock.Close()
	defer os.RemoveAll(tmp) // gone already after the rename
	s, err := o.write(ctx, tmp)
	if err != nil {
		return Summary{}, fmt.Errorf("sample: %w", err)
	}
	if err := os.Remove(o.Out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Summary{}, err
	}
	if err := os.Rename(tmp, o.Out); err != nil {
		return Summary{}, err
	}
	s.Seconds = time.Since(begun).Seconds()
	return s, syncDir(parent)
}

func (o *Options) check() error {
	switch {
	case o.People < 10 || o.People > 8_000_000:
		return fmt.Errorf("sample: people must be from 10 to 8,000,000, not %d", o.People)
	case o.Years < 1 || o.Years > 10:
		return fmt.Errorf("sample: years must be from 1 to 10, not %d", o.Years)
	case o.Format != CSV && o.Format != Parquet:
		return fmt.Errorf("sample: format must be csv or parquet, not %q", o.Format)
	case o.Out == "":
		return errors.New("sample: no output directory")
	}
	return nil
}

// earlier looks for a finished sample of the same options in Out.
func (o *Options) earlier() (Summary, bool, error) {
	entries, err := os.ReadDir(o.Out)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(entries) == 0) {
		return Summary{}, false, nil
	}
	if err != nil {
		return Summary{}, false, err
	}
	raw, err := os.ReadFile(filepath.Join(o.Out, "summary.json"))
	var s Summary
	if err != nil || json.Unmarshal(raw, &s) != nil {
		return Summary{}, false, fmt.Errorf("%s: %w", o.Out, ErrOccupied)
	}
	if s.People != o.People || s.Seed != o.Seed || s.Years != o.Years || s.Format != o.Format || s.OMOP != (o.OMOP != "") || s.Version != generatorVersion {
		return Summary{}, false, fmt.Errorf("%s: %w", o.Out, ErrOccupied)
	}
	s.Reused = true
	return s, true, nil
}

// claim makes dir anew and locks it, so that two runs never write the same sample and what a killed run
// left behind goes away.
func claim(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: another run is writing this sample: wait until it is done", dir)
	}
	held, err1 := f.Stat()
	named, err2 := os.Stat(dir)
	if err1 != nil || err2 != nil || !os.SameFile(held, named) {
		f.Close()
		return nil, fmt.Errorf("%s: another run has just finished this sample: start again", dir)
	}
	left, err := os.ReadDir(dir)
	for _, e := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// outputs are the tables in the order of chunk.all, with the folder of each.
func outputs() (tables []*table, folders, labels []string) {
	for _, d := range datasets {
		for _, t := range d.tables {
			tables = append(tables, t)
			folders = append(folders, filepath.Join("holders", d.holder, d.name))
			labels = append(labels, d.holder+"/"+d.name+"/"+t.name)
		}
	}
	for _, t := range []*table{truePersons, trueRecords} {
		tables, folders, labels = append(tables, t), append(folders, ""), append(labels, t.name)
	}
	return tables, folders, labels
}

// job is one run over all people.
type job struct {
	*Options
	dir        string
	start, end day
	chunks     int
	orders     []uint16 // order number of the NIR of each person

	mu       sync.Mutex
	done     int64
	rows     []int64 // by output
	bytes    int64
	files    int
	counts   Counts
	citizens [][]Citizen // by chunk
}

func (o *Options) write(ctx context.Context, dir string) (Summary, error) {
	tables, folders, labels := outputs()
	j := &job{Options: o, dir: dir, start: dayOf(lastYear-o.Years+1, 1, 1), end: dayOf(lastYear, 12, 31),
		chunks: (o.People + chunkPeople - 1) / chunkPeople, rows: make([]int64, len(tables))}
	j.citizens = make([][]Citizen, j.chunks)
	for _, f := range folders {
		if err := os.MkdirAll(filepath.Join(dir, f), 0o755); err != nil {
			return Summary{}, err
		}
	}
	if err := j.number(ctx); err != nil {
		return Summary{}, err
	}
	var err error
	if o.Format == CSV {
		err = j.writeCSV(ctx, tables, folders)
	} else {
		err = j.writeParquet(ctx, tables, folders)
	}
	if err != nil {
		return Summary{}, err
	}
	s := Summary{People: o.People, Seed: o.Seed, Years: o.Years, Format: o.Format, OMOP: o.OMOP != "", From: dateText(j.start), To: dateText(j.end),
		Rows: map[string]int64{}, Counts: j.counts, Version: generatorVersion}
	for i, label := range labels {
		s.Rows[label] = j.rows[i]
		if tables[i].eventDate != "" {
			s.Events += j.rows[i]
		}
	}
	if o.OMOP != "" {
		if err := j.writeOMOP(&s); err != nil {
			return Summary{}, err
		}
	}
	if err := j.describe(&s); err != nil {
		return Summary{}, err
	}
	s.Bytes, s.Files = j.bytes, j.files
	return s, j.putJSON("summary.json", s)
}

// describe writes schemas, descriptions and citizens.
func (j *job) describe(s *Summary) error {
	for i, d := range datasets {
		schema := d.schema()
		if err := schema.Validate(); err != nil {
			return err
		}
		folder := filepath.Join("holders", d.holder, d.name)
		if err := j.putJSON(filepath.Join(folder, "schema.json"), schema); err != nil {
			return err
		}
		var n, persons int64
		for k, t := range d.tables {
			rows := s.Rows[d.holder+"/"+d.name+"/"+t.name]
			n += rows
			if k == 0 {
				persons = rows
			}
		}
		if err := j.putJSON(filepath.Join(folder, "description.json"), describe(i, j.start, j.end, n, persons)); err != nil {
			return err
		}
	}
	var found []Citizen
	for _, c := range j.citizens {
		found = append(found, c...)
	}
	return j.putJSON("citizens.json", choose(found))
}

func (j *job) putJSON(name string, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	raw = append(raw, '\n')
	j.bytes += int64(len(raw))
	j.files++
	return putFile(filepath.Join(j.dir, name), raw)
}

// putFile writes a new file and makes it durable.
func putFile(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(raw); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// span is the people of chunk c: the first person's number and how many.
func (j *job) span(c int) (first int64, want int) {
	return int64(c)*chunkPeople + 1, min(chunkPeople, j.People-c*chunkPeople)
}

// number gives everybody the order number of the NIR. People of one sex, birth month and birth place get
// different numbers, across centuries too because the NIR has a two-digit year; so all people are made
// once before anything is written.
func (j *job) number(ctx context.Context) error {
	cells := make([]uint32, j.People)
	g, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	for k := range workers {
		g.Go(func() error {
			var buf []person
			for c := k; c < j.chunks; c += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				first, want := j.span(c)
				buf = settle(buf, j.Seed, int64(c), first, want, j.start, j.end)
				for i := range buf {
					cells[int(first)-1+i] = nirCell(&buf[i])
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	given := make(map[uint32]uint16, j.People)
	j.orders = make([]uint16, j.People)
	for i, cell := range cells {
		n := given[cell]
		if n >= 998 {
			return errors.New("more than 998 people of one sex were born in one month and place: the country is too large for valid national numbers")
		}
		given[cell] = n + 1
		// 611 and 999 have no common factor, so that each n gives another order number.
		j.orders[i] = uint16(1 + (uint32(n)*611+uint32(mix64(uint64(cell)^j.Seed)%999))%999)
	}
	return nil
}

// nirCell numbers what the NIR says before the order number.
func nirCell(p *person) uint32 {
	c := dateOf(p.birth)
	at := uint32(p.birthPlace)
	if d := places[at].dept; c.year < 1976 && d == corsicaSouth+1 {
		at -= communesPerDepartment // both departments were 20
	}
	return ((at*100+uint32(c.year)%100)*12+uint32(c.month)-1)*2 + uint32(p.sex) - 1
}

// finish notes what a chunk made.
func (j *job) finish(c int, w *chunk, n []int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, k := range n {
		j.rows[i] += k
	}
	j.counts.add(w.counts)
	j.citizens[c] = w.citizens
	j.done += w.counts.People
	if j.Progress != nil {
		j.Progress(j.done, int64(j.People), "people")
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
