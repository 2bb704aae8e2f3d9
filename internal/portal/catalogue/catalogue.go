package catalogue

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/blevesearch/bleve/v2"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
	"github.com/mitral-health/mitral/internal/kit/jobs"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

var (
	// ErrUnknown means that there is no such dataset, version or code list, or none that may be seen.
	ErrUnknown = errors.New("unknown in the catalogue")
	// ErrChanged means that somebody else saved a newer version meanwhile; nothing was lost or written.
	ErrChanged = errors.New("changed by somebody else meanwhile")
)

// NotPublishable is returned by Publish: mandatory elements are missing.
type NotPublishable struct{ Broken []Rule }

func (e *NotPublishable) Error() string {
	var codes []string
	for _, r := range e.Broken {
		if r.Level == Mandatory {
			codes = append(codes, r.Code)
		}
	}
	return fmt.Sprintf("mandatory elements missing: %v", codes)
}

// Catalogue is the room's service. It is safe for concurrent use.
type Catalogue struct {
	db     *store.DB
	clock  clock.Clock
	jobs   *jobs.Client
	ledger *ledger.Ledger
	log    *slog.Logger
	label  func(lang, key string) string
	index  bleve.Index
	docs   *lru.Cache[string, *Description]
	recent recent
}

// Options are what a Catalogue needs. Label gives the text of a message, for the labels of closed lists
// in the search index.
type Options struct {
	DB     *store.DB
	Dir    string // the portal's directory; the index goes to Dir/search
	Clock  clock.Clock
	Jobs   *jobs.Client
	Ledger *ledger.Ledger
	Log    *slog.Logger
	Label  func(lang, key string) string
}

const (
	jobIndexDataset   = "catalogue.index_dataset"
	jobIndexCodeLists = "catalogue.index_code_lists"
)

type indexJob struct {
	Holder  string   `json:"holder,omitempty"`
	Dataset string   `json:"dataset,omitempty"`
	Lists   []string `json:"lists,omitempty"`
}

// New migrates the room's tables, registers its jobs and opens the search index, which is filled from
// the store when it is missing. Call it before the jobs start.
func New(ctx context.Context, o Options) (*Catalogue, error) {
	m, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := o.DB.Migrate(ctx, "catalogue", m); err != nil {
		return nil, err
	}
	docs, err := lru.New[string, *Description](512)
	if err != nil {
		return nil, err
	}
	c := &Catalogue{db: o.DB, clock: o.Clock, jobs: o.Jobs, ledger: o.Ledger, log: o.Log, label: o.Label, docs: docs}
	o.Jobs.Handle(jobIndexDataset, jobs.Options{Queue: "index", Workers: 1, Timeout: 10 * time.Minute, MaxAttempts: 10}, func(ctx context.Context, raw json.RawMessage) error {
		var j indexJob
		if err := json.Unmarshal(raw, &j); err != nil {
			return err
		}
		return c.indexDataset(ctx, j.Holder, j.Dataset)
	})
	o.Jobs.Handle(jobIndexCodeLists, jobs.Options{Queue: "index", Workers: 1, Timeout: 10 * time.Minute, MaxAttempts: 10}, func(ctx context.Context, raw json.RawMessage) error {
		var j indexJob
		if err := json.Unmarshal(raw, &j); err != nil {
			return err
		}
		return c.indexCodeLists(ctx, j.Lists)
	})
	var fresh bool
	if c.index, fresh, err = openIndex(filepath.Join(o.Dir, "search")); err != nil {
		return nil, err
	}
	if fresh {
		start := time.Now()
		if err := c.rebuild(ctx); err != nil {
			c.index.Close()
			return nil, err
		}
		n, err := c.index.DocCount()
		c.log.Info("search index built", "documents", n, "seconds", time.Since(start).Seconds(), "error", err)
	}
	return c, nil
}

// Close closes the search index.
func (c *Catalogue) Close() error { return c.index.Close() }

// Entry is a published dataset as readers see it.
type Entry struct {
	*Description
	Version   int
	Updated   time.Time
	Delivered *Delivered // nil while no data have arrived
}

