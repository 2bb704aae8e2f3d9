package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// maxOrder and maxHandover bound documents that another zone wrote, in bytes.
const (
	maxOrder    = 4 << 20
	maxHandover = 64 << 20
)

// Take handles one order of the order book (orderpoll.Handler). What the portal sends is only believed as
// far as the permit inside is signed. An order is taken once: seen again it changes nothing; seen with
// other content it is refused.
func (s *Service) Take(ctx context.Context, seq int64, raw json.RawMessage) error {
	var o contract.Order
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil || len(raw) > maxOrder || o.ID == "" {
		// Without an id there is nobody to answer; the ledger keeps what happened.
		return s.DB.InTx(ctx, func(tx *store.Tx) error {
			return s.record(ctx, tx, "portal", "order.refused", fmt.Sprintf("order book %d", seq), "invalid", nil)
		})
	}
	canonical, err := contract.Canonical(o)
	if err != nil {
		return fmt.Errorf("order %s: %w", o.ID, err)
	}
	digest := contract.DigestOf(canonical)
	known, err := s.order(ctx, s.DB, o.ID)
	switch {
	case err == nil:
		return s.again(ctx, known, digest)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	permit, err := s.permitOf(o)
	var refusal *contract.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return err // the roll could not be read: the order comes again
	}
	return s.DB.InTx(ctx, func(tx *store.Tx) error {
		if refusal != nil {
			return s.refuseOrder(ctx, tx, o, digest, refusal)
		}
		return s.accept(ctx, tx, o, digest, permit)
	})
}

// again deals with an order that was seen before.
func (s *Service) again(ctx context.Context, known *order, digest contract.Digest) error {
	if known.Digest != digest {
		return s.DB.InTx(ctx, func(tx *store.Tx) error {
			return s.record(ctx, tx, "portal", "order.refused", known.ID, "replayed", map[string]any{"why": "the same number with other content"})
		})
	}
	if known.Receipt == nil {
		return nil // being carried out
	}
	return s.Book.PostReceipt(ctx, known.Receipt)
}

// permitOf verifies what authorises the order.
func (s *Service) permitOf(o contract.Order) (*contract.Permit, error) {
	switch {
	case o.Schema != contract.OrderSchema || o.Zone != contract.ZoneEnclave || o.Kind != contract.OrderWorkspace:
		return nil, contract.Refuse("invalid", "the enclave takes orders of kind %s only", contract.OrderWorkspace)
	case o.Permit == nil:
		return nil, contract.Refuse("unsigned", "the order carries no permit")
	case len(o.Body) > 0 && string(o.Body) != "null":
		return nil, contract.Refuse("invalid", "an order for a workspace has no body")
	}
	roll, err := s.Roll.Roll()
	if err != nil {
		return nil, err
	}
	p, err := contract.VerifyPermit(*o.Permit, roll, s.Clock.Now())
	if err != nil {
		return nil, err
	}
	switch {
	case p.Kind != contract.PermitData:
		return nil, contract.Refuse("out_of_scope", "a permit of kind %s opens no workspace", p.Kind)
	case !contract.ValidName(p.ID): // it becomes a directory
		return nil, contract.Refuse("invalid", "the permit's id cannot name a directory")
	case len(p.Persons) == 0:
		return nil, contract.Refuse("invalid", "the permit names nobody who may work")
	case p.Reviewers < 1:
		return nil, contract.Refuse("invalid", "the permit does not say how many persons review an export")
	}
	return p, nil
}

func (s *Service) refuseOrder(ctx context.Context, tx *store.Tx, o contract.Order, digest contract.Digest, why *contract.Refusal) error {
	if err := s.insertOrder(ctx, tx, o.ID, digest, ""); err != nil {
		return err
	}
	if err := s.record(ctx, tx, "portal", "order.refused", o.ID, why.Code, map[string]any{"reason": why.Reason}); err != nil {
		return err
	}
	return s.finish(ctx, tx, contract.Receipt{ID: o.ID + "-final", OrderID: o.ID, Zone: contract.ZoneEnclave, Status: contract.ReceiptRefused,
		At: s.Clock.Now(), Code: why.Code, Message: why.Reason})
}

