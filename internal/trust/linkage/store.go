package linkage

import (
	"cmp"
	"context"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/trust/identity"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrMoved is returned by Commit when another linkage wrote persons since the index was loaded.
var ErrMoved = errors.New("persons were written since they were read: link again")

// Store keeps persons in trust's database.
type Store struct{ db *store.DB }

// NewStore brings the tables up to date.
func NewStore(ctx context.Context, db *store.DB) (*Store, error) {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "linkage", sub); err != nil {
		return nil, err
	}
	return &Store{db: db}, nil
}

// Snapshot is an index and the generation of the persons in it.
type Snapshot struct {
	*Index
	generation int64
}

const variantColumns = "person, nir, contested, owner_nir, twin_rank, birth_name, used_name, given_name, birth_date, sex, birth_place, source, local_id"

// Load reads all persons. It holds no lock; if persons are written meanwhile it reads again.
func (s *Store) Load(ctx context.Context) (*Snapshot, error) {
	for {
		before, err := s.generation(ctx)
		if err != nil {
			return nil, fmt.Errorf("load persons: %w", err)
		}
		snap, err := s.load(ctx, before)
		after, err2 := s.generation(ctx)
		switch {
		case err2 != nil:
			return nil, fmt.Errorf("load persons: %w", err2)
		case before != after:
			continue
		case err != nil:
			return nil, fmt.Errorf("load persons: %w", err)
		}
		snap.generation = before
		snap.saved, snap.savedPersons = len(snap.variants), snap.Persons()
		return snap, nil
	}
}

func (s *Store) generation(ctx context.Context) (g int64, err error) {
	err = s.db.QueryRow(ctx, "SELECT generation FROM linkage_generation WHERE one = 1").Scan(&g)
	return g, err
}

func (s *Store) load(ctx context.Context, generation int64) (*Snapshot, error) {
	var persons int64
	if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM linkage_persons WHERE generation <= ?", generation).Scan(&persons); err != nil {
		return nil, err
	}
	snap := &Snapshot{Index: NewIndex(int(persons))}
	rows, err := s.db.Query(ctx, "SELECT number FROM linkage_persons WHERE generation <= ? ORDER BY person", generation)
	if err != nil {
		return nil, err
	}
	if err := eachNumber(rows, func(n Number) { snap.addPerson(n) }); err != nil {
		return nil, err
	}
	rows, err = s.db.Query(ctx, "SELECT "+variantColumns+" FROM linkage_variants WHERE generation <= ? ORDER BY seq", generation)
	if err != nil {
		return nil, err
	}
	err = snap.attachRows(rows, func(p int64) (int32, bool) { return int32(p), p >= 0 && p < int64(snap.Persons()) })
	return snap, err
}

func eachNumber(rows store.Rows, f func(Number)) error {
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return err
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b) != len(Number{}) {
			return errors.New("a person's number is damaged")
		}
		f(Number(b))
	}
	return rows.Err()
}

func (ix *Index) attachRows(rows store.Rows, person func(int64) (int32, bool)) error {
	defer rows.Close()
	var (
		id, contested, date                int64
		t                                  identity.Traits
		twin, sex, source, nir, owner      string
		birth, used, given, place, localID string
	)
	for rows.Next() {
		if err := rows.Scan(&id, &nir, &contested, &owner, &twin, &birth, &used, &given, &date, &sex, &place, &source, &localID); err != nil {
			return err
		}
		p, ok := person(id)
		if !ok {
			return errors.New("a variant belongs to no person")
		}
		t = identity.Traits{NIR: nir, OwnerNIR: owner, BirthName: birth, UsedName: used, GivenName: given,
			BirthDate: identity.Date(date), BirthPlace: place, LocalID: localID}
		if twin != "" {
			t.TwinRank = twin[0]
		}
		if sex != "" {
			t.Sex = sex[0]
		}
		v := ix.encode(&t, source)
		v.contested = contested != 0
		ix.attach(p, v)
	}
	return rows.Err()
}