// Rows is the number of rows: of the newest delivery, else as declared.
func (e *Entry) Rows() int64 {
	if e.Delivered == nil {
		return e.Records
	}
	var n int64
	for _, r := range e.Delivered.Rows {
		n += r
	}
	return n
}

// PersonCount is the number of persons: of the newest delivery (rounded to 10), else as declared.
func (e *Entry) PersonCount() int64 {
	if e.Delivered == nil {
		return e.Persons
	}
	return e.Delivered.Persons
}

// Years are the first and last year of the period: 0 when it is not known, 9999 while it goes on.
func (e *Entry) Years() (from, to int) {
	from, err := strconv.Atoi(prefix(e.Period.From, 4))
	if err != nil {
		return 0, 9999
	}
	to, err = strconv.Atoi(prefix(e.Period.To, 4))
	if err != nil {
		to = 9999
	}
	return from, to
}

// Published returns what everybody may see of a dataset, or ErrUnknown.
func (c *Catalogue) Published(ctx context.Context, holder, dataset string) (*Entry, error) {
	r, err := selectRecord(ctx, c.db, holder, dataset)
	if err != nil {
		return nil, err
	}
	if !r.Visible() {
		return nil, ErrUnknown
	}
	d, err := c.version(ctx, holder, dataset, r.Published)
	if err != nil {
		return nil, err
	}
	del, err := selectDelivery(ctx, c.db, holder, dataset)
	if err != nil {
		return nil, err
	}
	return &Entry{Description: d, Version: r.Published, Updated: r.Updated, Delivered: del}, nil
}

// version reads one version; versions never change, so they are kept. Callers must not change it.
func (c *Catalogue) version(ctx context.Context, holder, dataset string, version int) (*Description, error) {
	key := holder + "/" + dataset + "@" + strconv.Itoa(version)
	if d, ok := c.docs.Get(key); ok {
		return d, nil
	}
	d, err := selectVersion(ctx, c.db, holder, dataset, version)
	if err != nil {
		return nil, err
	}
	c.docs.Add(key, d)
	return d, nil
}

// All returns every published dataset, sorted by identifier.
func (c *Catalogue) All(ctx context.Context) ([]*Entry, error) {
	records, err := selectRecords(ctx, c.db, "")
	if err != nil {
		return nil, err
	}
	delivered, err := selectDeliveries(ctx, c.db)
	if err != nil {
		return nil, err
	}
	var list []*Entry
	for _, r := range records {
		if !r.Visible() {
			continue
		}
		d, err := c.version(ctx, r.Holder, r.Dataset, r.Published)
		if err != nil {
			return nil, err
		}
		list = append(list, &Entry{Description: d, Version: r.Published, Updated: r.Updated, Delivered: delivered[d.Identifier()]})
	}
	return list, nil
}

// recent is what was published a moment ago, for searches: each looks at many datasets.
type recent struct {
	mu      sync.Mutex
	at      time.Time
	entries map[string]*Entry
}

// recentFor is how long a search may still show what has been withdrawn or changed.
const recentFor = time.Second

// recentEntries returns all published datasets by identifier, as they were at most age ago.
func (c *Catalogue) recentEntries(ctx context.Context, age time.Duration) (map[string]*Entry, error) {
	c.recent.mu.Lock()
	defer c.recent.mu.Unlock()
	if c.recent.entries != nil && time.Since(c.recent.at) < age {
		return c.recent.entries, nil
	}
	list, err := c.All(ctx)
	if err != nil {
		return nil, err
	}
	c.recent.at, c.recent.entries = time.Now(), make(map[string]*Entry, len(list))
	for _, e := range list {
		c.recent.entries[e.Identifier()] = e
	}
	return c.recent.entries, nil
}

// Records lists the datasets of a holder in every state, or of all holders when holder is "".
func (c *Catalogue) Records(ctx context.Context, holder string) ([]Record, error) {
	return selectRecords(ctx, c.db, holder)
}

