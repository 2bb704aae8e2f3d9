package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/trust/pseudonym"
)

const (
	maxPart     = 512 << 20 // bytes of one part of the identities, compressed
	maxManifest = 16 << 20  // bytes of a manifest
	maxPermit   = 1 << 20   // bytes of a request with a permit
)

// Handler is the zone's routes (docs/protocols.md, "Trust").
func (m *Main) Handler() http.Handler {
	mux := http.NewServeMux()
	agents, engine := httpx.OnlyAgents(), httpx.OnlyZones(contract.ZoneEngine)
	route := func(pattern, action string, who func(http.Handler) http.Handler, h http.HandlerFunc) {
		mux.Handle(pattern, m.audited(action, who(h)))
	}
	route("PUT /v1/deliveries/{id}/identities/{part}", "delivery.part", agents, m.putPart)
	route("POST /v1/deliveries/{id}/complete", "delivery.complete", agents, m.complete)
	route("GET /v1/deliveries/{id}", "delivery.status", agents, m.deliveryStatus)
	route("GET /v1/sheets/{delivery}", "sheet.take", engine, m.getSheet)
	route("POST /v1/roll", "roll.read", engine, m.postRoll)
	mux.Handle("/", m.audited("unknown", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpx.Problem(w, r, http.StatusNotFound, "unknown_route", "There is no such route.")
	})))
	return mux
}

// audited writes every refusal to the ledger, with its code and without its content.
func (m *Main) audited(action string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &refusalRecorder{ResponseWriter: w}
		h.ServeHTTP(rec, r)
		if rec.status < 400 || rec.code() == "not_ready" {
			return
		}
		kind, name := httpx.PeerOf(r)
		target := r.PathValue("id") + r.PathValue("delivery")
		if !contract.ValidName(target) {
			target = "" // whatever else was written there does not belong in a public log
		}
		err := m.record(context.WithoutCancel(r.Context()), ledger.Entry{
			Actor: kind + "/" + name, Action: action, Target: target, Outcome: "refused",
			Details: map[string]any{"status": rec.status, "code": rec.code()},
		})
		if err != nil {
			m.log.Error("ledger", "err", err)
		}
	})
}

// record writes one entry in a transaction of its own.
func (m *Main) record(ctx context.Context, e ledger.Entry) error {
	e.At = m.clock.Now()
	return m.db.InTx(ctx, func(tx *store.Tx) error { return m.ledger.Record(ctx, tx, e) })
}

type refusalRecorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (r *refusalRecorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *refusalRecorder) Write(b []byte) (int, error) {
	if r.status >= 400 && r.body.Len() < 4096 {
		r.body.Write(b)
	}
	return r.ResponseWriter.Write(b)
}

func (r *refusalRecorder) code() string {
	var p struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(r.body.Bytes(), &p) != nil {
		return ""
	}
	return p.Code
}

