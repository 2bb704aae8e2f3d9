package agent

import (
	"path/filepath"
	"testing"

	"github.com/mitral-health/mitral/internal/kit/shareddata"
	"github.com/mitral-health/mitral/internal/sample"
)

// TestGiBleed splits a real OMOP database whose persons have no names: the agent reads every table, and the persons go to
// trust with their number and date of birth only.
func TestGiBleed(t *testing.T) {
	omop := shareddata.Path(t, "omop/gibleed")
	for _, format := range []string{sample.CSV, sample.Parquet} {
		dir := filepath.Join(t.TempDir(), "country")
		if _, err := sample.Generate(t.Context(), sample.Options{People: 50, Seed: 1, Years: 1, Out: dir, Format: format, OMOP: omop}); err != nil {
			t.Fatal(err)
		}
		h := newHub(t)
		folder := filepath.Join(dir, "holders", sample.HolderResearch, sample.DatasetGiBleed)
		cfg := h.cfg
		cfg.Holder, cfg.Schema = sample.HolderResearch, filepath.Join(folder, "schema.json")
		for _, table := range []string{"person", "observation_period", "visit_occurrence", "condition_occurrence", "drug_exposure", "procedure_occurrence", "measurement", "observation", "condition_era", "drug_era", "concept"} {
			f := Files{Files: filepath.Join(folder, table+".csv"), Format: formatCSV}
			if format == sample.Parquet {
				f = Files{Files: filepath.Join(folder, table+"-*.parquet"), Format: formatParquet}
			}
			cfg.Tables[table] = f
		}
		report, err := DryRun(t.Context(), cfg, silent)
		if err != nil {
			t.Fatalf("%s: %v", format, err)
		}
		if report.Persons != 2694 || report.Rows["drug_exposure"] != 67707 || report.Rows["concept"] != 444 {
			t.Errorf("%s: %d persons, rows %v", format, report.Persons, report.Rows)
		}
	}
}
