package sample

import (
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
)

// omopTables are the tables of the GiBleed database that are delivered, with their titles and the column
// that places a row in time.
var omopTables = []struct {
	name, event string
	title       map[string]string
}{
	{"person", "", names("Personnes", "Persons", "Henkilöt")},
	{"observation_period", "observation_period_start_date", names("Périodes d'observation", "Observation periods", "Seurantajaksot")},
	{"visit_occurrence", "visit_start_date", names("Visites", "Visits", "Käynnit")},
	{"condition_occurrence", "condition_start_date", names("Diagnostics", "Conditions", "Diagnoosit")},
	{"drug_exposure", "drug_exposure_start_date", names("Médicaments", "Drugs", "Lääkkeet")},
	{"procedure_occurrence", "procedure_date", names("Actes", "Procedures", "Toimenpiteet")},
	{"measurement", "measurement_date", names("Mesures", "Measurements", "Mittaukset")},
	{"observation", "observation_date", names("Observations", "Observations", "Havainnot")},
	{"condition_era", "condition_era_start_date", names("Épisodes de maladie", "Condition eras", "Sairausjaksot")},
	{"drug_era", "drug_era_start_date", names("Épisodes de traitement", "Drug eras", "Lääkejaksot")},
	{"concept", "", names("Concepts", "Concepts", "Käsitteet")},
}

// writeOMOP delivers the GiBleed database in o.OMOP as the dataset of a research holder. The person table
// has no names: the exact date of birth is its only identity trait. The source's own person number and the day
// of birth are left out, because they would reach the lake as payload.
func (j *job) writeOMOP(s *Summary) error {
	folder := filepath.Join("holders", HolderResearch, DatasetGiBleed)
	if err := os.MkdirAll(filepath.Join(j.dir, folder), 0o755); err != nil {
		return err
	}
	d := dataset{holder: HolderResearch, name: DatasetGiBleed}
	var total int64
	var persons map[int32]bool
	for _, def := range omopTables {
		path := filepath.Join(j.OMOP, def.name+".csv.gz")
		b, err := openOMOP(path, def.name)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if def.name == "person" {
			persons = make(map[int32]bool, b.count())
			for at := 0; at < len(b.cells); at += b.width {
				persons[b.cells[at]] = true
			}
		} else {
			s.Orphans += b.keep(persons)
		}
		b.table.title, b.table.eventDate = def.title, def.event
		if err := j.writeWhole(b, folder); err != nil {
			return err
		}
		n := int64(b.count())
		s.Rows[d.holder+"/"+d.name+"/"+def.name] = n
		total += n
		d.tables = append(d.tables, b.table)
	}
	schema := d.schema()
	if err := schema.Validate(); err != nil {
		return err
	}
	if err := j.putJSON(filepath.Join(folder, "schema.json"), schema); err != nil {
		return err
	}
	about := gibleed
	about.Holder, about.Dataset, about.Records, about.Individuals = d.holder, d.name, total, int64(len(persons))
	about.Access, about.AccessCode, about.Languages = nationalAccess, "NON_PUBLIC", []string{"en"}
	return j.putJSON(filepath.Join(folder, "description.json"), about)
}

// keep drops the rows whose person is not in persons and returns how many those were. The published
// database has observation periods of people whom its person table does not know.
func (b *rows) keep(persons map[int32]bool) (dropped int64) {
	key := slices.IndexFunc(b.table.columns, func(c column) bool { return c.Role == contract.RolePersonKey })
	if key < 0 {
		return 0
	}
	kept := b.cells[:0]
	for at := 0; at < len(b.cells); at += b.width {
		if row := b.cells[at : at+b.width]; persons[row[key]] {
			kept = append(kept, row...)
		} else {
			dropped++
		}
	}
	b.cells = kept
	return dropped
}

var gibleed = Description{
	HolderName:  names("Laboratoire de recherche (pays fictif)", "Research laboratory (sample country)", "Tutkimuslaboratorio (esimerkkimaa)"),
	Title:       names("GiBleed : base OMOP de démonstration", "GiBleed: OMOP demonstration database", "GiBleed: OMOP-esimerkkitietokanta"),
	Description: names("Base synthétique au format OMOP CDM publiée par OHDSI, sur les saignements digestifs sous anti-inflammatoires.", "Synthetic database in the OMOP common data model published by OHDSI, on gastrointestinal bleeding under anti-inflammatory drugs.", "OHDSI:n julkaisema synteettinen OMOP-tietokanta ruoansulatuskanavan verenvuodoista tulehduskipulääkkeiden käyttäjillä."),
	Keywords:    map[string][]string{"fr": {"OMOP", "données synthétiques", "saignement"}, "en": {"OMOP", "synthetic data", "bleeding"}, "fi": {"OMOP", "synteettinen tieto", "verenvuoto"}},
	Categories:  []string{"p"},
	Purpose:     names("Enseigner et vérifier des programmes d'analyse.", "To teach and to check analysis programs.", "Analyysiohjelmien opetus ja tarkistus."),
	Provenance:  names("OHDSI Eunomia, licence Apache-2.0 ; personnes simulées.", "OHDSI Eunomia, Apache-2.0 licence; simulated persons.", "OHDSI Eunomia, Apache-2.0-lisenssi; simuloituja henkilöitä."),
	Population:  names("Personnes simulées, sans nom.", "Simulated persons, without names.", "Simuloituja henkilöitä ilman nimiä."),
	PeriodFrom:  "1908-01-01", PeriodTo: "2019-12-31", Frequency: "NEVER", Spatial: "USA", Codings: []string{"snomed", "rxnorm", "omop"}, MaxAge: 110,
	Contact: contact("Équipe données", "Data team", "Tietoryhmä", "recherche"),
}

