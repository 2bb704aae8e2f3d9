package agent

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/klauspost/compress/gzip"

	"github.com/mitral-health/mitral/internal/contract"
)

// maxPartBytes is when a new part of a table is begun.
const maxPartBytes = 256 << 20

// spool is the directory of one delivery: <spool>/<holder>.<dataset>/<delivery>/. It counts once
// state.json is there; from then on nothing in it changes but the marks of what has arrived, so that both sides get
// the same tickets however often the agent is killed.
type spool struct {
	dir   string
	lock  *os.File
	state state
}

// state is state.json.
type state struct {
	Schema string            `json:"schema"` // "mitral.spool/1"
	Trust  contract.Delivery `json:"trust"`  // manifest of the identities
	Engine contract.Delivery `json:"engine"` // manifest of the tables
	// Arrived names the parts that were accepted, and "complete" when the manifest was.
	TrustArrived  map[string]bool `json:"trust_arrived"`
	EngineArrived map[string]bool `json:"engine_arrived"`
}

const (
	stateSchema = "mitral.spool/1"
	stateFile   = "state.json"
	complete    = "complete"
)

// errBusy means that another agent works on the same dataset.
var errBusy = errors.New("another agent is delivering this dataset from the same spool directory")

// openSpool takes the dataset's place in the spool directory. found is true when an unfinished delivery lies
// there; halves of a split that was killed are removed.
func openSpool(root string, s *contract.DatasetSchema, delivery string) (sp *spool, found bool, err error) {
	home := filepath.Join(root, s.Holder+"."+s.Dataset)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, false, fmt.Errorf("spool: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(home, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("spool: %w", err)
	}
	sp = &spool{lock: lock}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, false, errBusy
	}
	entries, err := os.ReadDir(home)
	if err != nil {
		return nil, false, fmt.Errorf("spool: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		dir := filepath.Join(home, e.Name())
		b, err := os.ReadFile(filepath.Join(dir, stateFile))
		if errors.Is(err, fs.ErrNotExist) {
			if err := os.RemoveAll(dir); err != nil {
				return nil, false, fmt.Errorf("spool: %w", err)
			}
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("spool: %w", err)
		}
		if err := json.Unmarshal(b, &sp.state); err != nil || sp.state.Schema != stateSchema || sp.state.Trust.ID != e.Name() {
			return nil, false, fmt.Errorf("spool: %s is damaged: remove %s to deliver again", filepath.Join(dir, stateFile), dir)
		}
		if delivery != "" && delivery != sp.state.Trust.ID {
			return nil, false, fmt.Errorf("spool: delivery %s of this dataset is unfinished: finish it first, or remove %s", sp.state.Trust.ID, dir)
		}
		sp.dir = dir
		return sp, true, nil
	}
	if delivery == "" {
		delivery = contract.NewID("delivery")
	}
	sp.dir = filepath.Join(home, delivery)
	sp.state = state{Schema: stateSchema, TrustArrived: map[string]bool{}, EngineArrived: map[string]bool{}}
	sp.state.Trust = contract.Delivery{Schema: contract.DeliverySchema, ID: delivery, Dataset: *s}
	sp.state.Engine = sp.state.Trust
	if err := os.MkdirAll(filepath.Join(sp.dir, "identities"), 0o700); err != nil {
		return nil, false, fmt.Errorf("spool: %w", err)
	}
	return sp, false, nil
}

