package orderbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// Kinds of notice.
const (
	NoticeDelivery   = "delivery"   // engine: contract.DeliveryNotice
	NoticeCheckpoint = "checkpoint" // every zone: contract.CheckpointNotice
)

// Notice stores a notice and runs the hooks; the same again changes nothing.
func (b *Book) Notice(ctx context.Context, zone string, n contract.Notice) error {
	if !contract.ValidName(n.ID) || n.At.IsZero() {
		return contract.Refuse("invalid", "notice: id %q", n.ID)
	}
	if n.Zone != zone {
		return contract.Refuse("forbidden", "notice: of zone %q, sent by %q", n.Zone, zone)
	}
	var head *ZoneCheckpoint
	switch n.Kind {
	case NoticeCheckpoint:
		c, err := parseCheckpoint(n)
		if err != nil {
			return err
		}
		head = &c
	case NoticeDelivery:
		var d contract.DeliveryNotice
		if err := json.Unmarshal(n.Body, &d); err != nil || !contract.ValidName(d.Holder) || !contract.ValidName(d.Dataset) {
			return contract.Refuse("invalid", "notice: not a delivery notice")
		}
		if zone != contract.ZoneEngine {
			return contract.Refuse("forbidden", "notice: only engine tells that data arrived")
		}
	default:
		return contract.Refuse("invalid", "notice: unknown kind %q", n.Kind)
	}
	doc, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return b.db.InTx(ctx, func(tx *store.Tx) error {
		if head != nil {
			return keepCheckpoint(ctx, tx, *head)
		}
		fresh, err := insertNotice(ctx, tx, n, string(doc))
		if err != nil || !fresh {
			return err
		}
		for _, h := range b.onNotice {
			if err := h(ctx, tx, n); err != nil {
				return fmt.Errorf("notice %s: %w", n.ID, err)
			}
		}
		return nil
	})
}

// keepCheckpoint adds a signed head to the zone's history. The portal is a witness here: the key does
// not change, the ledger does not shrink and has one root for each size.
func keepCheckpoint(ctx context.Context, tx *store.Tx, c ZoneCheckpoint) error {
	last, err := latestCheckpoint(ctx, tx, c.Zone)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return fmt.Errorf("checkpoint: %w", err)
	case last.VerifierKey != c.VerifierKey:
		return contract.Refuse("altered", "checkpoint: the ledger of %s is signed by another key than before", c.Zone)
	case last.Size == c.Size && last.Root != c.Root:
		return contract.Refuse("altered", "checkpoint: the ledger of %s has two roots for size %d", c.Zone, c.Size)
	case last.Size >= c.Size: // known, or an older head that arrives late
		return nil
	}
	if err := insertCheckpoint(ctx, tx, c); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// parseCheckpoint verifies a C2SP tlog-checkpoint: a signed note whose first three lines are origin,
// size and root.
func parseCheckpoint(n contract.Notice) (ZoneCheckpoint, error) {
	var body contract.CheckpointNotice
	if err := json.Unmarshal(n.Body, &body); err != nil {
		return ZoneCheckpoint{}, contract.Refuse("invalid", "checkpoint: not a checkpoint notice")
	}
	v, err := note.NewVerifier(body.VerifierKey)
	if err != nil {
		return ZoneCheckpoint{}, contract.Refuse("invalid", "checkpoint: verifier key cannot be read")
	}
	signed, err := note.Open([]byte(body.Checkpoint), note.VerifierList(v))
	if err != nil {
		return ZoneCheckpoint{}, contract.Refuse("bad_signature", "checkpoint: signature does not verify")
	}
	lines := strings.SplitN(signed.Text, "\n", 4)
	if len(lines) < 3 {
		return ZoneCheckpoint{}, contract.Refuse("invalid", "checkpoint: fewer than three lines")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return ZoneCheckpoint{}, contract.Refuse("invalid", "checkpoint: size %q", lines[1])
	}
	return ZoneCheckpoint{
		Zone: n.Zone, Size: size, Root: lines[2], VerifierKey: body.VerifierKey, Checkpoint: body.Checkpoint, At: n.At,
	}, nil
}

// Checkpoints returns the newest signed head of each inner zone that has sent one.
func (b *Book) Checkpoints(ctx context.Context) ([]ZoneCheckpoint, error) {
	var list []ZoneCheckpoint
	for _, zone := range innerZones {
		c, err := latestCheckpoint(ctx, b.db, zone)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("checkpoints: %w", err)
		}
		list = append(list, c)
	}
	return list, nil
}
