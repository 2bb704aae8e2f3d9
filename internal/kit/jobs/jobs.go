// Package jobs is a zone's outbox: work that must happen once a business row is committed is inserted in
// the row's own transaction and carried out later, with retries, by this process or the next one. It wraps
// River on SQLite and on PostgreSQL. Every zone calls it. It must never know a kind of work.
//
// One process serves one zone's database. So whatever is marked as running when a client starts was cut
// off by a crash, and is run again at once. A handler therefore sees a job once or more than once, never
// zero times, and must be idempotent.
package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/mitral-health/mitral/internal/kit/store"
)

const (
	// Remember is how long a finished job still stops the same kind and key from being enqueued again.
	Remember = 90 * 24 * time.Hour

	// StuckAfter is the number of failed attempts from which a job counts as stuck.
	StuckAfter = 3

	defaultWorkers     = 4
	defaultMaxAttempts = 25
	maxBackoff         = 5 * time.Minute

	// softStop is how long running jobs may go on after Stop before their contexts are cancelled; a zone
	// stops within 10 seconds.
	softStop = 5 * time.Second

	// SQLite cannot call out that a row was inserted, so the queues look themselves: this is the latency
	// of a job there. PostgreSQL notifies.
	pollSQLite   = 50 * time.Millisecond
	pollPostgres = 200 * time.Millisecond // for what a notification missed, the first second above all
	cooldown     = 5 * time.Millisecond

	// maxListed bounds Stuck, in jobs.
	maxListed = 1000
)

// Options of one kind of job.
type Options struct {
	Queue       string        // kinds of one queue share its workers; "" is "default"
	Workers     int           // jobs of the queue that run at once; 0 is 4; the largest of a queue's kinds counts
	Timeout     time.Duration // of one attempt; 0 is none
	MaxAttempts int           // 0 is 25; then the job stays, discarded, and is listed by Stuck
}

// Handler does one job. An error means it will be tried again after a pause.
type Handler func(ctx context.Context, payload json.RawMessage) error

// StuckJob is a job that failed at least StuckAfter times or was given up.
type StuckJob struct {
	ID        int64     `json:"id"`
	Kind      string    `json:"kind"`
	Key       string    `json:"key"`
	State     string    `json:"state"` // "retryable", "available", "running", "discarded", …
	Attempts  int       `json:"attempts"`
	LastError string    `json:"last_error"`
	CreatedAt time.Time `json:"created_at"`
	NextAt    time.Time `json:"next_at"` // of the next attempt, when there is one
}

// Client inserts and runs jobs of one database.
type Client struct {
	db    *store.DB
	log   *slog.Logger
	kinds map[string]kind

	watchEvery time.Duration

	// setup is held while Migrate and Start work on the database. Insert must never wait for it: it is
	// called inside a transaction, which Start in turn may wait for.
	setup sync.Mutex

	mu      sync.Mutex // over what follows, and held for moments only
	started bool
	insert  backend // inserts only; there from Migrate on
	work    backend // runs jobs; there from Start on
	now     running
	unwatch func() // ends the watch over lost jobs
}

type kind struct {
	opts Options
	h    Handler
}

// backend is River on one of the two databases.
type backend interface {
	start(ctx context.Context) error
	stop(ctx context.Context) error
	insert(ctx context.Context, tx *store.Tx, a args, o *river.InsertOpts) error
	list(ctx context.Context, p *river.JobListParams) ([]*rivertype.JobRow, error)
}

// New returns a client; Handle every kind, then Start it.
func New(db *store.DB, log *slog.Logger) *Client {
	return &Client{db: db, log: log, kinds: map[string]kind{}, watchEvery: watchEvery}
}

// Handle registers the handler of a kind. It panics when the kind is registered already or after Start:
// both are mistakes of the program.
func (c *Client) Handle(name string, o Options, h Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, twice := c.kinds[name]; twice || c.started {
		panic("jobs: kind " + name + " registered twice or after Start")
	}
	if o.Queue == "" {
		o.Queue = river.QueueDefault
	}
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = defaultMaxAttempts
	}
	c.kinds[name] = kind{o, h}
}

// Migrate creates or updates River's tables. Start calls it; call it yourself when jobs are inserted
// before Start.
func (c *Client) Migrate(ctx context.Context) error {
	c.setup.Lock()
	defer c.setup.Unlock()
	return c.migrate(ctx)
}

func (c *Client) migrate(ctx context.Context) error {
	if c.inserter() != nil {
		return nil
	}
	if err := migrateTables(ctx, c.db, quiet(c.log)); err != nil {
		return fmt.Errorf("jobs: migrate: %w", err)
	}
	b, err := openBackend(c.db, &river.Config{Logger: quiet(c.log)})
	if err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.insert = b
	return nil
}

func (c *Client) inserter() backend {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.insert
}

