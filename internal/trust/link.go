package trust

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/trust/identity"
	"github.com/mitral-health/mitral/internal/trust/linkage"
	"github.com/mitral-health/mitral/internal/trust/pseudonym"
)

// jobLink links one delivery.
const jobLink = "trust.link"

type linkPayload struct {
	Delivery string `json:"delivery"`
}

// linkJob turns a complete delivery into a sealed sheet. All that it decides takes effect in one transaction with
// the delivery's new status: killed before, it starts again as if it had never begun; killed after, there is
// nothing left to do. Persons and sheet are written first, where nobody sees them until that transaction names
// them.
func (m *Main) linkJob(ctx context.Context, raw json.RawMessage) error {
	var p linkPayload
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	d, err := m.deliveries.get(ctx, m.db, p.Delivery)
	if err != nil {
		return err
	}
	if d.status == statusLinking {
		err = m.link(ctx, d)
		var refusal *contract.Refusal
		if errors.As(err, &refusal) {
			err = m.refuseDelivery(ctx, d, refusal)
		}
		if err != nil {
			return fmt.Errorf("link %s: %w", d.id, err)
		}
	}
	// The identities as they came are not needed any more: what links is kept with the persons.
	uploads := m.uploadsOf(d.id)
	uploads.Lock()
	defer uploads.Unlock()
	return os.RemoveAll(m.cfg.incoming(d.id))
}

func (m *Main) refuseDelivery(ctx context.Context, d delivery, why *contract.Refusal) error {
	return m.db.InTx(ctx, func(tx *store.Tx) error {
		d.status, d.reason = statusRefused, why.Reason
		if err := m.deliveries.update(ctx, tx, d, m.clock.Now()); err != nil {
			return err
		}
		return m.ledger.Record(ctx, tx, ledger.Entry{Actor: "trust", Action: "delivery.link", Target: d.id, Outcome: "refused",
			At: m.clock.Now(), Details: map[string]any{"code": why.Code}})
	})
}

func (m *Main) link(ctx context.Context, d delivery) error {
	var man contract.Delivery
	if err := json.Unmarshal([]byte(d.manifest), &man); err != nil {
		return err
	}
	snap, err := m.persons.Load(ctx)
	if err != nil {
		return err
	}
	batch := snap.NewBatch(d.holder+"/"+d.dataset, int(man.Tickets))
	tickets, err := m.readParts(ctx, &man, batch)
	if err != nil {
		return err
	}
	persons, report := batch.Link()
	sheet, err := m.writeSheet(d.id, tickets, report, func(i int) linkage.Number { return snap.Number(persons[i]) })
	if err != nil {
		return err
	}
	if err := m.persons.Stage(ctx, snap, d.id, m.clock.Now()); err != nil {
		return err
	}
	var old []string
	err = m.db.InTx(ctx, func(tx *store.Tx) (err error) {
		now := m.clock.Now()
		if err := m.persons.Commit(ctx, tx, snap); err != nil {
			return err
		}
		d.status, d.sheet = statusLinked, sheet
		if err := m.deliveries.update(ctx, tx, d, now); err != nil {
			return err
		}
		if old, err = m.deliveries.supersede(ctx, tx, d); err != nil {
			return err
		}
		return m.ledger.Record(ctx, tx, ledger.Entry{Actor: "trust", Action: "delivery.link", Target: d.id, Outcome: "done", At: now,
			Details: map[string]any{"dataset": d.holder + "/" + d.dataset, "epoch": pseudonym.Epoch}})
	})
	if err != nil {
		// The sheet stays until the next start: a commit whose answer was lost may still name it.
		return err
	}
	for _, f := range old {
		if err := os.Remove(filepath.Join(m.cfg.sheets(), f)); err != nil && !errors.Is(err, os.ErrNotExist) {
			m.log.Warn("a superseded sheet stays", "err", err)
		}
	}
	return nil
}

type ticket [contract.TicketSize]byte

