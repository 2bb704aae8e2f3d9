package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/plan"
	"github.com/mitral-health/mitral/internal/engine/provision"
)

// provision makes the project dataset of an order and returns the report that the portal may see.
func (m *Main) provision(ctx context.Context, o *order) (*contract.ProvisionReport, error) {
	// The permit may have run out, or its officer's enrolment, since the order was taken.
	permit, err := m.verify(o.document.Permit)
	if err != nil {
		return nil, err
	}
	if o.pointers == nil {
		now, err := m.lake.Snapshot()
		if err != nil {
			return nil, err
		}
		o.pointers = now.Pointers
	}
	// A run that is resumed sees the data that it began with, whatever was delivered meanwhile.
	if err := beginAttempt(ctx, m.db, o.id, o.pointers); err != nil {
		return nil, err
	}
	snapshot, err := m.lake.At(o.pointers)
	if err != nil {
		return nil, err
	}
	resolved, err := plan.Provision(permit, snapshot)
	if err != nil {
		return nil, err
	}
	to, err := m.recipient(ctx, *o.document.Permit)
	if err != nil {
		return nil, err
	}
	run := &provision.Run{
		OrderID: o.id, Plan: resolved, Snapshot: snapshot, LakeDir: m.lake.Dir(), Recipient: to,
		Roll: func(ctx context.Context) ([]byte, error) { return m.fetchRoll(ctx, *o.document.Permit, false) },
		Pseudonyms: func(ctx context.Context, ids []byte) ([]byte, error) {
			return m.pseudonyms(ctx, *o.document.Permit, ids)
		},
		Out: filepath.Join(m.cfg.Handover, permit.ID, o.id), Work: m.cfg.work(o.id),
		Memory: m.cfg.Memory, Threads: m.cfg.Threads, Now: m.clock.Now,
		Progress: func(done, total int) {
			m.tellProgress(ctx, o.id, fmt.Sprintf("tables-%d", done), contract.Receipt{Done: int64(done), Total: int64(total), Unit: "tables"})
		},
	}
	h, err := run.Do(ctx)
	if err != nil {
		return nil, err
	}
	report := provision.Protect(h.Report, permit.MinCell)
	return &report, nil
}

// tellProgress sends a progress receipt if the portal answers soon; the next one says more anyway.
func (m *Main) tellProgress(ctx context.Context, order, step string, r contract.Receipt) {
	r.ID, r.OrderID, r.Zone, r.Status, r.At = order+"-"+step, order, contract.ZoneEngine, contract.ReceiptProgress, m.clock.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // the job may be over before
	go func() {
		defer cancel()
		if err := m.book.PostReceipt(ctx, r); err != nil {
			m.log.Info("progress was not told", "order", order, "err", err)
		}
	}()
}

// reasonOf is what a receipt says about a fault: nothing of the inside.
func reasonOf(err error) string {
	if duck.DiskFull(err) {
		return "Engine's disk is full; its operator must make room."
	}
	return "Another zone could not be reached, or there is a fault inside engine; its operator finds it in the log."
}