// Insert enqueues a job in tx. The same kind and key are enqueued once: a second insertion changes
// nothing, also while and after the job runs (for Remember). payload must be JSON and hold no key and no
// identity: it lies in the database, and may be shown by Stuck's reader.
func (c *Client) Insert(ctx context.Context, tx *store.Tx, kindName, key string, payload any) error {
	c.mu.Lock()
	k, known := c.kinds[kindName]
	b := c.insert
	c.mu.Unlock()
	if !known {
		return fmt.Errorf("jobs: kind %q has no handler", kindName)
	}
	if key == "" {
		return fmt.Errorf("jobs: a job of kind %q needs a key", kindName)
	}
	if b == nil {
		return errors.New("jobs: Migrate or Start comes before Insert")
	}
	raw, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("jobs: payload of %s: %w", kindName, err)
	}
	err = b.insert(ctx, tx, args{kind: kindName, Key: key, Payload: raw}, &river.InsertOpts{
		Queue:       k.opts.Queue,
		MaxAttempts: k.opts.MaxAttempts,
		UniqueOpts:  river.UniqueOpts{ByArgs: true, ByState: rivertype.JobStates()},
	})
	if err != nil {
		return fmt.Errorf("jobs: insert %s: %w", kindName, err)
	}
	return nil
}

// Start runs jobs until ctx is over or Stop is called. Jobs that a crash cut off are run again at once.
func (c *Client) Start(ctx context.Context) error {
	c.setup.Lock()
	defer c.setup.Unlock()
	c.mu.Lock()
	again, kinds := c.started, len(c.kinds)
	c.started = true // the kinds are fixed from here on
	c.mu.Unlock()
	switch {
	case again:
		return errors.New("jobs: started already")
	case kinds == 0:
		return errors.New("jobs: no kind of job is handled")
	}
	if err := c.migrate(ctx); err != nil {
		return err
	}
	if err := resume(ctx, c.db); err != nil {
		return fmt.Errorf("jobs: resume: %w", err)
	}
	workers, queues := river.NewWorkers(), map[string]river.QueueConfig{}
	for name, k := range c.kinds {
		river.AddWorkerArgs(workers, args{kind: name}, &worker{kind: k, now: &c.now})
		q := queues[k.opts.Queue]
		q.MaxWorkers = max(q.MaxWorkers, k.opts.Workers)
		queues[k.opts.Queue] = q
	}
	poll := pollPostgres
	if c.db.SQLite != nil {
		poll = pollSQLite
	}
	cfg := &river.Config{
		Queues:                      queues,
		Workers:                     workers,
		Logger:                      quiet(c.log),
		FetchPollInterval:           poll,
		FetchCooldown:               cooldown,
		PollOnly:                    c.db.SQLite != nil,
		JobTimeout:                  -1,
		RescueStuckJobsAfter:        100 * 365 * 24 * time.Hour, // resume does it, without running a long job twice
		CompletedJobRetentionPeriod: Remember,
		CancelledJobRetentionPeriod: -1, // what was never done stays visible
		DiscardedJobRetentionPeriod: -1,
		SoftStopTimeout:             softStop,
		RetryPolicy:                 backoff{},
		ErrorHandler:                &failures{log: c.log},
		ReindexerIndexNames:         []string{}, // PostgreSQL's autovacuum is enough for these tables
	}
	b, err := c.startBackend(ctx, cfg)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.work, c.unwatch = b, c.watch(ctx)
	return nil
}

// startTries bounds how often a start is tried again. River gives each of its queues 10 seconds to write
// its first row, which a disk under heavy load can exceed; that is no reason for a zone not to come up.
const startTries = 6

func (c *Client) startBackend(ctx context.Context, cfg *river.Config) (backend, error) {
	for try := 1; ; try++ {
		b, err := openBackend(c.db, cfg)
		if err != nil {
			return nil, fmt.Errorf("jobs: %w", err)
		}
		err = b.start(ctx)
		if err == nil {
			return b, nil
		}
		if try == startTries || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("jobs: start: %w", err)
		}
		c.log.Warn("the job queues are slow to start, trying again", "err", err)
	}
}

// Stop lets running jobs finish, cancels them after 5 seconds, and returns when all have, or when ctx is
// over. What was cut off runs again at the next start.
func (c *Client) Stop(ctx context.Context) error {
	c.mu.Lock()
	b, unwatch := c.work, c.unwatch
	c.mu.Unlock()
	if b == nil {
		return nil
	}
	unwatch()
	if err := b.stop(ctx); err != nil {
		return fmt.Errorf("jobs: stop: %w", err)
	}
	return nil
}