// Unwrap lets http.ResponseController reach the connection.
func (r *refusalRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// fail answers with what an error means: a refusal's code, a full disk, or nothing of the inside.
func (m *Main) fail(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *contract.Refusal
	switch {
	case errors.As(err, &refusal):
		httpx.Problem(w, r, http.StatusForbidden, refusal.Code, refusal.Reason)
		return
	case errors.Is(err, syscall.ENOSPC):
		httpx.Problem(w, r, http.StatusInsufficientStorage, "disk_full", "Trust's disk is full. Nothing was kept; try again when its operator has made room.")
		return
	}
	if _, ok := errors.AsType[*httpx.Error](err); !ok {
		m.log.Error("request failed", "route", r.Pattern, "err", err)
	}
	httpx.Fail(w, r, err)
}

func problem(status int, code, detail string) error {
	return &httpx.Error{Status: status, Code: code, Detail: detail}
}

func notFound() error {
	return problem(http.StatusNotFound, "unknown_delivery", "There is no such delivery of this holder.")
}

func badName() error {
	return problem(http.StatusBadRequest, "bad_name", "Names of deliveries and parts are 1 to 64 letters, digits, '_' or '-', starting with a letter.")
}

// own returns the delivery if it is this holder's.
func (m *Main) own(ctx context.Context, q store.Querier, id, holder string) (delivery, error) {
	d, err := m.deliveries.get(ctx, q, id)
	if errors.Is(err, store.ErrNotFound) || (err == nil && d.holder != holder) {
		return d, notFound() // another holder's delivery is not even known to exist
	}
	return d, err
}

func (m *Main) putPart(w http.ResponseWriter, r *http.Request) {
	if err := m.receive(w, r); err != nil {
		m.fail(w, r, err)
	}
}

func (m *Main) receive(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	_, holder := httpx.PeerOf(r)
	id, name := r.PathValue("id"), r.PathValue("part")
	if !contract.ValidName(id) || !contract.ValidName(name) {
		return badName()
	}
	// Held from before the status is read until the part is in place, so that the linkage's clearing away
	// never overlaps: a part that came late would leave identities in the clear.
	uploads := m.uploadsOf(id)
	uploads.RLock()
	defer uploads.RUnlock()
	// Another holder's delivery is refused before its bytes are read; a new one is begun below.
	d, err := m.deliveries.get(ctx, m.db, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return err
	case d.holder != holder:
		return notFound()
	case d.status != statusReceiving:
		return m.receiveAgain(w, r, id, name)
	}
	dir := m.cfg.incoming(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	digest, n, err := httpx.ReadDigest(r, maxPart, f)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	// The file is named by its content, so the rename can never replace other bytes.
	if err := os.Rename(f.Name(), filepath.Join(dir, partFile(digest))); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	err = m.db.InTx(ctx, func(tx *store.Tx) error {
		if err := m.deliveries.begin(ctx, tx, id, holder, m.clock.Now()); err != nil {
			return err
		}
		d, err := m.own(ctx, tx, id, holder)
		if err != nil {
			return err
		}
		known, err := m.knownPart(ctx, tx, id, name, digest)
		if known || err != nil {
			return err
		}
		if d.status != statusReceiving {
			return closed()
		}
		return m.deliveries.addPart(ctx, tx, id, part{name, digest, n})
	})
	if err != nil {
		return err
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"part": name, "digest": digest, "bytes": n})
	return nil
}

// uploadsOf is the lock of a delivery's directory: uploads share it, clearing it away takes it alone.
func (m *Main) uploadsOf(delivery string) *sync.RWMutex {
	l, _ := m.uploads.LoadOrStore(delivery, new(sync.RWMutex))
	return l.(*sync.RWMutex)
}

// receiveAgain answers for a part of a delivery that is complete: it may be said twice, and is not kept,
// since identities stay in the clear only until they are linked.
func (m *Main) receiveAgain(w http.ResponseWriter, r *http.Request, id, name string) error {
	digest, n, err := httpx.ReadDigest(r, maxPart, io.Discard)
	if err != nil {
		return err
	}
	known, err := m.knownPart(r.Context(), m.db, id, name, digest)
	if err != nil {
		return err
	}
	if !known {
		return closed()
	}
	httpx.JSON(w, http.StatusOK, map[string]any{"part": name, "digest": digest, "bytes": n})
	return nil
}

// knownPart reports whether this part arrived before; with other bytes it is a conflict.
func (m *Main) knownPart(ctx context.Context, q store.Querier, id, name, digest string) (bool, error) {
	parts, err := m.deliveries.parts(ctx, q, id)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(parts, func(p part) bool { return p.name == name })
	if i >= 0 && parts[i].digest != digest {
		return false, problem(http.StatusConflict, "part_conflict", "This part arrived before with other bytes. A delivery's parts never change: start a new delivery.")
	}
	return i >= 0, nil
}

func closed() error {
	return problem(http.StatusConflict, "delivery_closed", "This delivery is complete; no part can be added. Start a new delivery.")
}

// partFile names the file of a part by its digest ("sha256:…").
func partFile(digest string) string { return digest[len("sha256:"):] + ".ndjson.gz" }

func (m *Main) complete(w http.ResponseWriter, r *http.Request) {
	status, err := m.close(r)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusAccepted, map[string]string{"status": status})
}

