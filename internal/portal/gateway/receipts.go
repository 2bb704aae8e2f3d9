package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

func unmarshal(raw json.RawMessage, into any) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// OnReceipt is the order book's hook. News of orders that this room did not give change nothing. Progress
// is kept as the latest word of each order; an order's end is an event of its case.
func (g *Gateway) OnReceipt(ctx context.Context, tx *store.Tx, r contract.Receipt) error {
	stream, err := orderStream(ctx, tx, r.OrderID)
	if errors.Is(err, ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := saveProgress(ctx, tx, stream, r); err != nil {
		return err
	}
	if !r.Status.Final() {
		return nil
	}
	d := OrderAnswered{OrderID: r.OrderID, Zone: r.Zone, Status: r.Status, Code: r.Code, Message: r.Message}
	kind := KindOrderFailed
	if r.Status == contract.ReceiptDone {
		switch r.Zone {
		case contract.ZoneEngine:
			kind, d.Report = KindProvisioned, new(contract.ProvisionReport)
			err = unmarshal(r.Body, d.Report)
		case contract.ZoneEnclave:
			kind, d.Workspace = KindOpened, new(contract.WorkspaceOpened)
			err = unmarshal(r.Body, d.Workspace)
		default:
			err = contract.Refuse("invalid", "receipt of zone %s for an order it was not given", r.Zone)
		}
		if err != nil {
			return err
		}
	}
	return g.fromZone(ctx, tx, stream, r.Zone, kind, d)
}

// OnExport is the order book's hook for released files.
func (g *Gateway) OnExport(ctx context.Context, tx *store.Tx, e contract.Export) error {
	stream, err := permitStream(ctx, tx, e.PermitID)
	if errors.Is(err, ErrUnknown) {
		return contract.Refuse("out_of_scope", "export %s is of a permit that this portal never issued", e.ID)
	}
	if err != nil {
		return err
	}
	return g.fromZone(ctx, tx, stream, contract.ZoneEnclave, KindReleased, Released{e})
}

// fromZone appends an event that an inner zone has caused.
func (g *Gateway) fromZone(ctx context.Context, tx *store.Tx, stream, zone string, kind Kind, data any) error {
	stored, err := loadStream(ctx, tx, stream)
	if err != nil {
		return err
	}
	return g.write(ctx, tx, zone, stream, stored, []Event{newEvent(kind, Actor{ID: zone}, "zone", g.o.Clock.Now(), data)})
}

// Progress returns the latest word on each order of a case.
func (g *Gateway) Progress(ctx context.Context, a *Application) ([]contract.Receipt, error) {
	return loadProgress(ctx, g.o.DB, a.ID)
}

// Permit returns a signed permit by its id, for those who may read its case or mandate.
func (g *Gateway) Permit(ctx context.Context, u Actor, id string) (*contract.SignedPermit, error) {
	stream, err := permitStream(ctx, g.o.DB, id)
	if err != nil {
		return nil, err
	}
	a, err := g.Case(ctx, u, stream)
	if err == nil {
		return &a.Signed.Signed, nil
	}
	if !errors.Is(err, ErrUnknown) {
		return nil, err
	}
	m, err := g.Mandate(ctx, u, stream)
	if err != nil {
		return nil, err
	}
	return &m.Signed.Signed, nil
}
