package sample

import (
	"context"
	"encoding/csv"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
)

// testPeople is the size of the country that most tests look at: three chunks, one of them not full.
const testPeople = 4500

// country is a sample read back from its CSV files.
type country struct {
	dir     string
	summary Summary
	tables  map[string]*cells // by "holder/dataset/TABLE", "truth", "truth-records"
}

// cells is a table as texts.
type cells struct {
	head []string
	rows [][]string
	at   map[string]int
}

func (c *cells) get(row []string, column string) string { return row[c.at[column]] }

var (
	sharedDir     string // made by TestMain
	sharedCountry = sync.OnceValues(func() (*country, error) {
		dir := filepath.Join(sharedDir, "country")
		s, err := Generate(context.Background(), Options{People: testPeople, Seed: 7, Years: 3, Out: dir, Format: CSV})
		if err != nil {
			return nil, err
		}
		c := &country{dir: dir, summary: s, tables: map[string]*cells{}}
		tables, folders, labels := outputs()
		for i, t := range tables {
			if c.tables[labels[i]], err = readCSV(filepath.Join(dir, folders[i], t.name+".csv")); err != nil {
				return nil, err
			}
		}
		return c, nil
	})
)

// childEnv names the directory that a process started by a test generates into, as it would be killed.
const childEnv = "SAMPLE_TEST_CHILD_OUT"

func childOptions(out string) Options {
	return Options{People: 20000, Seed: 5, Years: 1, Out: out, Format: Parquet}
}

func TestMain(m *testing.M) {
	if out := os.Getenv(childEnv); out != "" {
		o := childOptions(out)
		o.Progress = func(done, total int64, unit string) { os.Stdout.WriteString("working\n") }
		if _, err := Generate(context.Background(), o); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	load()
	dir, err := os.MkdirTemp("", "sample-test")
	if err != nil {
		panic(err)
	}
	sharedDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// theCountry is the sample that the tests share.
func theCountry(t *testing.T) *country {
	t.Helper()
	c, err := sharedCountry()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *country) table(t *testing.T, label string) *cells {
	t.Helper()
	x := c.tables[label]
	if x == nil || len(x.rows) == 0 {
		t.Fatalf("table %s is missing or empty", label)
	}
	return x
}

func readCSV(path string) (*cells, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in := csv.NewReader(f)
	head, err := in.Read()
	if err != nil {
		return nil, err
	}
	c := &cells{head: head, at: map[string]int{}}
	for i, h := range head {
		c.at[h] = i
	}
	for {
		rec, err := in.Read()
		if err == io.EOF {
			return c, nil
		}
		if err != nil {
			return nil, err
		}
		c.rows = append(c.rows, rec)
	}
}

// truePerson is a row of the truth file.
type truePerson struct {
	nir, birthName, usedName, given, birth, sex, death string
	mother, twin                                       int
}

func (c *country) people(t *testing.T) map[int]truePerson {
	t.Helper()
	x := c.table(t, "truth")
	out := make(map[int]truePerson, len(x.rows))
	for _, r := range x.rows {
		out[number(t, x.get(r, "PERSON"))] = truePerson{nir: x.get(r, "NIR"), birthName: x.get(r, "BIRTH_NAME"), usedName: x.get(r, "USED_NAME"), given: x.get(r, "GIVEN_NAME"),
			birth: x.get(r, "BIRTH_DATE"), sex: x.get(r, "SEX"), death: x.get(r, "DEATH_DATE"), mother: number(t, x.get(r, "MOTHER")), twin: number(t, x.get(r, "TWIN"))}
	}
	return out
}

// owners maps the records of a dataset to their persons.
func (c *country) owners(t *testing.T, dataset string) map[string]int {
	t.Helper()
	x := c.table(t, "truth-records")
	out := map[string]int{}
	for _, r := range x.rows {
		if x.get(r, "DATASET") == dataset {
			out[x.get(r, "RECORD")] = number(t, x.get(r, "PERSON"))
		}
	}
	return out
}

// number reads an integer; an empty cell is 0.
func number(t *testing.T, s string) int {
	t.Helper()
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
