package engine

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

const (
	maxManifest = 16 << 20 // bytes
	maxParts    = 100_000  // of one delivery
)

// Handler is the zone's routes (docs/protocols.md, "Engine"). Only agents call engine.
func (m *Main) Handler() http.Handler {
	mux := http.NewServeMux()
	agents := httpx.OnlyAgents()
	route := func(pattern, action string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(pattern, agents(m.audited(action, h)))
	}
	route("PUT /v1/deliveries/{id}/tables/{table}/{part}", "delivery.part", m.putPart)
	route("POST /v1/deliveries/{id}/complete", "delivery.complete", m.complete)
	route("GET /v1/deliveries/{id}", "delivery.status", m.deliveryStatus)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		httpx.Problem(w, r, http.StatusNotFound, "unknown_route", "There is no such route.")
	})
	return mux
}

func problem(status int, code, detail string) error {
	return &httpx.Error{Status: status, Code: code, Detail: detail}
}

// audited answers an error with what it means and writes it to the ledger, by code and without content.
func (m *Main) audited(action string, h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		var known *httpx.Error
		var refusal *contract.Refusal
		switch {
		case errors.As(err, &known):
		case errors.As(err, &refusal):
			known = &httpx.Error{Status: http.StatusForbidden, Code: refusal.Code, Detail: refusal.Reason}
		case duck.DiskFull(err):
			known = &httpx.Error{Status: http.StatusInsufficientStorage, Code: "disk_full",
				Detail: "Engine's disk is full. Nothing was kept; try again when its operator has made room."}
		default:
			m.log.Error("request failed", "action", action, "err", err)
			httpx.Fail(w, r, err)
			return
		}
		kind, name := httpx.PeerOf(r)
		target := r.PathValue("id")
		if !contract.ValidName(target) {
			target = ""
		}
		if err := m.record(context.WithoutCancel(r.Context()), ledger.Entry{Actor: kind + "/" + name, Action: action, Target: target, Outcome: known.Code}); err != nil {
			m.log.Error("ledger", "err", err)
		}
		httpx.Problem(w, r, known.Status, known.Code, known.Detail)
	})
}

func (m *Main) putPart(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	_, holder := httpx.PeerOf(r)
	id, table, name := r.PathValue("id"), r.PathValue("table"), r.PathValue("part")
	if !contract.ValidName(id) || !contract.ValidName(table) || !contract.ValidName(name) {
		return problem(http.StatusBadRequest, "bad_name", "Names of deliveries, tables and parts are 1 to 64 letters, digits, '_' or '-', starting with a letter.")
	}
	// Another holder's delivery is refused before its bytes are read; a new one is begun below.
	if d, err := getDelivery(ctx, m.db, id); err == nil && d.holder != holder {
		return problem(http.StatusNotFound, "unknown_delivery", "There is no such delivery of this holder.")
	} else if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	f, err := os.CreateTemp(m.cfg.temp(), "part-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // does nothing once it is in its place
	digest, n, err := httpx.ReadDigest(r, m.cfg.MaxPartBytes, f)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := m.keepPart(ctx, id, holder, part{table, name, digest, n}, f.Name()); err != nil {
		return err
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"part": name, "digest": digest, "bytes": n})
	return nil
}

// keepPart notes a part and moves it to its place.
func (m *Main) keepPart(ctx context.Context, id, holder string, p part, file string) error {
	m.arriving.Lock()
	defer m.arriving.Unlock()
	moved := false // the transaction may be run again
	return m.db.InTx(ctx, func(tx *store.Tx) error {
		if err := beginDelivery(ctx, tx, id, holder, m.clock.Now()); err != nil {
			return err
		}
		d, err := own(ctx, tx, id, holder)
		if err != nil {
			return err
		}
		before, err := getPart(ctx, tx, id, p.table, p.name)
		switch {
		case err == nil && before.digest == p.digest:
			return nil // sent twice
		case err == nil:
			return problem(http.StatusConflict, "part_conflict", "This part arrived before with other bytes. A delivery's parts never change: start a new delivery.")
		case !errors.Is(err, store.ErrNotFound):
			return err
		case d.status != statusReceiving:
			return problem(http.StatusConflict, "delivery_closed", "This delivery is complete; no part can be added. Start a new delivery.")
		}
		if err := addPart(ctx, tx, id, p); err != nil {
			return err
		}
		// The file is in its place before the row is committed: a row without a file cannot be, and a
		// file without a row is replaced when the part is sent again.
		place := m.place(id, p.table, p.name)
		if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
			return err
		}
		if !moved {
			if err := os.Rename(file, place); err != nil {
				return err
			}
			moved = true
		}
		return errors.Join(lake.SyncDir(filepath.Dir(place)), lake.SyncDir(m.cfg.incoming(id)), lake.SyncDir(m.cfg.incoming("")))
	})
}

