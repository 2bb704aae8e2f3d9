package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/clock"
)

// Stages of a delivery.
const (
	StageSplit = "split" // reading, checking and splitting the files; Bytes of the files
	StageSend  = "send"  // Bytes that arrived
	StageWait  = "wait"  // trust links, engine joins and publishes
)

// Progress says how far a stage has come. It is told from one goroutine at a time.
type Progress struct {
	Stage string
	Table string // in hand; "" for the identities
	Rows  int64  // since the stage began
	Bytes int64  // since the stage began
	Total int64  // bytes of the whole stage
	// Note is a plain sentence where there is something to say ("trust cannot be reached, trying again").
	Note string
}

// adder makes a teller of progress out of steps: it adds up within a stage and lets one goroutine in at a
// time.
func adder(tell func(Progress)) func(Progress) {
	var mu sync.Mutex
	var sum Progress
	return func(step Progress) {
		if tell == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if step.Stage != sum.Stage {
			sum = Progress{Stage: step.Stage}
		}
		sum.Rows += step.Rows
		sum.Bytes += step.Bytes
		sum.Total = max(sum.Total, step.Total)
		sum.Table, sum.Note = step.Table, step.Note
		tell(sum)
	}
}

// Report says what was delivered.
type Report struct {
	Delivery  string           `json:"delivery"`
	Holder    string           `json:"holder"`
	Dataset   string           `json:"dataset"`
	Persons   int64            `json:"persons"` // person records, each with a ticket
	Rows      map[string]int64 `json:"rows"`    // by table
	ToTrust   int64            `json:"to_trust_bytes"`
	ToEngine  int64            `json:"to_engine_bytes"`
	Resumed   bool             `json:"resumed,omitempty"`
	Published bool             `json:"published"`
	Columns   []Leaving        `json:"columns"`
}

// Leaving says where one column goes.
type Leaving struct {
	Table  string `json:"table"`
	Column string `json:"column"`
	Role   string `json:"role,omitempty"`
	To     string `json:"to"` // "engine", "trust", or "trust (as local number)"; a person key never goes to engine
}

// Deliver delivers the dataset once: it resumes an unfinished delivery, or else checks and splits the
// files, sends both halves and waits until engine has published them. The error is *FilesRefused when files are
// wrong, in which case nothing has been sent, and *DeliveryRefused when trust or engine refused the delivery.
func Deliver(ctx context.Context, cfg Config, progress func(Progress)) (Report, error) {
	progress = adder(progress)
	p, err := cfg.load()
	if err != nil {
		return Report{}, err
	}
	sp, found, err := openSpool(cfg.Spool, &p.schema, cfg.Delivery)
	if err != nil {
		return Report{}, fmt.Errorf("agent: %w", err)
	}
	defer sp.close()
	if !found {
		if err := split(ctx, &cfg, p, sp, progress); err != nil {
			return Report{}, errors.Join(err, sp.remove())
		}
	}
	report := sp.report(p)
	report.Resumed = found
	err = newSender(&cfg, sp, progress).send(ctx)
	var refused *DeliveryRefused
	if err != nil && !errors.As(err, &refused) {
		return report, fmt.Errorf("agent: delivery %s: %w", report.Delivery, err)
	}
	report.Published = err == nil
	// Published or refused, the split is of no more use; the next delivery has new tickets.
	return report, errors.Join(err, sp.remove())
}

// DryRun checks and splits the files as Deliver does, sends nothing, keeps nothing, and reports what would
// have left.
func DryRun(ctx context.Context, cfg Config, progress func(Progress)) (Report, error) {
	progress = adder(progress)
	p, err := cfg.load()
	if err != nil {
		return Report{}, err
	}
	sp, found, err := openSpool(cfg.Spool, &p.schema, cfg.Delivery)
	if err != nil {
		return Report{}, fmt.Errorf("agent: %w", err)
	}
	defer sp.close()
	if found { // the unfinished delivery is what would leave
		report := sp.report(p)
		report.Resumed = true
		return report, nil
	}
	err = split(ctx, &cfg, p, sp, progress)
	report := sp.report(p)
	return report, errors.Join(err, sp.remove())
}

func split(ctx context.Context, cfg *Config, p *plan, sp *spool, progress func(Progress)) error {
	now := clock.From(cfg.DemoClock).Now()
	var total int64
	for _, t := range p.tables {
		for _, path := range t.paths {
			info, err := os.Stat(path)
			if err != nil {
				return fmt.Errorf("agent: %w", err)
			}
			total += info.Size()
		}
	}
	s := &splitter{out: sp, total: total, found: &findings{}, now: now, progress: progress, byKey: map[string]uint32{}}
	if err := s.all(ctx, p); err != nil {
		return err
	}
	return sp.fix(s.issued, time.Now())
}

func (sp *spool) report(p *plan) Report {
	r := Report{Delivery: sp.state.Trust.ID, Holder: p.schema.Holder, Dataset: p.schema.Dataset, Persons: sp.state.Trust.Tickets, Rows: map[string]int64{}}
	for _, part := range sp.state.Trust.Parts {
		r.ToTrust += part.Bytes
	}
	for _, part := range sp.state.Engine.Parts {
		r.ToEngine += part.Bytes
		r.Rows[part.Table] += part.Rows
	}
	for _, t := range p.schema.Tables {
		kind := kindOf(&t)
		if kind != reference {
			r.Columns = append(r.Columns, Leaving{t.Name, ticketColumn, "random, of this delivery only", destination(kind)})
		}
		for _, c := range t.Columns {
			l := Leaving{t.Name, c.Name, string(c.Role), contract.ZoneEngine}
			switch {
			case c.Role == contract.RolePersonKey && kind == persons:
				l.To = contract.ZoneTrust + " (as local number)"
			case c.Role == contract.RolePersonKey:
				l.To = "nobody"
			case c.Role.Identity():
				l.To = contract.ZoneTrust
			}
			r.Columns = append(r.Columns, l)
		}
	}
	return r
}

func destination(k tableKind) string {
	if k == events {
		return contract.ZoneEngine
	}
	return contract.ZoneTrust + " and " + contract.ZoneEngine
}
