package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/mitral-health/mitral/internal/agent"
	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/pki"
	"github.com/mitral-health/mitral/internal/portal/gateway"
)

// describe: each holder files and publishes its description; the operator imports the structure of the
// SNDS where it is there; the officer signs the standing mandate for protected counts.
func (w *walk) describe(ctx context.Context) (result, error) {
	var res result
	variables := 0
	for _, d := range w.datasets {
		sent, err := w.h.describe(ctx, d)
		if err != nil {
			return res, err
		}
		res.documents++
		res.bytes += sent
		for _, t := range d.schema.Tables {
			variables += len(t.Columns)
		}
	}
	imported := ""
	report, sent, err := w.h.importSNDS(ctx)
	if err != nil {
		return res, err
	}
	if report != nil {
		res.documents += int64(report.Datasets)
		res.bytes += sent
		imported = fmt.Sprintf("; SNDS structure imported: %d tables, %d variables in %d datasets", report.Tables, report.Variables, report.Datasets)
	}
	if err := w.h.mandate(ctx, w.datasets); err != nil {
		return res, err
	}
	var found struct {
		Total int `json:"total"`
	}
	visitor := NewClient(w.h.PortalURL())
	err = w.h.until(ctx, 30*time.Second, "the catalogue's index", func() (bool, error) {
		err := visitor.Call(ctx, http.MethodGet, "/api/v1/datasets", nil, &found)
		return found.Total == int(res.documents), err
	})
	if err != nil {
		return res, fmt.Errorf("the catalogue shows %d datasets, %d were published: %w", found.Total, res.documents, err)
	}
	res.border = "holders → portal: descriptions, no data"
	res.verified = fmt.Sprintf("the catalogue shows %d datasets; %d variables described%s; counts mandate signed", found.Total, variables, imported)
	return res, nil
}

// mandate has the officer sign the standing permit for protected counts, once.
func (h *Hub) mandate(ctx context.Context, datasets []*dataset) error {
	officer, err := h.SignIn(ctx, "officer", "")
	if err != nil {
		return err
	}
	var list struct {
		Mandates []gateway.MandateView `json:"mandates"`
	}
	if err := officer.Call(ctx, http.MethodGet, "/api/v1/mandates", nil, &list); err != nil {
		return err
	}
	for _, m := range list.Mandates {
		if m.InForce {
			return nil
		}
	}
	var scope struct {
		Title    string                  `json:"title"`
		Datasets []contract.DatasetScope `json:"datasets"`
		Period   contract.Period         `json:"period"`
	}
	scope.Title = "Protected counts before an application"
	scope.Period = contract.Period{From: "1990-01-01", To: "2030-12-31"}
	for _, d := range datasets {
		s := contract.DatasetScope{Holder: d.schema.Holder, Dataset: d.schema.Dataset}
		for _, t := range d.schema.Tables {
			if t.PersonKey() != "" || t.HasIdentity() {
				var columns []string
				for _, c := range t.Columns {
					if c.Role == contract.RolePayload {
						columns = append(columns, c.Name)
					}
				}
				s.Tables = append(s.Tables, contract.TableScope{Table: t.Name, Columns: columns})
			}
		}
		scope.Datasets = append(scope.Datasets, s)
	}
	var m gateway.MandateView
	if err := officer.Call(ctx, http.MethodPost, "/api/v1/mandates", scope, &m); err != nil {
		return err
	}
	return h.SignPermit(ctx, officer, "/api/v1/mandates/"+m.ID+"/permit")
}

// SignPermit signs a drafted permit as the officer would: the key gets the challenge, the portal the
// assertion.
func (h *Hub) SignPermit(ctx context.Context, officer *Client, path string) error {
	var draft gateway.PermitView
	if err := officer.Call(ctx, http.MethodGet, path, nil, &draft); err != nil {
		return err
	}
	// What is signed is what was shown: the key's owner recomputes the digest from the permit's text.
	if contract.DigestOf(draft.Permit) != draft.Digest {
		return errors.New("the portal shows one permit and asks to sign another")
	}
	var p contract.Permit
	if err := json.Unmarshal(draft.Permit, &p); err != nil {
		return err
	}
	challenge, err := p.Challenge()
	if err != nil {
		return err
	}
	assertion, err := h.key.Assert(draft.RPID, h.PortalURL(), challenge)
	if err != nil {
		return err
	}
	assertion.OfficerID = "acct-demo-officer-1"
	return officer.Call(ctx, http.MethodPost, path+"/signature", assertion, nil)
}