func (m *Main) close(r *http.Request) (status string, err error) {
	ctx := r.Context()
	_, holder := httpx.PeerOf(r)
	id := r.PathValue("id")
	if !contract.ValidName(id) {
		return "", badName()
	}
	var man contract.Delivery
	if err := httpx.Decode(r, maxManifest, &man); err != nil {
		return "", err
	}
	if err := man.Validate(); err != nil {
		return "", problem(http.StatusUnprocessableEntity, "invalid", err.Error())
	}
	if man.ID != id {
		return "", problem(http.StatusUnprocessableEntity, "invalid", "The manifest is of another delivery.")
	}
	if man.Dataset.Holder != holder {
		return "", contract.Refuse("out_of_scope", "the certificate is holder %s's, the dataset is %s's", holder, man.Dataset.Holder)
	}
	canonical, err := contract.Canonical(&man)
	if err != nil {
		return "", problem(http.StatusUnprocessableEntity, "invalid", "The manifest has no canonical form.")
	}
	err = m.db.InTx(ctx, func(tx *store.Tx) error {
		now := m.clock.Now()
		if err := m.deliveries.begin(ctx, tx, id, holder, now); err != nil {
			return err
		}
		d, err := m.own(ctx, tx, id, holder)
		if err != nil {
			return err
		}
		if d.status != statusReceiving {
			status = d.status
			if d.manifest == string(canonical) {
				return nil // said twice
			}
			return problem(http.StatusConflict, "delivery_closed", "This delivery was completed before with another manifest.")
		}
		parts, err := m.deliveries.parts(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := sameParts(man.Parts, parts); err != nil {
			return err
		}
		d.dataset, d.status, d.manifest = man.Dataset.Dataset, statusLinking, string(canonical)
		status = d.status
		if err := m.deliveries.update(ctx, tx, d, now); err != nil {
			return err
		}
		if err := m.jobs.Insert(ctx, tx, jobLink, id, linkPayload{Delivery: id}); err != nil {
			return err
		}
		return m.ledger.Record(ctx, tx, ledger.Entry{
			Actor: "agent/" + holder, Action: "delivery.complete", Target: id, Outcome: "accepted", At: now,
			Details: map[string]any{"dataset": d.dataset, "manifest": string(contract.DigestOf(canonical)), "parts": len(parts)},
		})
	})
	return status, err
}

// sameParts checks that the manifest names exactly what arrived.
func sameParts(named []contract.FilePart, arrived []part) error {
	wrong := func(detail string) error { return problem(http.StatusUnprocessableEntity, "parts_differ", detail) }
	byName := map[string]part{}
	for _, p := range arrived {
		byName[p.name] = p
	}
	for _, p := range named {
		got, ok := byName[p.Name]
		switch {
		case p.Table != "":
			return wrong("Part " + p.Name + " belongs to a table: tables go to engine, never to trust.")
		case !ok:
			return wrong("Part " + p.Name + " has not arrived, or is named twice.")
		case got.digest != string(p.Digest) || got.bytes != p.Bytes:
			return wrong("Part " + p.Name + " arrived with other bytes than the manifest says.")
		}
		delete(byName, p.Name)
	}
	if len(byName) > 0 {
		return wrong("More parts arrived than the manifest names.")
	}
	return nil
}

func (m *Main) deliveryStatus(w http.ResponseWriter, r *http.Request) {
	_, holder := httpx.PeerOf(r)
	d, err := m.own(r.Context(), m.db, r.PathValue("id"), holder)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	httpx.JSON(w, http.StatusOK, map[string]string{"status": d.status, "reason": d.reason})
}

func (m *Main) getSheet(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	d, err := m.deliveries.get(ctx, m.db, r.PathValue("delivery"))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		m.fail(w, r, err)
		return
	}
	if err == nil && d.status == statusRefused {
		httpx.Problem(w, r, http.StatusGone, "refused", "Trust refused this delivery: "+d.reason)
		return
	}
	if err == nil && d.status == statusLinked && d.sheet == "" {
		httpx.Problem(w, r, http.StatusGone, "superseded", "A later delivery of the same dataset has taken this one's place.")
		return
	}
	if err != nil || d.sheet == "" {
		httpx.Problem(w, r, http.StatusNotFound, "not_ready", "The delivery is not linked yet.")
		return
	}
	f, err := os.Open(filepath.Join(m.cfg.sheets(), d.sheet))
	if err != nil {
		m.fail(w, r, err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		m.fail(w, r, err)
		return
	}
	// The entry comes before the bytes: what is in the ledger may not have arrived, never the reverse.
	if err := m.record(ctx, ledger.Entry{Actor: "zone/engine", Action: "sheet.take", Target: d.id, Outcome: "done"}); err != nil {
		m.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	if _, err := f.WriteTo(w); err != nil {
		m.log.Warn("sheet cut short", "delivery", d.id, "err", err)
	}
}

// rollRequest asks for the objection roll. AsOf is "now" with a feasibility permit and absent otherwise.
type rollRequest struct {
	Permit contract.SignedPermit `json:"permit"`
	AsOf   string                `json:"as_of,omitempty"`
}

func (m *Main) postRoll(w http.ResponseWriter, r *http.Request) {
	var req rollRequest
	if err := httpx.Decode(r, maxPermit, &req); err != nil {
		m.fail(w, r, err)
		return
	}
	out, err := m.readRoll(r.Context(), req)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	if _, err := w.Write(out); err != nil {
		m.log.Warn("roll cut short", "err", err)
	}
}

// readRoll returns the sorted hub pseudonyms of those whose objection was in force at the permit's date
// (Art. 71(3)), or now for a feasibility count, which has no project to keep stable.
func (m *Main) readRoll(ctx context.Context, req rollRequest) ([]byte, error) {
	officers, err := m.officers.Roll()
	if err != nil {
		return nil, err
	}
	now := m.clock.Now()
	permit, err := contract.VerifyPermit(req.Permit, officers, now)
	if err != nil {
		return nil, err
	}
	var at time.Time
	switch {
	case permit.Kind == contract.PermitData && req.AsOf == "":
		at = permit.IssuedAt
	case permit.Kind == contract.PermitFeasibility && req.AsOf == "now":
		at = now
	default:
		return nil, contract.Refuse("out_of_scope", `a data permit reads the roll as of its date; a feasibility permit with "as_of":"now"`)
	}
	persons, err := m.roll.AsOf(ctx, at)
	if err != nil {
		return nil, err
	}
	derive := m.key.Deriver()
	list := make([][pseudonym.Size]byte, len(persons))
	for i, p := range persons {
		list[i] = derive.Hub(p)
	}
	slices.SortFunc(list, func(a, b [pseudonym.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	out := make([]byte, 0, len(list)*pseudonym.Size)
	for _, h := range list {
		out = append(out, h[:]...)
	}
	digest, err := contract.PermitDigest(permit)
	if err != nil {
		return nil, err
	}
	return out, m.record(ctx, ledger.Entry{Actor: "zone/engine", Action: "roll.read", Target: permit.ID, Outcome: "done",
		Details: map[string]any{"permit": string(digest), "kind": string(permit.Kind), "as_of": at.Format(time.RFC3339Nano)}})
}
