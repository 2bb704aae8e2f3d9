package test

import (
	"context"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/demo"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/sample"
)

// testObjectionDates: an objection binds permits issued after it, and those only (Art. 71(3)); taking it
// back works the same way.
func testObjectionDates(t *testing.T, ctx context.Context, h *demo.Hub) {
	citizens, err := h.Citizens()
	if err != nil {
		t.Fatal(err)
	}
	anna, bert := citizens[1], citizens[2]
	answers := demo.StudyAnswers()
	answers.Project.Title = "Everybody's year of birth"
	answers.Data.Datasets = []contract.DatasetScope{{Holder: sample.HolderSNDS, Dataset: sample.DatasetSNDS,
		Tables: []contract.TableScope{{Table: "IR_BEN_R", Columns: []string{"BEN_NAI_ANN"}}}}}
	answers.Cohort = &gateway.CohortPage{Cohort: contract.Cohort{All: true, Period: answers.Period.Period}}

	// persons decides on a permit, with something happening after its date and before its signature, and
	// returns how many records it covers.
	persons := func(between func() error) int64 {
		t.Helper()
		if err := h.Advance(24 * time.Hour); err != nil { // a day apart
			t.Fatal(err)
		}
		_, permit, err := h.Decide(ctx, answers, func() error {
			if err := h.Advance(time.Minute); err != nil || between == nil {
				return err
			}
			return between()
		})
		if err != nil {
			t.Fatal(err)
		}
		_, rows, err := h.Workspace(ctx, permit)
		if err != nil {
			t.Fatal(err)
		}
		return rows["snds.IR_BEN_R"]
	}
	object := func(c demo.Citizen) demo.Objection {
		t.Helper()
		o, err := h.FileObjection(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}

	all := persons(nil)
	first := object(anna)
	withoutAnna := persons(func() error { _, err := h.FileObjection(ctx, bert); return err })
	if d := all - withoutAnna; d < 1 || d > 2 { // a child on both parents' insurance has two records
		t.Errorf("an objection before the permit's date took out %d records", d)
	}
	withoutBoth := persons(func() error { return h.WithdrawObjection(ctx, anna, first.Number) })
	if d := withoutAnna - withoutBoth; d < 1 || d > 2 {
		t.Errorf("an objection after one permit's date and before the next took out %d records of the next", d)
	}
	if back := persons(nil); back != withoutBoth+(all-withoutAnna) {
		t.Errorf("after Anna took her objection back the permit covers %d records, want %d", back, withoutBoth+(all-withoutAnna))
	}
}
