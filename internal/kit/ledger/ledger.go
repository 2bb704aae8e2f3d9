// Package ledger keeps a zone's tamper-evident log (Tessera, C2SP tlog-tiles, in a directory). Record
// writes an entry to the outbox in the transaction of the business row that it tells about; a job appends
// it to the log. Every zone calls it; "mitral verify" calls Verify. An entry must never hold an identity, a
// NIR, a pseudonym or a small count: the log is public.
package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	f_log "github.com/transparency-dev/formats/log"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"k8s.io/klog/v2"

	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/store"
)

const (
	jobKind = "ledger"
	// batchMax is how many entries go into the log at once, and so the number of the queue's workers.
	batchMax = 128
	// gather is how long a batch waits for company.
	gather = 5 * time.Millisecond
	// checkpointEvery is the shortest time between two signed checkpoints (Tessera's minimum).
	checkpointEvery = 100 * time.Millisecond
	// publishTimeout bounds the wait for the checkpoint over a batch.
	publishTimeout = 10 * time.Second
)

// ErrOpen is returned when this or another process has the ledger open already.
var ErrOpen = errors.New("the ledger is open already")

// tesseraLog sends the warnings of Tessera where ours go. It logs through klog, which is one for the whole
// process and may be set up once only, before anything runs.
var tesseraLog sync.Once

// Options of Open.
type Options struct {
	Dir  string // the ledger's own directory
	Zone string // "engine"; part of the log's name
	DB   *store.DB
	Jobs *jobs.Client
	Log  *slog.Logger
}

// Ledger is an open log.
type Ledger struct {
	o        Options
	lock     *os.File
	verifier string
	root     *os.Root
	appender *tessera.Appender
	reader   tessera.LogReader
	shutdown func(context.Context) error
	cancel   context.CancelFunc

	size  atomic.Uint64 // a lower bound of the number of entries in the log
	in    chan pending
	stop  chan struct{}
	wg    sync.WaitGroup
	close sync.Once
}

// pending is an entry on its way from its job into the log.
type pending struct {
	id   string
	data []byte
	done chan error // buffered; gets exactly one value
}

// Open opens the log in o.Dir and makes it, with a new signing key, when there is none. Call it before
// o.Jobs.Start: it registers its kind of job.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	l, err := open(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return l, nil
}