// Draft returns the newest version, published or not, for its holder.
func (c *Catalogue) Draft(ctx context.Context, holder, dataset string) (Record, *Description, error) {
	r, err := selectRecord(ctx, c.db, holder, dataset)
	if err != nil {
		return r, nil, err
	}
	d, err := c.version(ctx, holder, dataset, r.Latest)
	return r, d, err
}

// Version returns one version of a dataset, for its holder.
func (c *Catalogue) Version(ctx context.Context, holder, dataset string, version int) (*Description, error) {
	return c.version(ctx, holder, dataset, version)
}

// History lists what happened to a dataset's description, newest first.
func (c *Catalogue) History(ctx context.Context, holder, dataset string) ([]Change, error) {
	return selectChanges(ctx, c.db, holder, dataset)
}

// Save stores a new version on top of version base (0 for a new dataset) and returns its number. A
// draft may be incomplete. ErrChanged: base is not the newest version any more.
func (c *Catalogue) Save(ctx context.Context, actor string, d *Description, base int) (int, error) {
	if err := d.check(); err != nil {
		return 0, err
	}
	err := c.db.InTx(ctx, func(tx *store.Tx) error {
		return c.save(ctx, tx, actor, d, base)
	})
	if errors.Is(err, store.ErrConflict) {
		return 0, ErrChanged
	}
	if err != nil {
		return 0, fmt.Errorf("save %s: %w", d.Identifier(), err)
	}
	return base + 1, nil
}

func (c *Catalogue) save(ctx context.Context, tx *store.Tx, actor string, d *Description, base int) error {
	now := c.clock.Now()
	if err := insertVersion(ctx, tx, d, base, actor, now); err != nil {
		return err
	}
	return c.ledger.Record(ctx, tx, ledger.Entry{
		Actor: actor, Action: "catalogue.saved", Target: d.Identifier(), Outcome: "done", Details: map[string]any{"version": base + 1}, At: now,
	})
}

// Publish makes the version the one that everybody sees. It must be the newest. *NotPublishable: a
// mandatory element is missing.
func (c *Catalogue) Publish(ctx context.Context, actor, holder, dataset string, version int) error {
	err := c.db.InTx(ctx, func(tx *store.Tx) error {
		r, err := selectRecord(ctx, tx, holder, dataset)
		if err != nil {
			return err
		}
		if r.Latest != version {
			return ErrChanged
		}
		d, err := selectVersion(ctx, tx, holder, dataset, version)
		if err != nil {
			return err
		}
		return c.publish(ctx, tx, actor, d, version)
	})
	return err
}

func (c *Catalogue) publish(ctx context.Context, tx *store.Tx, actor string, d *Description, version int) error {
	if broken := Validate(d); !Publishable(broken) {
		return &NotPublishable{broken}
	}
	now := c.clock.Now()
	if err := setPublished(ctx, tx, d.Holder, d.Dataset, version, now); err != nil {
		return err
	}
	return c.recordChange(ctx, tx, d.Holder, d.Dataset, Change{What: "published", Version: version, Actor: actor, At: now})
}

// Withdraw takes a dataset out of sight; its versions and history stay.
func (c *Catalogue) Withdraw(ctx context.Context, actor, holder, dataset string) error {
	return c.db.InTx(ctx, func(tx *store.Tx) error {
		r, err := selectRecord(ctx, tx, holder, dataset)
		if err != nil {
			return err
		}
		if !r.Visible() {
			return ErrUnknown
		}
		now := c.clock.Now()
		if err := setWithdrawn(ctx, tx, holder, dataset, now); err != nil {
			return err
		}
		return c.recordChange(ctx, tx, holder, dataset, Change{What: "withdrawn", Version: r.Published, Actor: actor, At: now})
	})
}