// fix makes the split count: everything is on disk and will not change.
func (sp *spool) fix(tickets int64, now time.Time) error {
	for _, m := range []*contract.Delivery{&sp.state.Trust, &sp.state.Engine} {
		m.Tickets, m.CreatedAt = tickets, now.UTC().Truncate(time.Second)
		if err := m.Validate(); err != nil {
			return err
		}
	}
	dirs, err := filepath.Glob(filepath.Join(sp.dir, "tables", "*"))
	if err != nil {
		return err
	}
	for _, d := range append(dirs, filepath.Join(sp.dir, "tables"), filepath.Join(sp.dir, "identities")) {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return sp.save()
}

func (sp *spool) save() error {
	b, err := json.Marshal(sp.state)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(sp.dir, ".state-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(sp.dir, stateFile)); err != nil {
		return err
	}
	return syncDir(sp.dir)
}

// remove deletes the delivery's files. state.json goes first: what remains of a killed removal is a half
// that the next start clears away.
func (sp *spool) remove() error {
	err := os.Remove(filepath.Join(sp.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(sp.dir))
}

func (sp *spool) close() error { return sp.lock.Close() }

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (sp *spool) path(p contract.FilePart) string {
	if p.Table == "" {
		return filepath.Join(sp.dir, "identities", p.Name+".ndjson.gz")
	}
	return filepath.Join(sp.dir, "tables", p.Table, p.Name+".parquet")
}

// partFile is one part under way: a file that is hashed and counted as it is written.
type partFile struct {
	f    *os.File
	buf  *bufio.Writer
	sum  hash.Hash
	n    int64
	part contract.FilePart
}

func (sp *spool) createPart(table string, number int) (*partFile, error) {
	p := contract.FilePart{Table: table, Name: fmt.Sprintf("part-%04d", number)}
	f, err := os.OpenFile(sp.path(p), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	pf := &partFile{f: f, sum: sha256.New(), part: p}
	pf.buf = bufio.NewWriterSize(io.MultiWriter(f, pf.sum), 1<<20)
	return pf, nil
}

func (p *partFile) Write(b []byte) (int, error) {
	n, err := p.buf.Write(b)
	p.n += int64(n)
	return n, err
}

func (p *partFile) finish(rows int64) (contract.FilePart, error) {
	if err := errors.Join(p.buf.Flush(), p.f.Sync(), p.f.Close()); err != nil {
		return p.part, err
	}
	p.part.Rows, p.part.Bytes, p.part.Digest = rows, p.n, contract.Digest("sha256:"+hex.EncodeToString(p.sum.Sum(nil)))
	return p.part, nil
}

// identityWriter writes one part of the identities.
type identityWriter struct {
	*gzip.Writer
	sp *spool
	pf *partFile
}

func (sp *spool) identityPart() (*identityWriter, error) {
	pf, err := sp.createPart("", len(sp.state.Trust.Parts)+1)
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewWriterLevel(pf, gzip.BestSpeed)
	if err != nil {
		return nil, errors.Join(err, pf.f.Close())
	}
	return &identityWriter{z, sp, pf}, nil
}

func (w *identityWriter) finish(rows int64) error {
	if err := w.Writer.Close(); err != nil {
		return errors.Join(err, w.pf.f.Close())
	}
	part, err := w.pf.finish(rows)
	if err != nil {
		return err
	}
	w.sp.state.Trust.Parts = append(w.sp.state.Trust.Parts, part)
	return nil
}

func (w *identityWriter) abandon() error { return w.pf.f.Close() }

// parquetParts writes the payload of one table into parts of about maxPartBytes.
type parquetParts struct {
	sp     *spool
	table  string
	schema *arrow.Schema
	number int
	pf     *partFile
	w      *pqarrow.FileWriter
	rows   int64
}

func (sp *spool) parquetParts(table string, schema *arrow.Schema) (*parquetParts, error) {
	if err := os.MkdirAll(filepath.Join(sp.dir, "tables", table), 0o700); err != nil {
		return nil, err
	}
	p := &parquetParts{sp: sp, table: table, schema: schema}
	return p, p.begin() // at least one part, also of an empty table
}

func (p *parquetParts) begin() (err error) {
	p.number++
	p.rows = 0
	if p.pf, err = p.sp.createPart(p.table, p.number); err != nil {
		return err
	}
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCompressionLevel(1),
		parquet.WithDictionaryDefault(true), parquet.WithDictionaryFor(ticketColumn, false), parquet.WithMaxRowGroupLength(windowRows),
		parquet.WithVersion(parquet.V2_LATEST), parquet.WithDataPageVersion(parquet.DataPageV1), parquet.WithCreatedBy("mitral agent"), parquet.WithStats(false))
	// The writer closes what can be closed; the part is closed by finish.
	p.w, err = pqarrow.NewFileWriter(p.schema, struct{ io.Writer }{p.pf}, props, pqarrow.DefaultWriterProps())
	if err != nil {
		return errors.Join(err, p.pf.f.Close())
	}
	return nil
}

func (p *parquetParts) write(rec arrow.RecordBatch) error {
	if p.pf.n > maxPartBytes {
		if err := p.end(); err != nil {
			return err
		}
		if err := p.begin(); err != nil {
			return err
		}
	}
	p.rows += rec.NumRows()
	return p.w.Write(rec)
}

func (p *parquetParts) end() error {
	if err := p.w.Close(); err != nil {
		return errors.Join(err, p.pf.f.Close())
	}
	part, err := p.pf.finish(p.rows)
	p.pf = nil
	if err != nil {
		return err
	}
	p.sp.state.Engine.Parts = append(p.sp.state.Engine.Parts, part)
	return nil
}

func (p *parquetParts) close() error {
	if p.pf == nil {
		return nil
	}
	return p.end()
}