// writeWhole writes rows as one file of the format asked for.
func (j *job) writeWhole(b *rows, folder string) error {
	j.files++
	if j.Format == Parquet {
		f, err := createParquet(filepath.Join(j.dir, folder, b.table.name+"-000.parquet"), b.table, &columnRoom{})
		if err != nil {
			return err
		}
		if err := f.write(b); err != nil {
			f.file.Close()
			return err
		}
		n, err := f.close()
		j.bytes += n
		return err
	}
	text := b.appendCSV(b.table.appendHeader(nil))
	j.bytes += int64(len(text))
	return putFile(filepath.Join(j.dir, folder, b.table.name+".csv"), text)
}

func openOMOP(path, name string) (*rows, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return readOMOP(z, name)
}

// readOMOP reads one table; the type of a column follows from its name, as in the OMOP specification. It
// refuses a table that it cannot keep exactly, with the line and the column.
func readOMOP(from io.Reader, name string) (*rows, error) {
	in := csv.NewReader(from)
	in.ReuseRecord = true
	head, err := in.Read()
	if err != nil {
		return nil, err
	}
	head = slices.Clone(head) // the reader uses its record again
	t := &table{name: name}
	skip := make([]bool, len(head))
	for i, h := range head {
		if skip[i] = h == "person_source_value" || h == "day_of_birth"; !skip[i] {
			t.columns = append(t.columns, omopColumn(h))
		}
	}
	b := newRows(t)
	for line := 2; ; line++ {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return nil, err
		}
		k := 0
		for i, v := range rec {
			if skip[i] {
				continue
			}
			cell, err := b.parse(t.columns[k].kind, v)
			if err != nil {
				return nil, fmt.Errorf("line %d, column %s: %w", line, head[i], err)
			}
			b.cells = append(b.cells, cell)
			k++
		}
	}
}

func omopColumn(name string) column {
	title := map[string]string{"en": strings.ReplaceAll(name, "_", " ")}
	c := column{Column: contract.Column{Name: name, Type: contract.TypeString, Title: title}, kind: asText}
	switch {
	case name == "person_id":
		c.Type, c.kind, c.Role, c.Required = contract.TypeInteger, asInt, contract.RolePersonKey, true
	case name == "birth_datetime":
		c.Type, c.kind, c.Role = contract.TypeDate, asDate, contract.RoleBirthDate
	case strings.HasSuffix(name, "_concept_id"):
		c.Type, c.kind, c.CodeList = contract.TypeInteger, asInt, "omop"
	case name == "domain_id", name == "vocabulary_id", name == "concept_class_id": // texts in spite of their names
	case strings.HasSuffix(name, "_id"), strings.HasSuffix(name, "_of_birth"), strings.HasSuffix(name, "_count"), name == "gap_days", name == "days_supply", name == "refills":
		c.Type, c.kind = contract.TypeInteger, asInt
	case strings.HasSuffix(name, "_date"):
		c.Type, c.kind = contract.TypeDate, asDate
	case strings.HasSuffix(name, "_datetime"):
		c.Type, c.kind = contract.TypeTime, asMinute
	case name == "quantity", name == "value_as_number", name == "range_low", name == "range_high":
		c.Type, c.kind = contract.TypeNumber, asCents
	}
	return c
}

// parse turns a text into a cell, and refuses what a cell cannot hold exactly.
func (b *rows) parse(k kind, v string) (int32, error) {
	if v == "" {
		return missing, nil
	}
	switch k {
	case asInt:
		n, err := strconv.ParseInt(v, 10, 32)
		return int32(n), err
	case asDate, asMinute:
		layout := time.DateTime
		if len(v) == len(time.DateOnly) {
			layout = time.DateOnly
		}
		t, err := time.Parse(layout, v)
		if err != nil {
			return 0, err
		}
		minutes := t.Unix() / 60
		days := t.Unix() / 86400
		if days < int64(firstDay) || days > int64(lastDay) || t.Second() != 0 {
			return 0, fmt.Errorf("%s is outside 1900 to 2099 or has seconds", v)
		}
		if k == asDate {
			return int32(days), nil
		}
		return int32(minutes), nil
	case asCents:
		x, err := strconv.ParseFloat(v, 64)
		if err != nil || x*100 != float64(int32(x*100)) {
			return 0, fmt.Errorf("%s is not a number with at most two decimals", v)
		}
		return int32(x * 100), nil
	}
	return b.put(v), nil
}
