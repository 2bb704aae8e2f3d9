package main

import (
	"fmt"
	"os"
	"sync"
	"time"
)

// bar shows progress on standard error, on one line when that is a terminal and not at all otherwise.
type bar struct {
	mu    sync.Mutex
	unit  string
	tty   bool
	start time.Time
	last  time.Time
}

func newBar(unit string) *bar {
	info, err := os.Stderr.Stat()
	return &bar{unit: unit, tty: err == nil && info.Mode()&os.ModeCharDevice != 0, start: time.Now()}
}

// update shows done of total units; unit replaces the bar's own when it is not empty.
func (b *bar) update(done, total int64, unit string) {
	if !b.tty {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if done < total && now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	b.last = now
	if unit == "" {
		unit = b.unit
	}
	elapsed := now.Sub(b.start)
	if total <= 0 {
		fmt.Fprintf(os.Stderr, "\r\x1b[K%d %s  %s", done, unit, elapsed.Round(time.Second))
		return
	}
	left := ""
	if done > 0 && done < total {
		left = fmt.Sprintf("  %s left", time.Duration(float64(elapsed)*float64(total-done)/float64(done)).Round(time.Second))
	}
	const width = 30
	full := int(width * done / total)
	fmt.Fprintf(os.Stderr, "\r\x1b[K[%s%s] %3d %%  %d of %d %s%s", repeat('█', full), repeat('·', width-full), 100*done/total, done, total, unit, left)
}

// done ends the line.
func (b *bar) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tty && !b.last.IsZero() {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
}

func repeat(r rune, n int) string {
	out := make([]rune, max(n, 0))
	for i := range out {
		out[i] = r
	}
	return string(out)
}
