package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// DraftLife is how long a draft may be signed. The objection roll is read at the permit's date of issue
// (Art. 71(3): an objection binds every permit approved after it), so a decision must be signed promptly
// or drafted again.
const DraftLife = 15 * time.Minute

// draftPermit writes the permit that an application would get now. Nothing is added to what was applied
// for; the procedure sets the thresholds.
func draftPermit(a *Application, persons []contract.Person, now time.Time) (*contract.Permit, error) {
	ans := a.Answers
	if ans.Data == nil || ans.Period == nil || ans.Cohort == nil || ans.OptOut == nil {
		return nil, fmt.Errorf("case %s reached the decision incomplete", a.ID)
	}
	now = now.UTC().Truncate(time.Second)
	p := &contract.Permit{
		Schema: contract.PermitSchema, ID: contract.NewID("permit"), Version: 1, Kind: contract.PermitData,
		ApplicationID: a.ID, Procedure: a.Procedure.Name(), Title: ans.Project.Title,
		Purposes: or(ans.Purpose).Purposes, Controller: ans.Project.Controller, Persons: persons,
		Datasets: ans.Data.Datasets, Period: ans.Period.Period, Cohort: ans.Cohort.Cohort, OptOut: ans.OptOut.OptOut,
		MinCell: a.Procedure.Permit.MinCell, Reviewers: a.Procedure.Permit.Reviewers,
		PseudonymDomain: contract.NewID("domain"),
		IssuedAt:        now, ValidFrom: now, ValidUntil: now.AddDate(0, ans.Period.DurationMonths, 0),
	}
	for _, c := range a.Procedure.Permit.Conditions {
		p.Conditions = append(p.Conditions, c.EN)
	}
	if a.Authority != nil {
		p.Conditions = append(p.Conditions, a.Authority.Conditions...)
	}
	if a.Opinion != nil && a.Opinion.Recommendations != "" {
		p.Conditions = append(p.Conditions, "Recommendation of the committee: "+a.Opinion.Recommendations)
	}
	return p, p.Validate()
}

// draftMandate writes a standing permit to count over the given datasets. It names no person and opens no
// record: only protected counts can be asked for under it.
func draftMandate(proc *Procedure, m MandateScope, now time.Time) (*contract.Permit, error) {
	now = now.UTC().Truncate(time.Second)
	f := proc.Permit.Feasibility
	p := &contract.Permit{
		Schema: contract.PermitSchema, ID: contract.NewID("permit"), Version: 1, Kind: contract.PermitFeasibility,
		Procedure: proc.Name(), Title: m.Title, Controller: m.Controller, Datasets: m.Datasets, Period: m.Period,
		Cohort: contract.Cohort{All: true, Period: m.Period},
		OptOut: contract.OptOut{Honoured: true}, MinCell: f.MinCell, RoundTo: f.RoundTo,
		PseudonymDomain: contract.NewID("domain"),
		IssuedAt:        now, ValidFrom: now, ValidUntil: now.AddDate(0, f.Months, 0),
	}
	return p, p.Validate()
}

// drafted keeps the canonical bytes: what is shown and signed is what is stored.
func drafted(p *contract.Permit) (Drafted, error) {
	b, err := contract.Canonical(p)
	if err != nil {
		return Drafted{}, err
	}
	return Drafted{Permit: b, Digest: contract.DigestOf(b)}, nil
}

// readPermit reads a stored permit strictly.
func readPermit(b []byte) (*contract.Permit, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	var p contract.Permit
	if err := dec.Decode(&p); err != nil {
		return nil, fmt.Errorf("stored permit: %w", err)
	}
	return &p, nil
}

// verifySignature checks that the assertion signs exactly the drafted bytes with one of the officer's
// own passkeys, and that the draft is still fresh.
func (g *Gateway) verifySignature(d *Drafted, drafted Moment, officer contract.Person, as contract.Assertion, now time.Time) (contract.SignedPermit, error) {
	if now.Sub(drafted.At) > DraftLife {
		return contract.SignedPermit{}, bad("sign", "draft", "draft_stale", "minutes", itoa(int(DraftLife.Minutes())))
	}
	if drafted.Actor != officer.ID {
		return contract.SignedPermit{}, bad("sign", "draft", "draft_of_other")
	}
	challenge, err := d.Digest.Bytes()
	if err != nil || contract.DigestOf(d.Permit) != d.Digest {
		return contract.SignedPermit{}, fmt.Errorf("stored draft does not have its digest")
	}
	as.OfficerID = officer.ID
	for _, key := range officer.Credentials {
		if bytes.Equal(key.CredentialID, as.CredentialID) {
			if err := contract.VerifyAssertion(as, key, g.o.RPID, g.o.Origins, challenge); err != nil {
				return contract.SignedPermit{}, err
			}
			return contract.SignedPermit{Permit: json.RawMessage(d.Permit), Assertion: as}, nil
		}
	}
	return contract.SignedPermit{}, contract.Refuse("bad_signature", "the key is not one of your registered passkeys")
}

func itoa(n int) string { return strconv.Itoa(n) }