func open(ctx context.Context, o Options) (_ *Ledger, err error) {
	if !validZone.MatchString(o.Zone) {
		return nil, fmt.Errorf("zone %q: want letters, digits and '-'", o.Zone)
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	l := &Ledger{o: o, in: make(chan pending), stop: make(chan struct{})}
	// Tessera's own locks do not stop two appenders in one process; this one does both.
	l.lock, err = os.OpenFile(filepath.Join(o.Dir, "ledger.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.lock.Close()
		}
	}()
	if err := syscall.Flock(int(l.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Dir, ErrOpen)
	}
	if err := removeTemporary(o.Dir); err != nil {
		return nil, err
	}
	signer, verifier, err := signingKey(o.Dir, "mitral/"+o.Zone)
	if err != nil {
		return nil, err
	}
	l.verifier = verifier
	if err := o.Jobs.Migrate(ctx); err != nil {
		return nil, err
	}
	tesseraLog.Do(func() { klog.SetSlogLogger(slog.New(warnings{o.Log.Handler()})) })
	driver, err := posix.New(ctx, posix.Config{Path: o.Dir})
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until Close
	l.cancel = cancel
	l.appender, l.shutdown, l.reader, err = tessera.NewAppender(run, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(signer).
		WithBatching(batchMax, time.Millisecond).
		WithCheckpointInterval(checkpointEvery).
		WithCheckpointRepublishInterval(24*time.Hour))
	if err != nil {
		cancel()
		return nil, err
	}
	size, err := l.reader.IntegratedSize(ctx)
	if err == nil {
		l.size.Store(size)
		err = removeLeftovers(o.Dir, size)
	}
	if err == nil {
		l.root, err = os.OpenRoot(o.Dir)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	o.Jobs.Handle(jobKind, jobs.Options{Queue: "ledger", Workers: batchMax, MaxAttempts: 30000}, l.work)
	l.wg.Add(1)
	go l.sequence()
	return l, nil
}

// Close waits for what is being appended and closes the log. Stop the jobs first. Entries that are not
// in the log yet stay in the outbox.
func (l *Ledger) Close(ctx context.Context) error {
	var err error
	l.close.Do(func() {
		close(l.stop)
		l.wg.Wait()
		err = l.shutdown(ctx)
		l.cancel()
		err = errors.Join(err, l.root.Close(), l.lock.Close())
	})
	return err
}

// outboxed is the payload of a job. The entry is a string because PostgreSQL rewrites JSON.
type outboxed struct {
	From  uint64 `json:"from"` // the entry's index will not be lower
	ID    string `json:"id"`
	Entry string `json:"entry"` // canonical JSON: the bytes of the log
}

// Record puts e into the outbox in tx; it enters the log, in the order of the ids, within a moment of the
// commit. ID and Zone are filled in; an ID that is given is recorded once however often it is repeated,
// and At is now when it is not given.
func (l *Ledger) Record(ctx context.Context, tx *store.Tx, e Entry) error {
	e.Zone = l.o.Zone
	id, data, err := e.encode()
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	return l.o.Jobs.Insert(ctx, tx, jobKind, id, outboxed{From: l.size.Load(), ID: id, Entry: string(data)})
}

// work appends one entry. It returns when a published checkpoint covers it.
func (l *Ledger) work(ctx context.Context, raw json.RawMessage) error {
	var o outboxed
	if err := json.Unmarshal(raw, &o); err != nil {
		return fmt.Errorf("ledger: outbox: %w", err)
	}
	if jobs.Attempt(ctx) > 1 {
		// The former attempt may have reached the log before it failed or the process died.
		index, found, err := l.find(ctx, o.ID, o.From)
		if err != nil {
			return fmt.Errorf("ledger: search for %s: %w", o.ID, err)
		}
		if found {
			return l.published(ctx, index)
		}
	}
	p := pending{id: o.ID, data: []byte(o.Entry), done: make(chan error, 1)}
	select {
	case l.in <- p:
	case <-l.stop:
		return errors.New("ledger: closed")
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-p.done // always comes: giving up now could append the entry twice
}

// sequence appends entries, batch after batch, each in the order of its ids, which is that of their times.
func (l *Ledger) sequence() {
	defer l.wg.Done()
	for {
		var batch []pending
		select {
		case p := <-l.in:
			batch = append(batch, p)
		case <-l.stop:
			return
		}
		timer := time.After(gather)
	more:
		for len(batch) < batchMax {
			select {
			case p := <-l.in:
				batch = append(batch, p)
			case <-timer:
				break more
			}
		}
		slices.SortFunc(batch, func(a, b pending) int { return strings.Compare(a.id, b.id) })
		l.append(batch)
	}
}

// append adds a batch and waits until it is in the tree; the wait for the checkpoint goes on aside.
func (l *Ledger) append(batch []pending) {
	ctx := context.Background() // an entry is never taken back half-way
	futures := make([]tessera.IndexFuture, len(batch))
	for i, p := range batch {
		futures[i] = l.appender.Add(ctx, tessera.NewEntry(p.data))
	}
	var added []pending
	var last uint64
	var failed error
	for i, f := range futures {
		index, err := f()
		if err != nil {
			failed = err
			batch[i].done <- fmt.Errorf("ledger: append: %w", err)
			continue
		}
		last = max(last, index.Index)
		added = append(added, batch[i])
	}
	if failed != nil { // a full disk may have left files behind that the log does not count
		size, err := l.reader.IntegratedSize(ctx)
		if err == nil {
			err = removeLeftovers(l.o.Dir, size)
		}
		if err != nil {
			l.o.Log.Error("ledger: cleaning up after a failed append", "err", err)
		}
	}
	if len(added) == 0 {
		return
	}
	l.size.Store(last + 1)
	l.wg.Go(func() {
		err := l.published(ctx, last)
		for _, p := range added {
			p.done <- err
		}
	})
}

// published waits until the published checkpoint covers index.
func (l *Ledger) published(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		raw, err := l.Checkpoint()
		if err == nil {
			var cp f_log.Checkpoint
			if _, err = cp.Unmarshal(raw); err == nil && cp.Size > index {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ledger: no checkpoint over entry %d yet: %w", index, errors.Join(ctx.Err(), err))
		case <-tick.C: // Tessera's directory has no other way to tell
		}
	}
}

// Checkpoint is the signed head of the log (C2SP tlog-checkpoint).
func (l *Ledger) Checkpoint() ([]byte, error) {
	return l.reader.ReadCheckpoint(context.Background())
}

// VerifierKey is the note verifier key that checkpoints are checked with. It is public.
func (l *Ledger) VerifierKey() string { return l.verifier }

// Handler serves the log to everybody, read only: checkpoint, tiles, entry bundles (C2SP tlog-tiles) and
// ledger.pub. Nothing else of the directory can be reached. Mount it with http.StripPrefix.
func (l *Ledger) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/")
		_, tile := parsePath(path)
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "read only", http.StatusMethodNotAllowed)
			return
		case path == "checkpoint", path == keyFile:
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", "no-cache")
		case tile:
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		default:
			http.NotFound(w, r)
			return
		}
		f, err := l.root.Open(path)
		if err != nil {
			w.Header().Del("Cache-Control")
			http.NotFound(w, r)
			return
		}
		defer f.Close()
		http.ServeContent(w, r, "", time.Time{}, f)
	})
}

type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
