package agent

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/sample"
)

// TestSpeed splits the claims of a sample country and prints rows per second, memory and the size that leaves.
// MITRAL_AGENT_SAMPLE names the directory of a larger country made by "mitral sample --format parquet".
func TestSpeed(t *testing.T) {
	dir := os.Getenv("MITRAL_AGENT_SAMPLE")
	if dir == "" {
		dir = filepath.Join(t.TempDir(), "country")
		if _, err := sample.Generate(t.Context(), sample.Options{People: 500, Seed: 5, Years: 3, Out: dir, Format: sample.Parquet}); err != nil {
			t.Fatal(err)
		}
	}
	holder := filepath.Join(dir, "holders", "cnam", "snds")
	cfg := Config{Holder: "cnam", Schema: filepath.Join(holder, "schema.json"), Spool: filepath.Join(t.TempDir(), "spool"), Tables: map[string]Files{}}
	for _, table := range []string{"IR_BEN_R", "ER_PRS_F", "ER_PHA_F", "T_MCOaaB", "KI_CCI_R"} {
		cfg.Tables[table] = Files{Files: filepath.Join(holder, table+"-*.parquet"), Format: formatParquet}
	}
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	report, err := DryRun(t.Context(), cfg, silent)
	if err != nil {
		t.Fatal(err)
	}
	wall := time.Since(start).Seconds()
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		t.Fatal(err)
	}
	cpu := float64(after.Utime.Nano()+after.Stime.Nano()-before.Utime.Nano()-before.Stime.Nano()) / 1e9
	var rows int64
	for _, n := range report.Rows {
		rows += n
	}
	t.Logf("%d person records, %d rows: %.1f s wall, %.1f s CPU, %.2f M rows per CPU second, peak memory %d MB, %d MB to trust, %d MB to engine",
		report.Persons, rows, wall, cpu, float64(rows)/cpu/1e6, after.Maxrss>>10, report.ToTrust>>20, report.ToEngine>>20)
	if report.Persons < 500 || rows < 1000 {
		t.Errorf("%+v", report)
	}
}