// delivery is what the agent's command prints.
type delivery struct {
	agent.Report
	Seconds map[string]float64 `json:"seconds"`
}

// deliver runs each holder's agent as its own process.
func (w *walk) deliver(ctx context.Context) (result, error) {
	var res result
	tables := 0
	var published int64
	for _, d := range w.datasets {
		rep, err := w.h.deliver(ctx, d)
		if err != nil {
			return res, fmt.Errorf("%s: %w", d.name(), err)
		}
		if !rep.Published {
			return res, fmt.Errorf("%s: engine has not published delivery %s", d.name(), rep.Delivery)
		}
		for _, n := range rep.Rows {
			res.rows += n
			tables++
		}
		res.documents += 2
		res.bytes += rep.ToTrust + rep.ToEngine
		published++
		w.persons += rep.Persons
		for stage, s := range rep.Seconds {
			if stage != agent.StageWait {
				res.seconds += s
			}
		}
	}
	want, err := w.h.sampleRows()
	if err != nil {
		return res, err
	}
	if want != res.rows {
		return res, fmt.Errorf("%d rows were delivered, the holders' files have %d", res.rows, want)
	}
	res.border = "agents → trust: identities; agents → engine: payload; both under random tickets"
	res.verified = fmt.Sprintf("%d deliveries, %d tables; as many rows as the holders' files have", published, tables)
	return res, nil
}

