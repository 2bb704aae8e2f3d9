package sample

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
)

// digests maps every file of a sample to the digest of its bytes.
func digests(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(raw)
		rel, err := filepath.Rel(dir, path)
		out[rel] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func generate(t *testing.T, o Options) Summary {
	t.Helper()
	s, err := Generate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSameSeedSameBytes(t *testing.T) {
	for _, c := range []struct {
		format string
		people int
	}{{CSV, 500}, {CSV, testPeople}, {Parquet, 500}, {Parquet, testPeople}} {
		t.Run(c.format+strconv.Itoa(c.people), func(t *testing.T) {
			var first map[string]string
			for _, procs := range []int{1, 4} {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				out := filepath.Join(t.TempDir(), "s")
				generate(t, Options{People: c.people, Seed: 3, Years: 3, Out: out, Format: c.format})
				got := digests(t, out)
				if first == nil {
					first = got
				} else if d := cmp.Diff(first, got); d != "" {
					t.Errorf("1 and %d processors differ: %s", procs, d)
				}
			}
			if len(first) < 20 {
				t.Errorf("only %d files", len(first))
			}
		})
	}
}

func TestOtherSeedOtherCountry(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	generate(t, Options{People: 500, Seed: 3, Years: 3, Out: a, Format: CSV})
	generate(t, Options{People: 500, Seed: 4, Years: 3, Out: b, Format: CSV})
	da, db := digests(t, a), digests(t, b)
	for name, sum := range da {
		if strings.HasSuffix(name, ".csv") && db[name] == sum {
			t.Errorf("%s is the same under another seed", name)
		}
	}
}

// Both formats hold the same rows.
func TestParquetHoldsTheSameRows(t *testing.T) {
	c := theCountry(t)
	dir := filepath.Join(t.TempDir(), "p")
	s := generate(t, Options{People: testPeople, Seed: 7, Years: 3, Out: dir, Format: Parquet})
	if d := cmp.Diff(c.summary.Rows, s.Rows); d != "" {
		t.Error(d)
	}
	tables, folders, labels := outputs()
	for i, def := range tables {
		want := c.tables[labels[i]]
		parts, err := filepath.Glob(filepath.Join(dir, folders[i], def.name+"-[0-9][0-9][0-9].parquet"))
		if err != nil || len(parts) == 0 {
			t.Fatalf("%s: no files (%v)", def.name, err)
		}
		at := 0
		for _, part := range parts {
			readParquet(t, part, def, func(row []string) {
				if at >= len(want.rows) {
					t.Fatalf("%s: more rows than in CSV", def.name)
				}
				for k, v := range row {
					if v != want.rows[at][k] {
						t.Fatalf("%s row %d, %s: Parquet %q, CSV %q", def.name, at+1, def.columns[k].Name, v, want.rows[at][k])
					}
				}
				at++
			})
		}
		if at != len(want.rows) {
			t.Errorf("%s: %d rows in Parquet, %d in CSV", def.name, at, len(want.rows))
		}
	}
}

// readParquet calls f with the rows of a file, written as the CSV would have them.
func readParquet(t *testing.T, path string, def *table, f func([]string)) {
	t.Helper()
	r, err := file.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	x, err := fr.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer x.Release()
	in := array.NewTableReader(x, 4096)
	defer in.Release()
	row := make([]string, len(def.columns))
	for in.Next() {
		rec := in.RecordBatch()
		for k := range int(rec.NumRows()) {
			for i := range def.columns {
				row[i] = cellText(t, rec.Column(i), k)
			}
			f(row)
		}
	}
}

func cellText(t *testing.T, a arrow.Array, k int) string {
	t.Helper()
	if a.IsNull(k) {
		return ""
	}
	switch a := a.(type) {
	case *array.Int64:
		return strconv.FormatInt(a.Value(k), 10)
	case *array.Date32:
		return a.Value(k).ToTime().Format("2006-01-02")
	case *array.Timestamp:
		return a.Value(k).ToTime(arrow.Microsecond).Format("2006-01-02T15:04:05")
	case *array.Float64:
		return strconv.FormatFloat(a.Value(k), 'f', 2, 64)
	case *array.String:
		return a.Value(k)
	}
	t.Fatalf("unexpected column of type %s", a.DataType())
	return ""
}

func TestEarlierSampleIsReused(t *testing.T) {
	out := filepath.Join(t.TempDir(), "s")
	o := Options{People: 60, Seed: 1, Years: 1, Out: out, Format: CSV}
	first := generate(t, o)
	before := digests(t, out)
	again := generate(t, o)
	if first.Reused || !again.Reused || again.Events != first.Events {
		t.Errorf("first %+v, again %+v", first, again)
	}
	if d := cmp.Diff(before, digests(t, out)); d != "" {
		t.Error(d)
	}
	o.Seed = 2
	if _, err := Generate(t.Context(), o); !errors.Is(err, ErrOccupied) {
		t.Errorf("another seed in the same directory: %v", err)
	}
	if d := cmp.Diff(before, digests(t, out)); d != "" {
		t.Error(d)
	}
}

func TestForeignDirectoryIsLeftAlone(t *testing.T) {
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "thesis.txt"), []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Generate(t.Context(), Options{People: 60, Seed: 1, Years: 1, Out: out, Format: CSV}); !errors.Is(err, ErrOccupied) {
		t.Errorf("%v", err)
	}
	if raw, err := os.ReadFile(filepath.Join(out, "thesis.txt")); err != nil || string(raw) != "years of work" {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestStoppedRunLeavesNothing(t *testing.T) {
	for _, format := range []string{CSV, Parquet} {
		t.Run(format, func(t *testing.T) {
			parent := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := Options{People: 20000, Seed: 1, Years: 3, Out: filepath.Join(parent, "s"), Format: format}
			o.Progress = func(done, total int64, unit string) { cancel() }
			if _, err := Generate(ctx, o); !errors.Is(err, context.Canceled) {
				t.Fatalf("%v", err)
			}
			left, err := os.ReadDir(parent)
			if err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// A process killed at any point leaves no sample at all, and the next run makes the whole of it.
func TestKilledProcess(t *testing.T) {
	parent := t.TempDir()
	out := filepath.Join(parent, "s")
	for lines := 1; lines <= 7; lines += 3 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+out)
		from, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(from)
		for range lines {
			if !in.Scan() {
				t.Fatal("the process ended before it was killed")
			}
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the process was not killed")
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("after a kill: %v", err)
		}
	}
	s := generate(t, childOptions(out))
	left, err := os.ReadDir(parent)
	if err != nil || len(left) != 1 || s.Counts.People != 20000 {
		t.Errorf("%v, %v, %+v", left, err, s.Counts)
	}
}

// A full disk is told as such and leaves nothing behind.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("making a small disk needs root")
	}
	for _, format := range []string{CSV, Parquet} {
		t.Run(format, func(t *testing.T) {
			disk := t.TempDir()
			if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=3m"); err != nil {
				t.Skipf("no small disk can be mounted here: %v", err)
			}
			defer syscall.Unmount(disk, 0)
			_, err := Generate(t.Context(), Options{People: testPeople, Seed: 1, Years: 3, Out: filepath.Join(disk, "s"), Format: format})
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%v", err)
			}
			if left, err := os.ReadDir(disk); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// The bytes of a version are fixed: whoever changes them raises generatorVersion, so that a directory with
// an older sample is not taken for the same. Other architectures may round logarithms differently.
func TestBytesBelongToVersion(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the digest was taken on amd64")
	}
	out := filepath.Join(t.TempDir(), "s")
	generate(t, Options{People: 500, Seed: 3, Years: 3, Out: out, Format: CSV})
	all := sha256.New()
	files := digests(t, out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintln(all, name, files[name])
	}
	const want = "version 3: b4ce9196c2486c7a06df9bd12151e0230c3321df68bf3e31a0d66b4deed8dc2a"
	if got := fmt.Sprintf("version %d: %x", generatorVersion, all.Sum(nil)); got != want {
		t.Errorf("the sample is %s, was %s", got, want)
	}
}

// What a killed run leaves is cleared away by the next run, which makes the same bytes as ever.
func TestNextRunClearsKilledRun(t *testing.T) {
	parent := t.TempDir()
	stale := filepath.Join(parent, ".s.part", "holders", "cnam")
	if err := os.MkdirAll(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stale, "half.csv"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{People: 60, Seed: 1, Years: 1, Out: filepath.Join(parent, "s"), Format: CSV}
	generate(t, o)
	clean := o
	clean.Out = filepath.Join(t.TempDir(), "s")
	generate(t, clean)
	if d := cmp.Diff(digests(t, clean.Out), digests(t, o.Out)); d != "" {
		t.Error(d)
	}
	if left, _ := os.ReadDir(parent); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestTwoRunsAtOnceAreRefused(t *testing.T) {
	parent := t.TempDir()
	o := Options{People: 4000, Seed: 1, Years: 1, Out: filepath.Join(parent, "s"), Format: CSV}
	tried := false
	o.Progress = func(done, total int64, unit string) {
		if tried {
			return
		}
		tried = true
		second := o
		second.Progress = nil
		if _, err := Generate(context.Background(), second); err == nil || !strings.Contains(err.Error(), "another run") {
			t.Errorf("second run: %v", err)
		}
	}
	generate(t, o)
	if !tried {
		t.Error("no progress was told")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{People: 60, Seed: 1, Years: 1, Out: filepath.Join(t.TempDir(), "s"), Format: CSV}
	for name, change := range map[string]func(*Options){
		"people": func(o *Options) { o.People = 9 }, "too many": func(o *Options) { o.People = 8_000_001 }, "years": func(o *Options) { o.Years = 0 },
		"format": func(o *Options) { o.Format = "xlsx" }, "out": func(o *Options) { o.Out = "" },
	} {
		o := good
		change(&o)
		if _, err := Generate(t.Context(), o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestProgressReachesTheTotal(t *testing.T) {
	var last int64
	o := Options{People: testPeople, Seed: 1, Years: 1, Out: filepath.Join(t.TempDir(), "s"), Format: Parquet}
	o.Progress = func(done, total int64, unit string) {
		if done <= last || total != testPeople || unit != "people" {
			t.Errorf("progress %d of %d %s after %d", done, total, unit, last)
		}
		last = done
	}
	generate(t, o)
	if last != testPeople {
		t.Errorf("ended at %d", last)
	}
}
