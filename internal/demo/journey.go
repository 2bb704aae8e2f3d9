package demo

import (
	"context"
	"fmt"
	"io"
	"time"
)

// walk is one unattended journey: what a step learns and a later one needs.
type walk struct {
	h        *Hub
	out      io.Writer // table for people; nil for none
	datasets []*dataset

	persons     int64 // person records delivered
	objector    Citizen
	applicant   *Client // at the portal
	researcher  *Client // at the enclave
	application string
	permit      string
	workspace   string
	small, safe string // jobs whose tables are asked out
	export      string
	released    string // name of the released file
}

// result is what a step did; Border and Verified are in words.
type result struct {
	border, verified       string
	documents, rows, bytes int64
	// seconds replaces the step's own time where the work of several steps overlaps (deliveries).
	seconds float64
}

type step struct {
	name, actor string
	run         func(*walk, context.Context) (result, error)
}

// preparation are the steps that a person finds done: data are there before anybody asks for them.
var preparation = []step{
	{"Describe the datasets", "holders, operator", (*walk).describe},
	{"Split files and send both halves", "agents of the holders", (*walk).deliver},
	{"Link persons, derive hub pseudonyms", "trust", (*walk).link},
	{"Join, drop tickets, publish the lake", "engine", (*walk).publish},
}

// journey are the steps that a person walks by hand in a demonstration.
var journey = []step{
	{"Object to the use of one's data", "citizen, trust", (*walk).object},
	{"Search, read variables, ask for a count", "researcher, engine", (*walk).explore},
	{"Apply; completeness, opinion, decision", "researcher, officials", (*walk).apply},
	{"Sign the permit", "deciding officer", (*walk).sign},
	{"Select, minimise, pseudonymise, seal", "engine, trust, vault", (*walk).provision},
	{"Compute in the sandbox", "researcher, enclave", (*walk).compute},
	{"Check, review, release a table", "2 reviewers, enclave", (*walk).release},
	{"Register shows it; ledgers are proven", "public, auditor", (*walk).prove},
}

// Walk goes the whole journey and verifies each step. A hub that was seeded before repeats only what a
// person would: its data are delivered already, and the report says so.
func (h *Hub) Walk(ctx context.Context, out io.Writer) *Report {
	w := &walk{h: h, out: out}
	steps := append(append([]step{}, preparation...), journey...)
	if h.state.Delivered {
		steps = journey
	}
	r := w.walk(ctx, steps, len(preparation)+len(journey)-len(steps))
	r.PeakMemory = h.peaks()
	return r
}

// Seed does what a person who walks by hand finds done already.
func (h *Hub) Seed(ctx context.Context) error {
	if h.state.Delivered {
		return nil
	}
	h.opts.Say("The holders describe and deliver their data")
	r := (&walk{h: h}).walk(ctx, preparation, 0)
	if !r.Passed {
		return fmt.Errorf("%s", r.Failure)
	}
	return nil
}

func (w *walk) walk(ctx context.Context, steps []step, before int) *Report {
	r := &Report{People: w.h.state.People, Started: time.Now().UTC()}
	var err error
	if w.datasets, err = w.h.datasets(); err != nil {
		r.Failure = err.Error()
		return r
	}
	if w.out != nil {
		writeHeader(w.out)
	}
	for i, s := range steps {
		start := time.Now()
		w.h.opts.Say("%s", s.name)
		res, err := s.run(w, ctx)
		if err != nil {
			r.Failure = fmt.Sprintf("step %d, %s: %v", before+i+1, s.name, err)
			if w.out != nil {
				fmt.Fprintf(w.out, "     ✗ %s\n", r.Failure)
			}
			break
		}
		if res.seconds == 0 {
			res.seconds = time.Since(start).Seconds()
		}
		line := Step{Number: before + i + 1, Name: s.name, Actor: s.actor, Border: res.border, Documents: res.documents, Rows: res.rows, Bytes: res.bytes,
			Seconds: res.seconds, Verified: res.verified}
		r.Steps = append(r.Steps, line)
		if w.out != nil {
			writeStep(w.out, line)
		}
		if i+1 == len(preparation) && before == 0 {
			w.h.state.Delivered = true
			if err := w.h.save(); err != nil {
				r.Failure = err.Error()
				return r
			}
		}
	}
	r.Seconds = time.Since(r.Started).Seconds()
	r.Passed = r.Failure == "" && len(r.Steps) == len(steps)
	if w.out != nil && r.Passed {
		fmt.Fprintf(w.out, "\n%d steps in %.1f s, each verified.\n", len(r.Steps), r.Seconds)
	}
	return r
}