// accept makes a workspace that waits for its data, or puts a newer version of the permit under one.
func (s *Service) accept(ctx context.Context, tx *store.Tx, o contract.Order, digest contract.Digest, p *contract.Permit) error {
	permitDigest, err := contract.PermitDigest(p)
	if err != nil {
		return err
	}
	w := &Workspace{ID: WorkspaceID(p.ID), Permit: *p, Signed: *o.Permit, Digest: permitDigest, OrderID: o.ID}
	old, err := s.workspace(ctx, tx, w.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = s.insertWorkspace(ctx, tx, w)
	case err != nil:
	case old.Permit.Version >= p.Version:
		return s.refuseOrder(ctx, tx, o, digest, &contract.Refusal{Code: "replayed", Reason: "this version of the permit, or a newer one, has opened a workspace already"})
	default:
		err = s.renew(ctx, tx, w)
	}
	if err != nil {
		return err
	}
	if err := s.insertOrder(ctx, tx, o.ID, digest, w.ID); err != nil {
		return err
	}
	if err := s.record(ctx, tx, "portal", "order.accepted", o.ID, "ok", map[string]any{"permit": string(permitDigest)}); err != nil {
		return err
	}
	return s.outbox(ctx, tx, contract.Receipt{ID: o.ID + "-accepted", OrderID: o.ID, Zone: contract.ZoneEnclave, Status: contract.ReceiptAccepted,
		At: s.Clock.Now(), Message: "The permit is valid. The workspace opens when the data have arrived."})
}

// WorkspaceID is the id of the workspace of a permit.
func WorkspaceID(permit string) string { return "ws-" + strings.TrimPrefix(permit, "permit-") }

