package feasibility_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
	"github.com/mitral-health/mitral/internal/engine/feasibility"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
	"github.com/mitral-health/mitral/internal/engine/plan"
	"github.com/mitral-health/mitral/internal/engine/plan/plantest"
)

func setup(t *testing.T) (*feasibility.Counter, *lake.Snapshot) {
	t.Helper()
	l, incoming := laketest.Open(t)
	laketest.Publish(t, l, incoming, "d1", laketest.Sample(rand.New(rand.NewPCG(1, 0)), 0, 60, 500))
	s, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	c, err := feasibility.Open(t.Context(), l.Dir(), "500MB", 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, s
}

func standing() contract.Permit {
	p := contracttest.Permit(time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC))
	p.Kind, p.MinCell, p.RoundTo = contract.PermitFeasibility, 1, 1
	p.Period = contract.Period{From: "2000-01-01", To: "2030-01-01"}
	p.Datasets = []contract.DatasetScope{{Holder: "cnam", Dataset: "snds"}}
	for _, t := range laketest.Claims().Tables {
		p.Datasets[0].Tables = append(p.Datasets[0].Tables, contract.TableScope{Table: t.Name})
	}
	return p
}

type drawn struct{ t *rapid.T }

func (d drawn) IntN(n int) int { return rapid.IntRange(0, n-1).Draw(d.t, "choice") }

func roll(of plantest.Set) (out []byte) {
	for h := range of {
		out = append(out, h[:]...)
	}
	return out
}

func TestCountAgainstTheOracle(t *testing.T) {
	c, s := setup(t)
	p := standing()
	rapid.Check(t, func(t *rapid.T) {
		source := drawn{t}
		cohort := plantest.DrawCohort(source, "cnam/snds")
		objectors := plantest.Set{}
		for person := range 60 {
			if source.IntN(6) == 0 {
				objectors[laketest.H(person)] = true
			}
		}
		resolved, err := plan.Feasibility(&p, cohort, s)
		if err != nil {
			t.Fatal(err)
		}
		canonical, err := contract.Canonical(cohort)
		if err != nil {
			t.Fatal(err)
		}
		want := int64(0)
		for h := range plantest.Cohort(t, cohort, p.Datasets, s) {
			if !objectors[h] {
				want++
			}
		}
		q := feasibility.Question{Snapshot: s.ID, Cohort: resolved, Digest: contract.DigestOf(canonical), Roll: roll(objectors)}
		for range 2 { // asked again, the answer is the same
			got, err := c.Count(context.Background(), &p, q)
			if err != nil {
				t.Fatal(err)
			}
			if got.Count != want || got.Hidden != (want == 0) {
				t.Fatalf("%+v, want %d", got, want)
			}
		}
	})
}

func TestProtect(t *testing.T) {
	for _, c := range []struct {
		n              int64
		minCell, round int
		want           int64 // -1: hidden
	}{
		{0, 11, 10, -1}, {1, 11, 10, -1}, {10, 11, 10, -1}, {11, 11, 10, 10}, {14, 11, 10, 10}, {15, 11, 10, 20},
		{994, 11, 10, 990}, {995, 11, 10, 1000}, {1_000_003, 11, 100, 1_000_000}, {5, 5, 1, 5}, {4, 5, 1, -1},
	} {
		got := feasibility.Protect(c.n, c.minCell, c.round)
		if got.Hidden != (c.want < 0) || (!got.Hidden && got.Count != c.want) || (got.Hidden && got.Count != 0) || got.Rule == "" {
			t.Errorf("Protect(%d, %d, %d) = %+v", c.n, c.minCell, c.round, got)
		}
	}
}

func TestPermitWithoutRoundingIsRefused(t *testing.T) {
	c, s := setup(t)
	p := standing()
	p.RoundTo = 0
	resolved, err := plan.Feasibility(&p, contract.Cohort{All: true, Period: p.Period}, s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Count(t.Context(), &p, feasibility.Question{Snapshot: s.ID, Cohort: resolved, Digest: "x"}); contract.RefusalCode(err) != "invalid" {
		t.Fatalf("%v", err)
	}
}

// Counts with different rolls at the same time do not see each other's.
func TestCountsAtOnce(t *testing.T) {
	c, s := setup(t)
	p := standing()
	resolved, err := plan.Feasibility(&p, contract.Cohort{All: true, Period: p.Period}, s)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			objectors := plantest.Set{}
			for person := range i % 4 {
				objectors[laketest.H(person)] = true
			}
			got, err := c.Count(t.Context(), &p, feasibility.Question{Snapshot: s.ID, Cohort: resolved, Digest: contract.Digest(fmt.Sprint(i)), Roll: roll(objectors)})
			if err != nil || got.Count != int64(60-i%4) {
				t.Errorf("%+v, %v, want %d", got, err, 60-i%4)
			}
		})
	}
	wg.Wait()
	if _, err := c.Count(t.Context(), &p, feasibility.Question{Snapshot: s.ID, Cohort: resolved, Digest: "odd", Roll: make([]byte, 17)}); err == nil {
		t.Error("half a pseudonym was accepted")
	}
}
