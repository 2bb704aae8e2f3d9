package contract

import "time"

// ProvisionReport says what a run did to turn the lake into a project dataset. The copy that goes to
// the portal has person counts rounded to RoundTo and hidden below MinCell (-1); the full copy lies in
// the workspace.
type ProvisionReport struct {
	Schema       string           `json:"schema"` // "mitral.provision/1"
	OrderID      string           `json:"order_id"`
	PermitID     string           `json:"permit_id"`
	PermitDigest Digest           `json:"permit_digest"`
	Snapshot     string           `json:"snapshot"` // lake snapshot the run saw
	StartedAt    time.Time        `json:"started_at"`
	FinishedAt   time.Time        `json:"finished_at"`
	Persons      PersonCounts     `json:"persons"`
	Tables       []TableProvision `json:"tables"`
	Digest       Digest           `json:"digest"` // of the canonical list of files
}

// PersonCounts follows the persons through the selection.
type PersonCounts struct {
	Matched   int64 `json:"matched"`   // fit the cohort
	Objected  int64 `json:"objected"`  // of those, on the objection roll at the permit date
	Delivered int64 `json:"delivered"` // in the project dataset
}

// TableProvision is one table of the report.
type TableProvision struct {
	Holder         string           `json:"holder"`
	Dataset        string           `json:"dataset"`
	Table          string           `json:"table"`
	RowsIn         int64            `json:"rows_in"`
	RowsOut        int64            `json:"rows_out"`
	Dropped        map[string]int64 `json:"dropped"` // reason → rows: not_in_cohort, objected, outside_period, no_date
	ColumnsKept    []string         `json:"columns_kept"`
	ColumnsDropped []string         `json:"columns_dropped"`
	Files          []FilePart       `json:"files"` // digests of the plain Parquet files
}

// Handover describes the sealed project dataset that engine leaves for enclave: files
// <dir>/<permit id>/<order id>/*.age and, last, handover.json, which makes it visible.
type Handover struct {
	Schema   string          `json:"schema"` // "mitral.handover/1"
	OrderID  string          `json:"order_id"`
	PermitID string          `json:"permit_id"`
	Files    []HandoverFile  `json:"files"`
	Report   ProvisionReport `json:"report"`
}

// HandoverFile is one sealed file. Name is "<dataset>.<table>.parquet"; the sealed file adds ".age".
type HandoverFile struct {
	Name         string `json:"name"`
	Digest       Digest `json:"digest"` // of the plain bytes
	SealedDigest Digest `json:"sealed_digest"`
	Bytes        int64  `json:"bytes"`
}

// WorkspaceOpened is the body of enclave's receipt.
type WorkspaceOpened struct {
	WorkspaceID string `json:"workspace_id"`
	PermitID    string `json:"permit_id"`
	URL         string `json:"url"` // the enclave's front door
}

// ExportFile is one file of an export.
type ExportFile struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Digest Digest `json:"digest"`
}

// ExportReview is one reviewer's verdict.
type ExportReview struct {
	Reviewer string    `json:"reviewer"`
	Approved bool      `json:"approved"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}

// ExportCheck is one automatic check and its outcome: "pass", "review" or "fail".
type ExportCheck struct {
	File    string `json:"file"`
	Check   string `json:"check"`
	Outcome string `json:"outcome"`
	Detail  string `json:"detail"`
}

// Export is the record that goes to the portal with the released files, and only then.
type Export struct {
	Schema     string         `json:"schema"` // "mitral.export/1"
	ID         string         `json:"id"`
	PermitID   string         `json:"permit_id"`
	Workspace  string         `json:"workspace"`
	Author     string         `json:"author"`
	Title      string         `json:"title"`
	Files      []ExportFile   `json:"files"`
	Checks     []ExportCheck  `json:"checks"`
	Reviews    []ExportReview `json:"reviews"`
	ReleasedAt time.Time      `json:"released_at"`
}
