// Package feasibility counts how many persons a cohort has, and protects the count before anybody sees it.
// Engine calls it with a cohort that plan has resolved under a standing permit. It must never return an
// unprotected count, nor anything about a single person.
package feasibility

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/plan"
)

// Counter counts over one lake. Safe for concurrent use.
type Counter struct {
	db *duck.DB

	mu   sync.RWMutex // held for reading during a count, for writing while the roll is exchanged
	roll contract.Digest

	cacheMu sync.Mutex
	cache   map[string]int64
}

// cacheMax bounds the remembered counts; beyond it all are forgotten.
const cacheMax = 10_000

// Open opens a counter over the lake's directory. The hub pseudonyms of those who objected are held in
// its memory only.
func Open(ctx context.Context, lakeDir, memory string, threads int) (*Counter, error) {
	db, err := duck.Open(ctx, duck.Options{
		Dirs: []string{lakeDir}, Memory: memory, Threads: threads,
		// What is published never changes, so footers of files are read once.
		Prepare: []string{"SET parquet_metadata_cache = true", "SET preserve_insertion_order = false"},
	})
	if err != nil {
		return nil, err
	}
	c := &Counter{db: db, cache: map[string]int64{}}
	if err := c.createObjectors(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return c, nil
}

// Close releases the database.
func (c *Counter) Close() { c.db.Close() }

// Question is a cohort on a state of the data: the same question has the same answer.
type Question struct {
	Snapshot string // id of the lake's snapshot
	Cohort   *plan.Cohort
	// Digest is of the cohort as it was asked.
	Digest contract.Digest
	// Roll are the hub pseudonyms of those who have objected, 16 bytes each.
	Roll []byte
}

// Count counts the distinct persons of the cohort who have not objected, and protects the count by the
// permit's rules.
func (c *Counter) Count(ctx context.Context, p *contract.Permit, q Question) (*contract.FeasibilityAnswer, error) {
	if p.RoundTo < 1 {
		return nil, contract.Refuse("invalid", "round_to: a permit for counts says what they are rounded to")
	}
	begun := time.Now()
	n, err := c.count(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("feasibility: %w", err)
	}
	answer := Protect(n, p.MinCell, p.RoundTo)
	answer.Millis = time.Since(begun).Milliseconds()
	return &answer, nil
}

// Protect hides a count below minCell, zero too, and rounds any other to the nearest multiple of roundTo.
func Protect(n int64, minCell, roundTo int) contract.FeasibilityAnswer {
	a := contract.FeasibilityAnswer{
		MinCell: minCell, RoundTo: roundTo,
		Rule: fmt.Sprintf("Persons who objected are not counted. Counts under %d are hidden; others are rounded to the nearest %d.", minCell, roundTo),
	}
	if n < int64(minCell) {
		a.Hidden = true
		return a
	}
	base := int64(roundTo)
	a.Count = (n + base/2) / base * base
	return a
}

func (c *Counter) count(ctx context.Context, q Question) (int64, error) {
	roll := contract.DigestOf(q.Roll)
	key := q.Snapshot + " " + string(roll) + " " + string(q.Digest)
	c.cacheMu.Lock()
	n, ok := c.cache[key]
	c.cacheMu.Unlock()
	if ok {
		return n, nil
	}
	n, err := c.persons(ctx, q, roll)
	if err != nil {
		return 0, err
	}
	c.cacheMu.Lock()
	defer c.cacheMu.Unlock()
	if len(c.cache) >= cacheMax {
		clear(c.cache)
	}
	c.cache[key] = n
	return n, nil
}
