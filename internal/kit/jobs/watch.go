package jobs

import (
	"context"
	"sync"
	"time"
)

// watchEvery is how often lost jobs are looked for.
const watchEvery = time.Minute

// running knows the jobs that this process is working on.
type running struct {
	mu   sync.Mutex
	jobs map[int64]bool
}

// begin notes that a job is being worked on until the function it returns is called.
func (r *running) begin(id int64) (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.jobs == nil {
		r.jobs = map[int64]bool{}
	}
	r.jobs[id] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.jobs, id)
	}
}

func (r *running) has(id int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.jobs[id]
}

// watch frees jobs whose end could not be written, because the database was away or its disk full at that
// moment: they are marked as running and nobody works on them. Since one process serves a database, that
// is certain when it holds at two looks in a row. It returns the function that ends the watch.
func (c *Client) watch(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(c.watchEvery)
		defer tick.Stop()
		suspects := map[int64]bool{}
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			suspects = c.look(ctx, suspects)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// look frees those of the suspects that are still marked as running, and returns the new suspects.
func (c *Client) look(ctx context.Context, suspects map[int64]bool) map[int64]bool {
	marked, err := markedRunning(ctx, c.db)
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("jobs: looking for lost jobs", "err", err)
		}
		return suspects
	}
	next := map[int64]bool{}
	for _, id := range marked {
		switch {
		case c.now.has(id):
		case !suspects[id]:
			next[id] = true
		default:
			c.log.Warn("jobs: a job was lost and runs again", "id", id)
			if err := free(ctx, c.db, id); err != nil {
				c.log.Warn("jobs: freeing a lost job", "id", id, "err", err)
				next[id] = true
			}
		}
	}
	return next
}
