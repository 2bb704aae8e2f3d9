// Command provision measures step 9 of the journey, a permit becoming a project dataset, at national
// size, against the bare DuckDB SQL that does only the filtering join over the same lake. It makes the
// lake itself, by publishing a delivery through engine's own code:
//
//	go run ./bench/provision --people 1000000 --rows 100000000
//
// The goal: under 60 seconds on 2 cores for 1 million people, 100 million rows and a cohort of 1 %, and at
// most 1.5 times the bare SQL.
package main

import (
	"context"
	"crypto/aes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"
	"github.com/alecthomas/kong"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/feasibility"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/plan"
	"github.com/mitral-health/mitral/internal/engine/provision"
)

type options struct {
	People  int64  `default:"1000000" help:"Persons in the lake."`
	Rows    int64  `default:"100000000" help:"Event rows in the lake."`
	Dir     string `default:"bench-provision" help:"Working directory; a lake of the same size in it is used again."`
	Memory  string `default:"4GB" help:"DuckDB's memory limit."`
	Threads int    `help:"DuckDB's threads; 0 means one per processor."`
	Repeat  int    `default:"3" help:"How often both are run; medians are printed."`
	Profile string `help:"File for a CPU profile of the Go side."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Description("Measures provision against the bare DuckDB filtering join."))
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "provision:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	base := filepath.Join(o.Dir, fmt.Sprintf("%d-%d", o.People, o.Rows))
	l, err := lake.Open(filepath.Join(base, "lake"), filepath.Join(base, "tmp"), lake.Options{Memory: o.Memory, Threads: o.Threads})
	if err != nil {
		return err
	}
	snapshot, err := l.Snapshot()
	if err != nil {
		return err
	}
	if _, ok := snapshot.Dataset(holder, dataset); !ok {
		if snapshot, err = fill(ctx, o, base, l); err != nil {
			return err
		}
	}
	m, _ := snapshot.Dataset(holder, dataset)
	var rows int64
	for _, t := range m.Tables {
		rows += t.Rows
	}
	fmt.Printf("lake: %d persons, %d rows, %.1f GB\n", m.Persons, rows, float64(size(m))/1e9)
	permit := permitOf()
	if err := count(ctx, o, l, snapshot, permit); err != nil {
		return err
	}
	if o.Profile != "" {
		f, err := os.Create(o.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	resolved, err := plan.Provision(permit, snapshot)
	if err != nil {
		return err
	}
	var bare, ours []spent
	for i := range o.Repeat {
		work := filepath.Join(base, "work")
		if err := os.RemoveAll(work); err != nil {
			return err
		}
		b, err := measure(func() error { return filteringJoin(ctx, o, l.Dir(), resolved, filepath.Join(work, "bare")) })
		if err != nil {
			return err
		}
		var h *contract.Handover
		p, err := measure(func() error {
			h, err = project(ctx, o, l, snapshot, resolved, work)
			return err
		})
		if err != nil {
			return err
		}
		bare, ours = append(bare, b), append(ours, p)
		var out int64
		for _, t := range h.Report.Tables {
			out += t.RowsOut
		}
		fmt.Printf("run %d: bare SQL %s, provision %s (%d persons, %d rows delivered)\n", i+1, b, p, h.Report.Persons.Delivered, out)
	}
	b, p := median(bare), median(ours)
	fmt.Printf("median: bare SQL %s, provision %s; ratio %.2f by the clock, %.2f by processor time; %.1f million rows/s; peak memory %s; %d processors\n",
		b, p, p.clock.Seconds()/b.clock.Seconds(), p.processor.Seconds()/b.processor.Seconds(), float64(rows)/1e6/p.clock.Seconds(), peak(), runtime.NumCPU())
	return os.RemoveAll(filepath.Join(base, "work"))
}

// spent is what something took by the clock, and of the processors: on a machine that does other things
// too only the latter says much.
type spent struct{ clock, processor time.Duration }

func (s spent) String() string {
	return fmt.Sprintf("%.2f s (%.2f s of processor)", s.clock.Seconds(), s.processor.Seconds())
}

func measure(do func() error) (spent, error) {
	begun, used := time.Now(), processorTime()
	err := do()
	return spent{time.Since(begun), processorTime() - used}, err
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(s []spent) spent {
	clock, processor := make([]time.Duration, len(s)), make([]time.Duration, len(s))
	for i, v := range s {
		clock[i], processor[i] = v.clock, v.processor
	}
	slices.Sort(clock)
	slices.Sort(processor)
	return spent{clock[len(s)/2], processor[len(s)/2]}
}

// project is one provision as engine runs it, with vault's operation in this process.
func project(ctx context.Context, o options, l *lake.Lake, s *lake.Snapshot, resolved *plan.Plan, work string) (*contract.Handover, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return nil, err
	}
	run := &provision.Run{
		OrderID: "order-bench", Plan: resolved, Snapshot: s, LakeDir: l.Dir(), Recipient: id.Recipient().String(),
		Roll: func(context.Context) ([]byte, error) { return roll(o.People), nil },
		Pseudonyms: func(_ context.Context, ids []byte) ([]byte, error) {
			out := make([]byte, len(ids))
			for i := 0; i < len(ids); i += aes.BlockSize {
				block.Encrypt(out[i:], ids[i:])
			}
			return out, nil
		},
		Out: filepath.Join(work, "handover", resolved.Permit.ID, "order-bench"), Work: filepath.Join(work, "run"),
		Memory: o.Memory, Threads: o.Threads, Now: time.Now,
	}
	return run.Do(ctx)
}

// count measures a feasibility count over the same lake: the first, and one with other codes.
func count(ctx context.Context, o options, l *lake.Lake, s *lake.Snapshot, p *contract.Permit) error {
	c, err := feasibility.Open(ctx, l.Dir(), "1GB", o.Threads)
	if err != nil {
		return err
	}
	defer c.Close()
	standing := *p
	standing.Kind, standing.RoundTo, standing.Period = contract.PermitFeasibility, 10, p.Cohort.Period
	var said []string
	for _, codes := range [][]string{{"E11"}, {"E11", "B2"}, {"E11"}} {
		cohort := p.Cohort
		cohort.AnyOf = slices.Clone(cohort.AnyOf)
		cohort.AnyOf[0].Codes = codes
		resolved, err := plan.Feasibility(&standing, cohort, s)
		if err != nil {
			return err
		}
		begun := time.Now()
		a, err := c.Count(ctx, &standing, feasibility.Question{Snapshot: s.ID, Cohort: resolved, Digest: contract.Digest(strings.Join(codes, " ")), Roll: roll(o.People)})
		if err != nil {
			return err
		}
		said = append(said, fmt.Sprintf("%d persons in %d ms", a.Count, time.Since(begun).Milliseconds()))
	}
	fmt.Println("counts: first", said[0]+", other codes", said[1]+", the first again", said[2])
	return nil
}

func size(m *lake.Manifest) (n int64) {
	for _, t := range m.Tables {
		for _, f := range t.Files {
			n += f.Bytes
		}
	}
	return n
}

// peak is the largest resident memory of this process so far.
func peak() string {
	b, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, fs.ErrNotExist) {
		return "unknown"
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
