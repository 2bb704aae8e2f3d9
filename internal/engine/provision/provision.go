// Package provision turns a permit and a snapshot of the lake into a project dataset: it selects the
// cohort, takes out who objected, keeps the permitted tables, columns and period, replaces hub by
// project pseudonyms, and leaves sealed files for the enclave. Engine calls it, with a permit that it has
// verified. The crosswalk from hub to project pseudonyms lives in the memory of one run and must never be
// written anywhere, not even to a database's temporary files.
//
// A run has two halves. The first holds the crosswalk, in a database that cannot spill to disk; it streams
// each table once past the cohort and writes the matching rows, already under project pseudonyms, to
// staging files. The second has forgotten the crosswalk and may spill; it sorts and writes the final
// files in one thread per table, so that the same order gives the same bytes.
package provision

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/plan"
)

// Schemas of the documents that a run writes.
const (
	ReportSchema   = "mitral.provision/1"
	HandoverSchema = "mitral.handover/1"
)

// HandoverFile is the file that makes a project dataset visible.
const HandoverFile = "handover.json"

// PersonColumn is the column of project pseudonyms.
const PersonColumn = "person_id"

// Reasons why a row was not delivered, in the order in which they are looked at.
const (
	NotInCohort   = "not_in_cohort"
	Objected      = "objected"
	NoDate        = "no_date"
	OutsidePeriod = "outside_period"
)

// Batch is how many hub pseudonyms go to vault at once.
const Batch = 100_000

// Run is one provision.
type Run struct {
	OrderID  string
	Plan     *plan.Plan
	Snapshot *lake.Snapshot
	LakeDir  string
	// Roll returns the hub pseudonyms, 16 bytes each, of those whose objection was in force when the
	// permit was issued (Art. 71(3)). It is not called when the permit sets objections aside.
	Roll func(context.Context) ([]byte, error)
	// Pseudonyms returns the project pseudonyms of hub pseudonyms, in the same order.
	Pseudonyms func(context.Context, []byte) ([]byte, error)
	// Recipient is the age recipient of the permit's workspace.
	Recipient string
	// Out is the directory that enclave will read. Work is for files on the way; it is removed.
	Out, Work string
	Memory    string
	Threads   int
	Now       func() time.Time
	// Progress hears of each table that is done; it may be nil.
	Progress func(done, total int)
	// fault is for tests: a failure at a named stage.
	fault func(stage string) error
}

// Do carries the run out. When the handover is there already, it is returned as it is: a run that was
// interrupted after its last step is done. Otherwise everything begins anew.
func (r *Run) Do(ctx context.Context) (h *contract.Handover, err error) {
	if r.fault == nil {
		r.fault = func(string) error { return nil }
	}
	if h, err := ReadHandover(r.Out); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	for _, dir := range []string{r.Work, r.Out} {
		if err := os.RemoveAll(dir); err != nil {
			return nil, fmt.Errorf("provision: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("provision: %w", err)
		}
	}
	defer func() {
		err = errors.Join(err, os.RemoveAll(r.Work))
		if err != nil {
			err = errors.Join(err, os.RemoveAll(r.Out)) // nothing half done stays in enclave's sight
		}
	}()
	digest, err := contract.PermitDigest(r.Plan.Permit)
	if err != nil {
		return nil, err
	}
	report := contract.ProvisionReport{
		Schema: ReportSchema, OrderID: r.OrderID, PermitID: r.Plan.Permit.ID, PermitDigest: digest,
		Snapshot: r.Snapshot.ID, StartedAt: r.Now().UTC(),
	}
	selected, err := r.stage(ctx)
	if err != nil {
		return nil, err
	}
	report.Persons = selected.counts
	if err := r.fault("staged"); err != nil {
		return nil, err
	}
	if report.Tables, err = r.finish(ctx, selected); err != nil {
		return nil, err
	}
	var files []contract.FilePart
	for _, t := range report.Tables {
		files = append(files, t.Files...)
	}
	canonical, err := contract.Canonical(files)
	if err != nil {
		return nil, err
	}
	report.Digest = contract.DigestOf(canonical)
	report.FinishedAt = r.Now().UTC()
	return r.handOver(ctx, report)
}

// ReadHandover reads a finished handover; the error is fs.ErrNotExist when there is none.
func ReadHandover(dir string) (*contract.Handover, error) {
	b, err := os.ReadFile(filepath.Join(dir, HandoverFile))
	if err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	var h contract.Handover
	if err := json.Unmarshal(b, &h); err != nil {
		return nil, fmt.Errorf("provision: %s of an earlier run is damaged: %w", HandoverFile, err)
	}
	return &h, nil
}

// crockford writes project pseudonyms: 26 lower-case letters and digits for 16 bytes, in the same order
// as the bytes.
var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// PersonID writes a project pseudonym as it stands in a project dataset.
func PersonID(p []byte) string { return crockford.EncodeToString(p) }

// Round is the base that counts in the protected report are rounded to.
const Round = 10

// Protect returns the copy of a report that may go to the portal: counts of persons and rows that say
// something about the cohort are rounded to Round, and those below minCell are -1. Sizes of the tables
// in the lake stay as they are: the catalogue shows them anyway.
func Protect(r contract.ProvisionReport, minCell int) contract.ProvisionReport {
	count := func(n int64) int64 {
		switch {
		case n == 0:
			return 0
		case n < int64(minCell):
			return -1
		default:
			return (n + Round/2) / Round * Round
		}
	}
	r.Persons = contract.PersonCounts{Matched: count(r.Persons.Matched), Objected: count(r.Persons.Objected), Delivered: count(r.Persons.Delivered)}
	tables := make([]contract.TableProvision, len(r.Tables))
	for i, t := range r.Tables {
		t.RowsOut = count(t.RowsOut)
		dropped := map[string]int64{}
		for reason, n := range t.Dropped {
			dropped[reason] = count(n)
		}
		t.Dropped = dropped
		files := make([]contract.FilePart, len(t.Files))
		for k, f := range t.Files {
			f.Rows, f.Bytes = count(f.Rows), (f.Bytes+1023)/1024*1024
			files[k] = f
		}
		t.Files = files
		tables[i] = t
	}
	r.Tables = tables
	return r
}