// readParts reads all parts in the order of the manifest into the batch. Parsing and normalising run in
// one goroutine, encoding in another.
func (m *Main) readParts(ctx context.Context, man *contract.Delivery, batch *linkage.Batch) ([]ticket, error) {
	type record struct {
		ticket ticket
		traits identity.Traits
	}
	const chunk = 1024
	var g errgroup.Group
	chunks := make(chan []record, 8)
	g.Go(func() error {
		defer close(chunks)
		now := m.clock.Now()
		buf := make([]record, 0, chunk)
		for _, p := range man.Parts {
			f, err := os.Open(filepath.Join(m.cfg.incoming(man.ID), partFile(string(p.Digest))))
			if err != nil {
				return err
			}
			rows, err := readIdentities(p.Name, f, func(id *contract.Identity) error {
				buf = append(buf, record{ticket(id.Ticket), identity.Normalise(id, now)})
				if len(buf) == chunk {
					chunks <- buf
					buf = make([]record, 0, chunk)
				}
				return ctx.Err()
			})
			if err := errors.Join(err, f.Close()); err != nil {
				return err
			}
			if rows != p.Rows {
				return badPart(p.Name, rows, "the manifest says %d rows, the part has %d", p.Rows, rows)
			}
		}
		chunks <- buf
		return nil
	})
	tickets := make([]ticket, 0, man.Tickets)
	seen := make(map[ticket]struct{}, man.Tickets)
	for records := range chunks {
		for i := range records {
			tickets = append(tickets, records[i].ticket)
			seen[records[i].ticket] = struct{}{}
			batch.Add(&records[i].traits)
		}
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if len(seen) != len(tickets) {
		return nil, contract.Refuse("invalid", "%d tickets occur more than once", len(tickets)-len(seen))
	}
	if int64(len(tickets)) != man.Tickets {
		return nil, contract.Refuse("invalid", "the manifest says %d person records, the parts have %d", man.Tickets, len(tickets))
	}
	return tickets, nil
}

// writeSheet writes ticket → hub pseudonym, sorted by ticket and sealed to engine, and returns the name of
// the file, which is new each time.
func (m *Main) writeSheet(delivery string, tickets []ticket, report contract.LinkReport, number func(i int) linkage.Number) (name string, err error) {
	text, err := os.ReadFile(m.cfg.EngineRecipientFile)
	if err != nil {
		return "", fmt.Errorf("engine's recipient: %w", err)
	}
	recipient, err := age.ParseX25519Recipient(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("engine's recipient %s: %w", m.cfg.EngineRecipientFile, err)
	}
	var random [8]byte
	rand.Read(random[:])
	name = delivery + "." + hex.EncodeToString(random[:]) + ".age"
	f, err := os.OpenFile(filepath.Join(m.cfg.sheets(), name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }() // what an error leaves behind, sweep removes
	sealed, err := age.Encrypt(f, recipient)
	if err != nil {
		return "", err
	}
	out := bufio.NewWriterSize(sealed, 64<<10)
	if err := m.writeRows(out, delivery, tickets, report, number); err != nil {
		return "", err
	}
	if err := errors.Join(out.Flush(), sealed.Close(), f.Sync()); err != nil {
		return "", err
	}
	return name, syncDir(m.cfg.sheets())
}

func (m *Main) writeRows(out io.Writer, delivery string, tickets []ticket, report contract.LinkReport, number func(i int) linkage.Number) error {
	header, err := json.Marshal(contract.TicketSheetHeader{Schema: "mitral.sheet/1", Delivery: delivery, Rows: int64(len(tickets)), Epoch: pseudonym.Epoch, Report: report})
	if err != nil {
		return err
	}
	if _, err := out.Write(append(header, '\n')); err != nil {
		return err
	}
	order := make([]int32, len(tickets))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return bytes.Compare(tickets[a][:], tickets[b][:]) })
	derive := m.key.Deriver()
	for _, i := range order {
		h := derive.Hub(number(int(i)))
		if _, err := out.Write(tickets[i][:]); err != nil {
			return err
		}
		if _, err := out.Write(h[:]); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what a killed process left behind: sheets that no delivery names, parts of deliveries
// that are settled, halves of files.
func (m *Main) sweep(ctx context.Context) error {
	sheets, open, err := m.deliveries.inUse(ctx)
	if err != nil {
		return err
	}
	remove := func(dir string, keep map[string]bool) error {
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			if !keep[e.Name()] {
				err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
			}
		}
		return err
	}
	if err := errors.Join(remove(m.cfg.sheets(), sheets), remove(m.cfg.incoming(""), open)); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for id := range open {
		halves, err := filepath.Glob(filepath.Join(m.cfg.incoming(id), ".new-*"))
		for _, h := range halves {
			err = errors.Join(err, os.Remove(h))
		}
		if err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}
