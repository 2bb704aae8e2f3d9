package linkage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/storetest"
	"github.com/mitral-health/mitral/internal/trust/identity"
)

func deliver(t *testing.T, s *Store, db *store.DB, source string, records []identity.Traits) ([]int32, *Snapshot, contract.LinkReport) {
	t.Helper()
	snap, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := snap.NewBatch(source, len(records))
	for i := range records {
		b.Add(&records[i])
	}
	persons, report := b.Link()
	if err := s.Stage(t.Context(), snap, "d", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := db.InTx(t.Context(), func(tx *store.Tx) error { return s.Commit(t.Context(), tx, snap) }); err != nil {
		t.Fatal(err)
	}
	return persons, snap, report
}

// TestStoreForgetsNothing: deliveries through the database find the same persons as an index that stays in memory.
func TestStoreForgetsNothing(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		s, err := NewStore(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		next := rapid.Custom(drawDelivery)
		memory := NewIndex(0)
		for i := range 40 {
			records := next.Example(i)
			source := fmt.Sprintf("h/%d", i%2)
			got, snap, _ := deliver(t, s, db, source, records)
			b := memory.NewBatch(source, 0)
			for i := range records {
				b.Add(&records[i])
			}
			want, _ := b.Link()
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("delivery of %d records, record %d: person %d, in memory %d", len(records), i, got[i], want[i])
				}
			}
			for i := range records {
				probe := records[i]
				probe.LocalID = ""
				var number Number
				var found bool
				err := db.InTx(t.Context(), func(tx *store.Tx) error {
					number, found, err = s.Find(t.Context(), tx, &probe)
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
				if wantNumber, wantFound := snap.Find(&probe); found != wantFound || number != wantNumber {
					t.Fatalf("find %+v: %v, in memory %v", probe, found, wantFound)
				}
			}
		}
		if memory.Persons() < 20 {
			t.Fatalf("only %d persons: the test shows little", memory.Persons())
		}
	})
}

// TestKilledLinkageLeavesNothing: rows that were staged and never committed are not seen, and a linkage that read an
// older generation cannot commit.
func TestKilledLinkageLeavesNothing(t *testing.T) {
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		s, err := NewStore(ctx, db)
		if err != nil {
			t.Fatal(err)
		}
		anna := rec(nirA, "MARTIN", "ANNA", 19550817, '2')
		old, err := s.Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b := old.NewBatch("h/d", 1)
		b.Add(&anna)
		b.Link()
		if err := s.Stage(ctx, old, "d", time.Now()); err != nil {
			t.Fatal(err)
		}
		if snap, err := s.Load(ctx); err != nil || snap.Persons() != 0 {
			t.Fatalf("staged persons are seen: %d, %v", snap.Persons(), err)
		}
		find := func() (found bool) {
			err := db.InTx(ctx, func(tx *store.Tx) (err error) { _, found, err = s.Find(ctx, tx, &anna); return err })
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		if find() {
			t.Fatal("a staged person is found")
		}
		deliver(t, s, db, "h/d", []identity.Traits{anna})
		if !find() {
			t.Fatal("a committed person is not found")
		}
		err = db.InTx(ctx, func(tx *store.Tx) error { return s.Commit(ctx, tx, old) })
		if !errors.Is(err, ErrMoved) {
			t.Fatalf("two linkages at once: %v", err)
		}
		if _, snap, _ := deliver(t, s, db, "h/d", []identity.Traits{anna}); snap.Persons() != 1 {
			t.Fatalf("%d persons", snap.Persons())
		}
	})
}

func cpuSeconds(t *testing.T) float64 {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// TestSpeed prints the seconds for MITRAL_LINKAGE_RECORDS records (default 20,000) against as many known persons.
func TestSpeed(t *testing.T) {
	n := 20_000
	if v := os.Getenv("MITRAL_LINKAGE_RECORDS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	people := make([]identity.Traits, n)
	for i := range people {
		y, m, d := 1930+rng.IntN(90), 1+rng.IntN(12), 1+rng.IntN(28)
		people[i] = identity.Traits{
			NIR:       fmt.Sprintf("%d%02d%02d%02d%03d%03d", 1+i%2, y%100, m, 1+rng.IntN(95), 1+rng.IntN(900), 1+rng.IntN(900)),
			BirthName: fmt.Sprintf("NAME%d", rng.IntN(200_000)), GivenName: fmt.Sprintf("GIVEN%d", rng.IntN(2000)),
			BirthDate: identity.Date(y*10000 + m*100 + d), Sex: byte('1' + i%2), LocalID: strconv.Itoa(i),
		}
	}
	storetest.Both(t, func(t *testing.T, db *store.DB) {
		s, err := NewStore(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"into an empty base", "again, all known"} {
			start, cpu := time.Now(), cpuSeconds(t)
			_, snap, report := deliver(t, s, db, "h/d", people)
			took := time.Since(start)
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			t.Logf("%d records %s: %.1f s (%.1f s CPU of this process), heap %d MB, persons %d, %v", n, name, took.Seconds(), cpuSeconds(t)-cpu, mem.HeapAlloc>>20, snap.Persons(), report.ByRule)
			if snap.Persons() < n*99/100 || snap.Persons() > n {
				t.Fatalf("%d persons from %d", snap.Persons(), n)
			}
		}
	})
}