// Stuck lists the jobs that failed at least StuckAfter times or were given up, oldest first.
func (c *Client) Stuck(ctx context.Context) ([]StuckJob, error) {
	rows, err := c.listed(ctx, river.NewJobListParams().Where("attempt >= 1").States(
		rivertype.JobStateAvailable, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled,
		rivertype.JobStateDiscarded, rivertype.JobStateCancelled))
	if err != nil {
		return nil, err
	}
	var out []StuckJob
	for _, r := range rows {
		given := r.State == rivertype.JobStateDiscarded || r.State == rivertype.JobStateCancelled
		if !given && len(r.Errors) < StuckAfter {
			continue
		}
		var a args
		if err := json.Unmarshal(r.EncodedArgs, &a); err != nil {
			return nil, fmt.Errorf("jobs: job %d: %w", r.ID, err)
		}
		s := StuckJob{ID: r.ID, Kind: r.Kind, Key: a.Key, State: string(r.State), Attempts: r.Attempt, CreatedAt: r.CreatedAt.UTC()}
		if len(r.Errors) > 0 {
			s.LastError = r.Errors[len(r.Errors)-1].Error
		}
		if !given {
			s.NextAt = r.ScheduledAt.UTC()
		}
		out = append(out, s)
	}
	return out, nil
}

// Pending counts the jobs that are neither done nor given up.
func (c *Client) Pending(ctx context.Context) (int64, error) {
	if err := c.Migrate(ctx); err != nil {
		return 0, err
	}
	return pending(ctx, c.db)
}

func (c *Client) listed(ctx context.Context, p *river.JobListParams) ([]*rivertype.JobRow, error) {
	if err := c.Migrate(ctx); err != nil {
		return nil, err
	}
	rows, err := c.inserter().list(ctx, p.First(maxListed))
	if err != nil {
		return nil, fmt.Errorf("jobs: list: %w", err)
	}
	return rows, nil
}

type attemptKey struct{}

// Attempt tells a handler which attempt this is, from 1. Above 1 an earlier attempt may have come some
// way, or all of it, before it failed or the process died.
func Attempt(ctx context.Context) int {
	n, _ := ctx.Value(attemptKey{}).(int)
	return n
}

// args is what River stores of a job.
type args struct {
	kind    string
	Key     string          `json:"key" river:"unique"`
	Payload json.RawMessage `json:"payload"`
}

func (a args) Kind() string { return a.kind }

type worker struct {
	river.WorkerDefaults[args]
	kind kind
	now  *running
}

func (w *worker) Timeout(*river.Job[args]) time.Duration {
	if w.kind.opts.Timeout == 0 {
		return -1
	}
	return w.kind.opts.Timeout
}

func (w *worker) Work(ctx context.Context, job *river.Job[args]) error {
	defer w.now.begin(job.ID)()
	return w.kind.h(context.WithValue(ctx, attemptKey{}, job.Attempt), job.Args.Payload)
}

// backoff doubles from a quarter of a second to maxBackoff, with jitter.
type backoff struct{}

func (backoff) NextRetry(job *rivertype.JobRow) time.Time {
	d := maxBackoff
	if n := len(job.Errors); n < 11 {
		d = min(d, 250*time.Millisecond<<n)
	}
	return time.Now().UTC().Add(d/2 + rand.N(d/2))
}

// failures logs what went wrong with a job, without its payload.
type failures struct{ log *slog.Logger }

func (f *failures) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	f.log.Warn("job failed", "kind", job.Kind, "id", job.ID, "attempt", job.Attempt, "of", job.MaxAttempts, "err", err)
	return nil
}

func (f *failures) HandlePanic(ctx context.Context, job *rivertype.JobRow, v any, trace string) *river.ErrorHandlerResult {
	f.log.Error("job panicked", "kind", job.Kind, "id", job.ID, "attempt", job.Attempt, "panic", fmt.Sprint(v), "stack", trace)
	return nil
}

// sqliteBackend and pgBackend are the same two calls on River's two types of client.
type sqliteBackend struct{ c *river.Client[*sql.Tx] }

func (b sqliteBackend) start(ctx context.Context) error { return b.c.Start(ctx) }
func (b sqliteBackend) stop(ctx context.Context) error  { return b.c.Stop(ctx) }
func (b sqliteBackend) insert(ctx context.Context, tx *store.Tx, a args, o *river.InsertOpts) error {
	_, err := b.c.InsertTx(ctx, tx.SQLite, a, o)
	return err
}
func (b sqliteBackend) list(ctx context.Context, p *river.JobListParams) ([]*rivertype.JobRow, error) {
	r, err := b.c.JobList(ctx, p)
	if err != nil {
		return nil, err
	}
	return r.Jobs, nil
}

type pgBackend struct{ c *river.Client[pgx.Tx] }

func (b pgBackend) start(ctx context.Context) error { return b.c.Start(ctx) }
func (b pgBackend) stop(ctx context.Context) error  { return b.c.Stop(ctx) }
func (b pgBackend) insert(ctx context.Context, tx *store.Tx, a args, o *river.InsertOpts) error {
	_, err := b.c.InsertTx(ctx, tx.PG, a, o)
	return err
}
func (b pgBackend) list(ctx context.Context, p *river.JobListParams) ([]*rivertype.JobRow, error) {
	r, err := b.c.JobList(ctx, p)
	if err != nil {
		return nil, err
	}
	return r.Jobs, nil
}