// Stage writes what Link added, in many short transactions, so that nobody else waits for the database
// while a million persons are written. Nobody sees the rows before Commit; those of a linkage that was
// killed are removed first. Only one linkage may be under way at a time.
func (s *Store) Stage(ctx context.Context, snap *Snapshot, delivery string, at time.Time) error {
	for _, table := range []string{"linkage_variants", "linkage_persons"} {
		if _, err := s.db.Exec(ctx, "DELETE FROM "+table+" WHERE generation > (SELECT generation FROM linkage_generation WHERE one = 1)"); err != nil {
			return fmt.Errorf("save persons: %w", err)
		}
	}
	us, generation := store.Micros(at), snap.generation+1
	err := s.inChunks(ctx, "linkage_persons (person, number, delivery, created_at, generation)", 5, snap.savedPersons, snap.Persons(), func(p int, row []any) []any {
		return append(row, int64(p), base64.StdEncoding.EncodeToString(snap.numbers[p][:]), delivery, us, generation)
	})
	if err != nil {
		return fmt.Errorf("save persons: %w", err)
	}
	// In the order of birth dates, which is nearly that of the NIR within a sex: both indexes then grow page by
	// page instead of all over the file, which writes far fewer pages.
	added := snap.variants[snap.saved:]
	sorted := make([]int32, len(added))
	for i := range sorted {
		sorted[i] = int32(i)
	}
	slices.SortFunc(sorted, func(a, b int32) int {
		return cmp.Or(cmp.Compare(added[a].date, added[b].date), cmp.Compare(added[a].nir, added[b].nir), cmp.Compare(a, b))
	})
	err = s.inChunks(ctx, "linkage_variants (seq, "+variantColumns+", generation)", 15, snap.saved, len(snap.variants), func(i int, row []any) []any {
		v := &added[sorted[i-snap.saved]]
		t := snap.traits(v)
		contested := int64(0)
		if v.contested {
			contested = 1
		}
		return append(row, int64(i), int64(v.person), t.NIR, contested, t.OwnerNIR, letter(v.twin), t.BirthName, t.UsedName, t.GivenName,
			int64(v.date), letter(v.sex), t.BirthPlace, snap.spelling[v.source], t.LocalID, generation)
	})
	if err != nil {
		return fmt.Errorf("save persons: %w", err)
	}
	return nil
}

// Commit makes what Stage wrote visible, in the caller's transaction, so that persons and the delivery
// that brought them appear together or not at all.
func (s *Store) Commit(ctx context.Context, tx *store.Tx, snap *Snapshot) error {
	n, err := tx.Exec(ctx, "UPDATE linkage_generation SET generation = generation + 1 WHERE one = 1 AND generation = ?", snap.generation)
	if err != nil {
		return fmt.Errorf("save persons: %w", err)
	}
	if n != 1 {
		return ErrMoved
	}
	return nil
}

const (
	rowsPerInsert = 200   // SQLite and PostgreSQL both allow more than 200 × 15 parameters
	rowsPerTx     = 20000 // less than half a second
)

// inChunks inserts the rows from ≤ i < to, many to a statement and many statements to a transaction.
func (s *Store) inChunks(ctx context.Context, into string, columns, from, to int, row func(i int, args []any) []any) error {
	one := "(?" + strings.Repeat(", ?", columns-1) + ")"
	full := "INSERT INTO " + into + " VALUES " + one + strings.Repeat(", "+one, rowsPerInsert-1)
	args := make([]any, 0, rowsPerInsert*columns)
	for from < to {
		end := min(from+rowsPerTx, to)
		err := s.db.InTx(ctx, func(tx *store.Tx) error {
			for i := from; i < end; {
				args = args[:0]
				n := min(rowsPerInsert, end-i)
				for range n {
					args = row(i, args)
					i++
				}
				q := full
				if n < rowsPerInsert {
					q = "INSERT INTO " + into + " VALUES " + one + strings.Repeat(", "+one, n-1)
				}
				if _, err := tx.Exec(ctx, q, args...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		from = end
	}
	return nil
}

func letter(b byte) string {
	if b == 0 {
		return ""
	}
	return string(rune(b))
}

// committed is what a reader may see.
const committed = "generation <= (SELECT generation FROM linkage_generation WHERE one = 1)"

// Find returns the one person whom the traits fit, by the same cascade, reading only what could fit. found
// is false when nobody does or more than one person does.
func (s *Store) Find(ctx context.Context, tx *store.Tx, t *identity.Traits) (number Number, found bool, err error) {
	fail := func(err error) (Number, bool, error) { return Number{}, false, fmt.Errorf("find person: %w", err) }
	// Every rule but the last needs the NIR or the birth date; a citizen's token has no local number.
	rows, err := tx.Query(ctx, "SELECT DISTINCT person FROM linkage_variants WHERE ("+committed+") AND ((nir <> '' AND nir = ?) OR (birth_date <> 0 AND birth_date = ?))",
		t.NIR, int64(t.BirthDate))
	if err != nil {
		return fail(err)
	}
	var persons []int64
	for rows.Next() {
		var p int64
		if err := rows.Scan(&p); err != nil {
			rows.Close()
			return fail(err)
		}
		persons = append(persons, p)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	ix := NewIndex(len(persons))
	for _, p := range persons {
		var text string
		if err := tx.QueryRow(ctx, "SELECT number FROM linkage_persons WHERE person = ?", p).Scan(&text); err != nil {
			return fail(err)
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b) != len(Number{}) {
			return fail(errors.New("a person's number is damaged"))
		}
		at := ix.addPerson(Number(b))
		rows, err := tx.Query(ctx, "SELECT "+variantColumns+" FROM linkage_variants WHERE person = ? AND "+committed+" ORDER BY seq", p)
		if err != nil {
			return fail(err)
		}
		if err := ix.attachRows(rows, func(int64) (int32, bool) { return at, true }); err != nil {
			return fail(err)
		}
	}
	number, found = ix.Find(t)
	return number, found, nil
}
