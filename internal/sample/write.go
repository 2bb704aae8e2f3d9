package sample

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// writeCSV writes one file per table. Workers make chunks and turn them into text; the texts are appended
// in the order of the chunks.
func (j *job) writeCSV(ctx context.Context, tables []*table, folders []string) error {
	files := make([]*os.File, len(tables))
	defer func() {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}()
	for i, t := range tables {
		f, err := os.OpenFile(filepath.Join(j.dir, folders[i], t.name+".csv"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		files[i] = f
		head := t.appendHeader(nil)
		if _, err := f.Write(head); err != nil {
			return err
		}
		j.bytes += int64(len(head))
	}
	turn := newTurnstile()
	stop := context.AfterFunc(ctx, turn.close)
	defer stop()
	whole := ctx
	g, ctx := errgroup.WithContext(whole)
	var next counter
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() (err error) {
			defer func() {
				if err != nil {
					turn.close()
				}
			}()
			w := newChunk(j.Seed, j.start, j.end)
			text := make([][]byte, len(tables))
			n := make([]int64, len(tables))
			for c := next.take(); c < j.chunks; c = next.take() {
				if err := ctx.Err(); err != nil {
					return err
				}
				first, want := j.span(c)
				w.reset()
				w.live(int64(c), first, want, j.orders[first-1:])
				for i, b := range w.all() {
					text[i], n[i] = b.appendCSV(text[i][:0]), int64(b.count())
				}
				if !turn.wait(c) {
					return whole.Err() // nil when another worker failed, whose error is the one to tell
				}
				for i, t := range text {
					if _, err := files[i].Write(t); err != nil {
						return err
					}
					j.bytes += int64(len(t)) // under the turnstile
				}
				turn.pass()
				j.finish(c, w, n)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, f := range files {
		if err := f.Sync(); err != nil {
			return err
		}
		files[i] = nil
		if err := f.Close(); err != nil {
			return err
		}
	}
	j.files += len(tables)
	return nil
}

// counter hands out chunk numbers.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) take() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return c.n - 1
}

// turnstile lets workers through one by one, in the order of their chunks.
type turnstile struct {
	mu     sync.Mutex
	cond   *sync.Cond
	next   int
	closed bool
}

func newTurnstile() *turnstile {
	t := &turnstile{}
	t.cond = sync.NewCond(&t.mu)
	return t
}

// wait returns true when it is n's turn, false when the work was given up.
func (t *turnstile) wait(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.next != n && !t.closed {
		t.cond.Wait()
	}
	return !t.closed
}

func (t *turnstile) pass() {
	t.mu.Lock()
	t.next++
	t.mu.Unlock()
	t.cond.Broadcast()
}

func (t *turnstile) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.cond.Broadcast()
}

// chunksPerPart is how many chunks go into one set of Parquet files: few enough that small countries use
// all processors, enough that large ones have few files. It depends on the options only.
func (j *job) chunksPerPart() int { return min(max(j.chunks/8, 1), 25) }

// writeParquet writes one file per table and part; a worker makes a part alone.
func (j *job) writeParquet(ctx context.Context, tables []*table, folders []string) error {
	size := j.chunksPerPart()
	parts := (j.chunks + size - 1) / size
	g, ctx := errgroup.WithContext(ctx)
	var next counter
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			w := newChunk(j.Seed, j.start, j.end)
			room := &columnRoom{}
			for p := next.take(); p < parts; p = next.take() {
				if err := j.writePart(ctx, w, room, p, size, tables, folders); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (j *job) writePart(ctx context.Context, w *chunk, room *columnRoom, part, size int, tables []*table, folders []string) error {
	files := make([]*parquetFile, len(tables))
	defer func() {
		for _, f := range files {
			if f != nil {
				f.file.Close()
			}
		}
	}()
	for i, t := range tables {
		f, err := createParquet(filepath.Join(j.dir, folders[i], fmt.Sprintf("%s-%03d.parquet", t.name, part)), t, room)
		if err != nil {
			return err
		}
		files[i] = f
	}
	all := w.all()
	n := make([]int64, len(tables))
	for c := part * size; c < min((part+1)*size, j.chunks); c++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.citizens, w.counts = nil, Counts{}
		for i, b := range all {
			n[i] = -int64(b.count())
		}
		first, want := j.span(c)
		w.live(int64(c), first, want, j.orders[first-1:])
		for i, b := range all {
			n[i] += int64(b.count())
			if b.count() >= rowGroupRows {
				if err := files[i].write(b); err != nil {
					return err
				}
				b.reset()
			}
		}
		j.finish(c, w, n)
	}
	for i, b := range all {
		if err := files[i].write(b); err != nil {
			return err
		}
		b.reset()
		size, err := files[i].close()
		if err != nil {
			return err
		}
		files[i] = nil
		j.mu.Lock()
		j.bytes += size
		j.files++
		j.mu.Unlock()
	}
	return nil
}
