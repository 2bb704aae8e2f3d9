package gateway_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
	"github.com/mitral-health/mitral/internal/portal/api/apitest"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/gateway/gatewaytest"
)

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAPI(t *testing.T) {
	h := gatewaytest.New(t, storetest.SQLite(t), gatewaytest.NewClock())
	ctx := t.Context()
	draft := h.Draft()
	sent := h.Submitted()
	signed := h.Signed()
	undrafted := h.Authorised()
	toSign := h.Run(gatewaytest.Otto, h.Authorised(), gateway.Action{Command: gateway.CmdDraft})
	mandate, err := h.CreateMandate(ctx, gatewaytest.Otto, gateway.MandateScope{Title: "Counts", Datasets: gatewaytest.Scope(), Period: contract.Period{From: "2020-01-01", To: "2026-12-31"}})
	if err != nil {
		t.Fatal(err)
	}
	mandateBody := asJSON(t, map[string]any{"title": "Counts", "datasets": gatewaytest.Scope(), "period": contract.Period{From: "2020-01-01", To: "2026-12-31"}})
	save := func(seq int64) string {
		return asJSON(t, map[string]any{"expected_seq": seq, "answers": gatewaytest.Complete()})
	}
	command := func(seq int64, c gateway.Command) string {
		return asJSON(t, map[string]any{"expected_seq": seq, "command": c})
	}
	const a, d, u = apitest.Allowed, apitest.Denied, apitest.Unknown
	rita, paul, hanna, otto := gatewaytest.Rita.ID, gatewaytest.Paul.ID, gatewaytest.Hanna.ID, gatewaytest.Otto.ID
	forged := asJSON(t, h.Keys[otto].Assert(t, make([]byte, 32)))

	cases := []apitest.Case{
		{Operation: "list-applications", Kind: a, Name: "applicant", As: rita, Path: "/api/v1/applications", Status: 200, Has: draft.ID},
		{Operation: "list-applications", Kind: a, Name: "handler sees no draft", As: hanna, Path: "/api/v1/applications", Status: 200, Has: sent.ID, Not: draft.ID},
		{Operation: "list-applications", Kind: d, Name: "visitor", Path: "/api/v1/applications", Status: 401},
		{Operation: "list-applications", Kind: d, Name: "without a role", As: gatewaytest.Nobody.ID, Path: "/api/v1/applications", Status: 403},
		{Operation: "list-applications", Kind: u, Name: "no such state", As: rita, Path: "/api/v1/applications?state=LOST", Status: 422},

		{Operation: "create-application", Kind: a, As: rita, Path: "/api/v1/applications", Body: asJSON(t, map[string]any{"title": "New", "datasets": gatewaytest.Scope()}), Status: 201, Has: `"state":"DRAFT"`},
		{Operation: "create-application", Kind: d, Name: "handler", As: hanna, Path: "/api/v1/applications", Body: `{"title":"New"}`, Status: 403},
		{Operation: "create-application", Kind: d, Name: "visitor", Path: "/api/v1/applications", Body: `{"title":"New"}`, Status: 401},
		{Operation: "create-application", Kind: u, Name: "unknown field", As: rita, Path: "/api/v1/applications", Body: `{"titel":"New"}`, Status: 422},
		{Operation: "create-application", Kind: u, Name: "bad name", As: rita, Path: "/api/v1/applications", Body: `{"title":"x","datasets":[{"holder":"../x","dataset":"y","tables":[]}]}`, Status: 422, Has: "bad_dataset"},

		{Operation: "get-application", Kind: a, Name: "applicant", As: rita, Path: "/api/v1/applications/" + draft.ID, Status: 200, Has: `"can":["save","submit","withdraw"]`},
		{Operation: "get-application", Kind: a, Name: "team", As: paul, Path: "/api/v1/applications/" + draft.ID, Status: 200, Has: `"can":["save"]`},
		{Operation: "get-application", Kind: a, Name: "handler", As: hanna, Path: "/api/v1/applications/" + sent.ID, Status: 200, Has: `"can":["ask","complete"]`},
		{Operation: "get-application", Kind: d, Name: "handler reads a draft", As: hanna, Path: "/api/v1/applications/" + draft.ID, Status: 403},
		{Operation: "get-application", Kind: d, Name: "visitor", Path: "/api/v1/applications/" + draft.ID, Status: 401},
		{Operation: "get-application", Kind: d, Name: "visitor of nothing", Path: "/api/v1/applications/app-none", Status: 401},
		{Operation: "get-application", Kind: u, As: rita, Path: "/api/v1/applications/app-none", Status: 404},
		{Operation: "get-application", Kind: u, Name: "a mandate is no case", As: otto, Path: "/api/v1/applications/" + mandate.ID, Status: 404},

		{Operation: "save-application", Kind: a, As: rita, Path: "/api/v1/applications/" + draft.ID, Body: save(draft.Seq), Status: 200},
		{Operation: "save-application", Kind: u, Name: "lost update", As: rita, Path: "/api/v1/applications/" + draft.ID, Body: save(draft.Seq), Status: 409, Has: "conflict"},
		{Operation: "save-application", Kind: d, Name: "another's", As: gatewaytest.Nobody.ID, Path: "/api/v1/applications/" + draft.ID, Body: save(draft.Seq), Status: 403},
		{Operation: "save-application", Kind: d, Name: "after sending", As: rita, Path: "/api/v1/applications/" + sent.ID, Body: save(sent.Seq), Status: 403, Has: "wrong_state"},
		{Operation: "save-application", Kind: u, As: rita, Path: "/api/v1/applications/app-none", Body: save(1), Status: 404},

		{Operation: "command-application", Kind: d, Name: "applicant", As: rita, Path: "/api/v1/applications/" + sent.ID + "/commands", Body: command(sent.Seq, "complete"), Status: 403},
		{Operation: "command-application", Kind: d, Name: "too early", As: gatewaytest.Claire.ID, Path: "/api/v1/applications/" + sent.ID + "/commands", Body: asJSON(t, map[string]any{"expected_seq": sent.Seq, "command": "opinion", "opinion": "favourable"}), Status: 403, Has: "wrong_state"},
		{Operation: "command-application", Kind: u, Name: "conflict", As: hanna, Path: "/api/v1/applications/" + sent.ID + "/commands", Body: command(sent.Seq-1, "complete"), Status: 409},
		{Operation: "command-application", Kind: u, As: hanna, Path: "/api/v1/applications/app-none/commands", Body: command(1, "complete"), Status: 404},
		{Operation: "command-application", Kind: d, Name: "no such command", As: hanna, Path: "/api/v1/applications/" + sent.ID + "/commands", Body: command(sent.Seq, "approve"), Status: 403},
		{Operation: "command-application", Kind: u, Name: "ask nothing", As: hanna, Path: "/api/v1/applications/" + sent.ID + "/commands", Body: command(sent.Seq, "ask"), Status: 422, Has: "question_missing"},
		{Operation: "command-application", Kind: a, As: hanna, Path: "/api/v1/applications/" + sent.ID + "/commands", Body: command(sent.Seq, "complete"), Status: 200, Has: `"state":"PROCESSING"`},

		{Operation: "get-application-permit", Kind: a, As: otto, Path: "/api/v1/applications/" + toSign.ID + "/permit", Status: 200, Has: `"challenge":`},
		{Operation: "get-application-permit", Kind: a, Name: "signed, applicant", As: rita, Path: "/api/v1/applications/" + signed.ID + "/permit", Status: 200, Has: `"signed":`},
		{Operation: "get-application-permit", Kind: u, Name: "draft, applicant", As: rita, Path: "/api/v1/applications/" + toSign.ID + "/permit", Status: 404},
		{Operation: "get-application-permit", Kind: u, Name: "not drafted", As: otto, Path: "/api/v1/applications/" + undrafted.ID + "/permit", Status: 404},
		{Operation: "get-application-permit", Kind: d, As: gatewaytest.Nobody.ID, Path: "/api/v1/applications/" + signed.ID + "/permit", Status: 403},

		{Operation: "sign-application-permit", Kind: d, Name: "applicant", As: rita, Path: "/api/v1/applications/" + toSign.ID + "/permit/signature", Body: forged, Status: 403},
		{Operation: "sign-application-permit", Kind: u, Name: "forged", As: otto, Path: "/api/v1/applications/" + toSign.ID + "/permit/signature", Body: forged, Status: 422, Has: "altered"},
		{Operation: "sign-application-permit", Kind: a, As: otto, Path: "/api/v1/applications/" + toSign.ID + "/permit/signature", Body: asJSON(t, h.Assert(gatewaytest.Otto, toSign.Draft)), Status: 200, Has: "POSITIVE_DECISION_ISSUED"},
		{Operation: "sign-application-permit", Kind: d, Name: "twice", As: otto, Path: "/api/v1/applications/" + toSign.ID + "/permit/signature", Body: asJSON(t, h.Assert(gatewaytest.Otto, toSign.Draft)), Status: 403, Has: "wrong_state"},

		{Operation: "get-permit", Kind: a, As: rita, Path: "/api/v1/permits/" + signed.Permit.ID, Status: 200, Has: `"assertion":`},
		{Operation: "get-permit", Kind: d, As: gatewaytest.Nobody.ID, Path: "/api/v1/permits/" + signed.Permit.ID, Status: 403},
		{Operation: "get-permit", Kind: u, As: rita, Path: "/api/v1/permits/permit-none", Status: 404},
		{Operation: "get-permit", Kind: u, Name: "draft", As: otto, Path: "/api/v1/permits/" + mandate.Permit.ID, Status: 404},

		{Operation: "list-mandates", Kind: a, As: otto, Path: "/api/v1/mandates", Status: 200, Has: mandate.ID},
		{Operation: "list-mandates", Kind: d, As: rita, Path: "/api/v1/mandates", Status: 403},
		{Operation: "list-mandates", Kind: u, Name: "neither yes nor no", As: otto, Path: "/api/v1/mandates?in_force=perhaps", Status: 422},
		{Operation: "create-mandate", Kind: a, As: otto, Path: "/api/v1/mandates", Body: mandateBody, Status: 200, Has: `"signed":false`},
		{Operation: "create-mandate", Kind: d, As: hanna, Path: "/api/v1/mandates", Body: mandateBody, Status: 403},
		{Operation: "create-mandate", Kind: u, As: otto, Path: "/api/v1/mandates", Body: `{"title":"x","datasets":[{"holder":"cnam","dataset":"none","tables":[]}],"period":{"from":"2020-01-01","to":"2020-12-31"}}`, Status: 422, Has: "dataset_unknown"},
		{Operation: "draft-mandate", Kind: d, As: hanna, Path: "/api/v1/mandates/" + mandate.ID + "/draft", Body: `{"expected_seq":2}`, Status: 403},
		{Operation: "draft-mandate", Kind: u, As: otto, Path: "/api/v1/mandates/mandate-none/draft", Body: `{"expected_seq":2}`, Status: 404},
		{Operation: "draft-mandate", Kind: a, As: otto, Path: "/api/v1/mandates/" + mandate.ID + "/draft", Body: `{"expected_seq":2}`, Status: 200},
		{Operation: "get-mandate-permit", Kind: a, As: otto, Path: "/api/v1/mandates/" + mandate.ID + "/permit", Status: 200, Has: `"challenge":`},
		{Operation: "get-mandate-permit", Kind: d, As: rita, Path: "/api/v1/mandates/" + mandate.ID + "/permit", Status: 403},
		{Operation: "get-mandate-permit", Kind: u, As: otto, Path: "/api/v1/mandates/mandate-none/permit", Status: 404},
		{Operation: "sign-mandate", Kind: d, As: hanna, Path: "/api/v1/mandates/" + mandate.ID + "/permit/signature", Body: forged, Status: 403},
		{Operation: "sign-mandate", Kind: u, Name: "forged", As: otto, Path: "/api/v1/mandates/" + mandate.ID + "/permit/signature", Body: forged, Status: 422, Has: "altered"},
		{Operation: "sign-mandate", Kind: u, As: otto, Path: "/api/v1/mandates/mandate-none/permit/signature", Body: forged, Status: 404},
	}
	fresh, err := h.CreateMandate(ctx, gatewaytest.Otto, gateway.MandateScope{Title: "Counts", Datasets: gatewaytest.Scope(), Period: contract.Period{From: "2020-01-01", To: "2026-12-31"}})
	if err != nil {
		t.Fatal(err)
	}
	cases = append(cases, apitest.Case{Operation: "sign-mandate", Kind: a, As: otto, Path: "/api/v1/mandates/" + fresh.ID + "/permit/signature",
		Body: asJSON(t, h.Assert(gatewaytest.Otto, fresh.Draft)), Status: 200, Has: `"in_force":true`})
	apitest.Run(t, h.API, "gateway", func(as string, w http.ResponseWriter, r *http.Request) {
		r.Header.Set(gatewaytest.UserHeader, as)
		h.ServeHTTP(w, r)
	}, cases)
}