func (c *Catalogue) recordChange(ctx context.Context, tx *store.Tx, holder, dataset string, ch Change) error {
	if err := insertChange(ctx, tx, holder, dataset, ch); err != nil {
		return err
	}
	if err := c.enqueueIndex(ctx, tx, holder, dataset); err != nil {
		return err
	}
	return c.ledger.Record(ctx, tx, ledger.Entry{
		Actor: ch.Actor, Action: "catalogue." + ch.What, Target: holder + "/" + dataset, Outcome: "done",
		Details: map[string]any{"version": ch.Version}, At: ch.At,
	})
}

func (c *Catalogue) enqueueIndex(ctx context.Context, tx *store.Tx, holder, dataset string) error {
	return c.jobs.Insert(ctx, tx, jobIndexDataset, contract.NewID("index"), indexJob{Holder: holder, Dataset: dataset})
}

// OnNotice is the order book's hook: data of a dataset arrived. A dataset that nobody described is
// noted all the same; its figures show once it is.
func (c *Catalogue) OnNotice(ctx context.Context, tx *store.Tx, n contract.Notice) error {
	if n.Kind != "delivery" {
		return nil
	}
	var d contract.DeliveryNotice
	if err := json.Unmarshal(n.Body, &d); err != nil {
		return fmt.Errorf("delivery notice: %w", err)
	}
	return insertDelivery(ctx, tx, d, n.At)
}

// CodeList returns a code list by name, or ErrUnknown.
func (c *Catalogue) CodeList(ctx context.Context, name string) (*CodeList, error) {
	return selectCodeList(ctx, c.db, name)
}

// CodeListSizes tells which code lists are there and how many codes each has.
func (c *Catalogue) CodeListSizes(ctx context.Context) (map[string]int, error) {
	return selectCodeListSizes(ctx, c.db)
}

// SaveCodeList stores or replaces a code list.
func (c *Catalogue) SaveCodeList(ctx context.Context, l CodeList) error {
	if err := l.check(); err != nil {
		return err
	}
	return c.db.InTx(ctx, func(tx *store.Tx) error { return c.saveCodeLists(ctx, tx, l) })
}

func (c *Catalogue) saveCodeLists(ctx context.Context, tx *store.Tx, lists ...CodeList) error {
	var names []string
	for _, l := range lists {
		changed, err := upsertCodeList(ctx, tx, l)
		if err != nil {
			return fmt.Errorf("code list %s: %w", l.Name, err)
		}
		if changed {
			names = append(names, l.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return c.jobs.Insert(ctx, tx, jobIndexCodeLists, contract.NewID("index"), indexJob{Lists: names})
}

func (l CodeList) check() error {
	if !contract.ValidName(l.Name) || len(l.Codes) == 0 || len(l.Codes) > 200_000 {
		return contract.Refuse("invalid", "code list %q: a name of letters, digits, '_' and '-', and 1 to 200,000 codes", l.Name)
	}
	for _, c := range l.Codes {
		if c.Code == "" || len(c.Code) > 100 || len(c.Label) > 2000 {
			return contract.Refuse("invalid", "code list %s: code %q is empty or too long", l.Name, c.Code)
		}
	}
	return nil
}

func (l CodeList) labelled() bool {
	return slices.ContainsFunc(l.Codes, func(c Code) bool { return c.Label != "" })
}

// AddToBasket remembers a dataset for somebody's next application.
func (c *Catalogue) AddToBasket(ctx context.Context, account, holder, dataset string) error {
	if _, err := c.Published(ctx, holder, dataset); err != nil {
		return err
	}
	return addToBasket(ctx, c.db, account, holder, dataset, c.clock.Now())
}

// RemoveFromBasket forgets it again.
func (c *Catalogue) RemoveFromBasket(ctx context.Context, account, holder, dataset string) error {
	return removeFromBasket(ctx, c.db, account, holder, dataset)
}

// Basket lists what somebody chose and is still published.
func (c *Catalogue) Basket(ctx context.Context, account string) ([]*Entry, error) {
	pairs, err := selectBasket(ctx, c.db, account)
	if err != nil {
		return nil, err
	}
	var list []*Entry
	for _, p := range pairs {
		e, err := c.Published(ctx, p[0], p[1])
		if errors.Is(err, ErrUnknown) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}