// Watch opens waiting workspaces when their handover is complete and closes those whose permit is no
// longer in force. It returns when ctx is over.
func (s *Service) Watch(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failed := map[string]time.Time{} // workspace → not before
	for {
		all, err := s.workspaces(ctx)
		if err != nil && ctx.Err() == nil {
			s.Log.Error("workspaces cannot be read", "err", err)
		}
		for _, w := range all {
			if w.State == StateClosed || time.Now().Before(failed[w.ID]) {
				continue
			}
			if err := s.advance(ctx, w); err != nil && ctx.Err() == nil {
				// A full disk or an unreadable roll: nothing was changed, and it is tried again.
				s.Log.Error("workspace: will try again", "workspace", w.ID, "err", err)
				failed[w.ID] = time.Now().Add(10 * time.Second)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// advance does what is due for one workspace.
func (s *Service) advance(ctx context.Context, w *Workspace) error {
	var refusal *contract.Refusal
	if err := s.inForce(w); errors.As(err, &refusal) {
		return s.closeFor(ctx, w, refusal)
	} else if err != nil {
		return err
	}
	if w.State != StateWaiting {
		return nil
	}
	h, dir, err := s.findHandover(w)
	if err != nil || h == nil {
		return err
	}
	if err := s.receive(ctx, w, h, dir); errors.As(err, &refusal) {
		return s.closeFor(ctx, w, refusal)
	} else if err != nil {
		return err
	}
	return nil
}

// findHandover looks for the complete handover of exactly this permit. There is none until engine has
// written handover.json, which it does last.
func (s *Service) findHandover(w *Workspace) (*contract.Handover, string, error) {
	base := filepath.Join(s.Handover, w.Permit.ID)
	entries, err := os.ReadDir(base)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	var best *contract.Handover
	var dir string
	for _, e := range entries {
		if !e.IsDir() || !contract.ValidName(e.Name()) {
			continue
		}
		h, err := readHandover(filepath.Join(base, e.Name(), "handover.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			s.Log.Warn("handover cannot be read", "workspace", w.ID, "err", err)
			continue
		}
		if h.PermitID != w.Permit.ID || h.Report.PermitDigest != w.Digest || h.OrderID != e.Name() {
			continue // of another version of the permit
		}
		if best == nil || h.Report.FinishedAt.After(best.Report.FinishedAt) {
			best, dir = h, filepath.Join(base, e.Name())
		}
	}
	return best, dir, nil
}

func readHandover(path string) (*contract.Handover, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dec := json.NewDecoder(io.LimitReader(f, maxHandover))
	dec.DisallowUnknownFields()
	var h contract.Handover
	if err := dec.Decode(&h); err != nil {
		return nil, err
	}
	if h.Schema != "mitral.handover/1" {
		return nil, fmt.Errorf("handover of schema %q", h.Schema)
	}
	return &h, nil
}

// receive copies the sealed files into the workspace, checking each, and opens it. Interrupted at any
// instant it starts over; the workspace shows either all files or none.
func (s *Service) receive(ctx context.Context, w *Workspace, h *contract.Handover, dir string) error {
	part := filepath.Join(s.dir(w.ID), "data.part")
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.MkdirAll(part, 0o700); err != nil {
		return err
	}
	for _, f := range h.Files {
		if err := inScope(&w.Permit, f.Name); err != nil {
			return err
		}
		if err := copySealed(filepath.Join(part, f.Name+".age"), filepath.Join(dir, f.Name+".age"), f.SealedDigest); err != nil {
			return err
		}
	}
	data := filepath.Join(s.dir(w.ID), "data")
	if err := os.RemoveAll(data); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(s.dir(w.ID), "persons.age")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncDir(part); err != nil {
		return err
	}
	if err := os.Rename(part, data); err != nil {
		return err
	}
	if err := syncDir(s.dir(w.ID)); err != nil {
		return err
	}
	opened, err := json.Marshal(contract.WorkspaceOpened{WorkspaceID: w.ID, PermitID: w.Permit.ID, URL: s.URL})
	if err != nil {
		return err
	}
	now := s.Clock.Now()
	return s.DB.InTx(ctx, func(tx *store.Tx) error {
		first, err := s.setOpen(ctx, tx, w, h, now)
		if err != nil || !first {
			return err
		}
		if err := s.record(ctx, tx, "enclave", "workspace.opened", w.ID, "ok", map[string]any{"permit": string(w.Digest), "data": string(h.Report.Digest)}); err != nil {
			return err
		}
		return s.finish(ctx, tx, contract.Receipt{ID: w.OrderID + "-final", OrderID: w.OrderID, Zone: contract.ZoneEnclave,
			Status: contract.ReceiptDone, At: now, Message: "The workspace is open.", Body: opened})
	})
}

// inScope accepts "<dataset>.<table>.parquet" of a table that the permit names; the name becomes a path.
func inScope(p *contract.Permit, name string) error {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || parts[2] != "parquet" || !contract.ValidName(parts[0]) || !contract.ValidName(parts[1]) {
		return contract.Refuse("invalid", "the handover has a file with a bad name")
	}
	for _, d := range p.Datasets {
		if d.Dataset != parts[0] {
			continue
		}
		for _, t := range d.Tables {
			if t.Table == parts[1] {
				return nil
			}
		}
	}
	return contract.Refuse("out_of_scope", "the handover has table %s of dataset %s, which the permit does not name", parts[1], parts[0])
}

// copySealed copies src to dst and checks the digest of what it copied.
func copySealed(dst, src string, want contract.Digest) error {
	in, err := os.Open(src)
	if errors.Is(err, fs.ErrNotExist) {
		return contract.Refuse("altered", "a file that the handover names is missing")
	}
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	got, err := digestCopy(out, in)
	if err != nil {
		return err
	}
	if got != want {
		return contract.Refuse("altered", "a sealed file of the handover has another digest than announced")
	}
	return errors.Join(out.Sync(), out.Close())
}

// closeFor closes a workspace for a reason: running jobs are stopped, and an order that still waited gets
// its final receipt.
func (s *Service) closeFor(ctx context.Context, w *Workspace, why *contract.Refusal) error {
	now := s.Clock.Now()
	err := s.DB.InTx(ctx, func(tx *store.Tx) error {
		first, err := s.setClosed(ctx, tx, w.ID, why.Code, now)
		if err != nil || !first {
			return err
		}
		if err := s.record(ctx, tx, "enclave", "workspace.closed", w.ID, why.Code, nil); err != nil {
			return err
		}
		if w.State != StateWaiting {
			return nil
		}
		return s.finish(ctx, tx, contract.Receipt{ID: w.OrderID + "-final", OrderID: w.OrderID, Zone: contract.ZoneEnclave,
			Status: contract.ReceiptFailed, At: now, Code: why.Code, Message: why.Reason})
	})
	if err != nil {
		return err
	}
	jobs, err := s.jobsOf(ctx, w.ID)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if !j.Final() {
			s.stop(j.ID)
		}
	}
	return nil
}