// deliver delivers one dataset; a dataset that is published already is delivered again as a whole, which
// changes nothing but the tickets.
func (h *Hub) deliver(ctx context.Context, d *dataset) (*delivery, error) {
	cfg := agent.Config{Holder: d.schema.Holder, Schema: filepath.Join(d.dir, "schema.json"), Tables: map[string]agent.Files{},
		Spool: h.path("agents", d.schema.Holder, "spool"), Trust: mutual(h.state.Ports.Trust), Engine: mutual(h.state.Ports.Engine),
		TLS: pki.Files(h.path("pki"), pki.KindAgent, d.schema.Holder), DemoClock: h.path("clock")}
	for _, t := range d.schema.Tables {
		// A table is one file or numbered parts; a database that came as it is keeps its own format.
		for _, f := range []agent.Files{
			{Files: t.Name + "-[0-9]*." + h.state.Format, Format: h.state.Format},
			{Files: t.Name + "." + h.state.Format, Format: h.state.Format},
			{Files: t.Name + ".csv.gz", Format: "csv.gz"},
		} {
			f.Files = filepath.Join(d.dir, f.Files)
			if found, _ := filepath.Glob(f.Files); len(found) > 0 {
				cfg.Tables[t.Name] = f
				break
			}
		}
	}
	file := h.configFile("agent-" + d.schema.Holder)
	if err := conf.Save(file, cfg); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, h.opts.Binary, "agent", "deliver", "--config", file, "--json")
	log, err := os.OpenFile(h.path("logs", "agent-"+d.schema.Holder+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if h.opts.Disturb != nil {
		defer time.AfterFunc(300*time.Millisecond, func() { h.opts.Disturb("delivery of " + d.name()) }).Stop()
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("agent: %w: %s", err, tail(log.Name(), 5))
	}
	var rep delivery
	return &rep, json.Unmarshal(out, &rep)
}

// sampleRows is how many rows the holders' files have, by the generator's own count.
func (h *Hub) sampleRows() (int64, error) {
	var s struct {
		Rows map[string]int64 `json:"rows"`
	}
	if err := readJSON(h.path("sample", "summary.json"), &s); err != nil {
		return 0, err
	}
	var n int64
	for table, rows := range s.Rows {
		if filepath.Dir(table) != "." { // "truth" and "truth-records" are no holder's
			n += rows
		}
	}
	return n, nil
}

// linkTimes reads in the ledgers of trust and engine when each delivery was complete, linked and
// published.
type linkTimes struct{ trustGot, linked, engineGot, published time.Time }

func (w *walk) times(ctx context.Context) (map[string]*linkTimes, error) {
	out := map[string]*linkTimes{}
	at := func(id string) *linkTimes {
		if out[id] == nil {
			out[id] = &linkTimes{}
		}
		return out[id]
	}
	// The ledger follows the database at a short distance, so it may need a moment.
	err := w.h.until(ctx, 30*time.Second, "the deliveries in the ledgers of trust and engine", func() (bool, error) {
		clear(out)
		for _, zone := range []string{contract.ZoneTrust, contract.ZoneEngine} {
			entries, err := ledger.Entries(ctx, filepath.Join(w.h.ZoneDir(zone), "ledger"))
			if err != nil {
				return false, err
			}
			for _, e := range entries {
				switch {
				case e.Action == "delivery.complete" && zone == contract.ZoneTrust:
					at(e.Target).trustGot = e.At
				case e.Action == "delivery.complete":
					at(e.Target).engineGot = e.At
				case e.Action == "delivery.link" && e.Outcome == "done":
					at(e.Target).linked = e.At
				case e.Action == "delivery.published" && e.Outcome == "done":
					at(e.Target).published = e.At
				}
			}
		}
		done := 0
		for _, t := range out {
			if !t.linked.IsZero() && !t.published.IsZero() {
				done++
			}
		}
		return done >= len(w.datasets), nil
	})
	return out, err
}

// link shows what trust did while the agents waited. Its figures come from its ledger.
func (w *walk) link(ctx context.Context) (result, error) {
	times, err := w.times(ctx)
	if err != nil {
		return result{}, err
	}
	res := result{rows: w.persons, documents: int64(len(times)), bytes: w.persons * 2 * contract.TicketSize}
	for _, t := range times {
		if !t.linked.IsZero() {
			res.seconds += t.linked.Sub(t.trustGot).Seconds()
		}
	}
	res.border = "trust → engine: ticket sheets, sealed to engine"
	res.verified = fmt.Sprintf("%d person records linked; %d linkages in trust's ledger", w.persons, len(times))
	return res, nil
}

// publish shows what engine did while the agents waited, and counts the lake's rows anew.
func (w *walk) publish(ctx context.Context) (result, error) {
	times, err := w.times(ctx)
	if err != nil {
		return result{}, err
	}
	var res result
	for _, t := range times {
		if t.published.IsZero() {
			continue
		}
		from := t.engineGot
		if t.linked.After(from) {
			from = t.linked
		}
		res.seconds += t.published.Sub(from).Seconds()
	}
	for _, d := range w.datasets {
		var entry struct {
			Delivery *struct {
				Rows map[string]int64 `json:"rows"`
			} `json:"delivery"`
		}
		err := w.h.until(ctx, 30*time.Second, "the delivery of "+d.name()+" in the catalogue", func() (bool, error) {
			err := NewClient(w.h.PortalURL()).Call(ctx, http.MethodGet, "/api/v1/datasets/"+d.name(), nil, &entry)
			return entry.Delivery != nil, err
		})
		if err != nil {
			return res, err
		}
		for _, n := range entry.Delivery.Rows {
			res.rows += n
			res.documents++
		}
	}
	want, err := w.h.sampleRows()
	if err != nil {
		return res, err
	}
	if res.rows != want {
		return res, fmt.Errorf("the lake has %d rows, the holders' files have %d", res.rows, want)
	}
	res.border = "engine → portal: rows by table and year"
	res.verified = "the lake has as many rows as the holders' files; tickets dropped"
	return res, nil
}

// verifyLedger proves a zone's ledger as an auditor would.
func (w *walk) verifyLedger(ctx context.Context, zone string) (ledger.Report, error) {
	r, err := ledger.Verify(ctx, filepath.Join(w.h.ZoneDir(zone), "ledger"))
	if err == nil && !r.OK {
		err = fmt.Errorf("the ledger of %s does not verify: %v", zone, r.Findings)
	}
	return r, err
}