func (m *Main) complete(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	_, holder := httpx.PeerOf(r)
	id := r.PathValue("id")
	var manifest contract.Delivery
	if err := httpx.Decode(r, maxManifest, &manifest); err != nil {
		return err
	}
	if err := manifest.Validate(); err != nil {
		return problem(http.StatusUnprocessableEntity, "invalid", err.Error())
	}
	switch {
	case manifest.ID != id:
		return problem(http.StatusUnprocessableEntity, "invalid", "The manifest is of another delivery.")
	case manifest.Dataset.Holder != holder:
		return contract.Refuse("out_of_scope", "the certificate is holder %s's, the dataset is %s's", holder, manifest.Dataset.Holder)
	case len(manifest.Parts) > maxParts:
		return problem(http.StatusUnprocessableEntity, "invalid", "The delivery has too many parts; make them larger.")
	}
	canonical, err := contract.Canonical(&manifest)
	if err != nil {
		return problem(http.StatusUnprocessableEntity, "invalid", "The manifest has no canonical form.")
	}
	var status string
	err = m.db.InTx(ctx, func(tx *store.Tx) error {
		now := m.clock.Now()
		if err := beginDelivery(ctx, tx, id, holder, now); err != nil {
			return err
		}
		d, err := own(ctx, tx, id, holder)
		if err != nil {
			return err
		}
		if d.status != statusReceiving {
			if status = d.status; d.manifest == string(canonical) {
				return nil // said twice
			}
			return problem(http.StatusConflict, "delivery_closed", "This delivery was completed before with another manifest.")
		}
		arrived, err := listParts(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := sameParts(manifest.Parts, arrived); err != nil {
			return err
		}
		d.status, d.manifest = statusJoining, string(canonical)
		status = d.status
		if err := updateDelivery(ctx, tx, d, now); err != nil {
			return err
		}
		if err := m.jobs.Insert(ctx, tx, jobSheet, id, deliveryPayload{id}); err != nil {
			return err
		}
		return m.ledger.Record(ctx, tx, ledger.Entry{Actor: "agent/" + holder, Action: "delivery.complete", Target: id, Outcome: "accepted", At: now,
			Details: map[string]any{"dataset": manifest.Dataset.Dataset, "manifest": string(contract.DigestOf(canonical)), "parts": len(arrived)}})
	})
	if err != nil {
		return err
	}
	httpx.JSON(w, http.StatusAccepted, map[string]string{"status": status})
	return nil
}

// sameParts checks that the manifest names exactly what arrived.
func sameParts(named []contract.FilePart, arrived []part) error {
	wrong := func(detail string) error { return problem(http.StatusUnprocessableEntity, "parts_differ", detail) }
	left := map[string]part{}
	for _, p := range arrived {
		left[p.table+"/"+p.name] = p
	}
	for _, p := range named {
		key := p.Table + "/" + p.Name
		got, ok := left[key]
		switch {
		case p.Table == "":
			return wrong("Part " + p.Name + " belongs to no table: identities go to the trusted third party, never here.")
		case !ok:
			return wrong("Part " + key + " has not arrived, or is named twice.")
		case got.digest != string(p.Digest) || got.bytes != p.Bytes:
			return wrong("Part " + key + " arrived with other bytes than the manifest says.")
		}
		delete(left, key)
	}
	if len(left) > 0 {
		return wrong("More parts arrived than the manifest names.")
	}
	return nil
}

func (m *Main) deliveryStatus(w http.ResponseWriter, r *http.Request) error {
	_, holder := httpx.PeerOf(r)
	d, err := own(r.Context(), m.db, r.PathValue("id"), holder)
	if err != nil {
		return err
	}
	httpx.JSON(w, http.StatusOK, map[string]string{"status": d.status, "reason": d.reason})
	return nil
}
