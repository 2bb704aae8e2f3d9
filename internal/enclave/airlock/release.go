package airlock

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// release sends an approved export to the portal. It may be cut off at any instant and starts over: files
// carry their digests, and the closing document is the same each time because its date was fixed first.
func (s *Service) release(ctx context.Context, payload json.RawMessage) error {
	var p struct {
		Export string `json:"export"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return err
	}
	e, err := s.load(ctx, s.DB, p.Export)
	if err != nil || e.State != Approved {
		return err
	}
	if e.ReleasingAt.IsZero() {
		if e, err = s.change(ctx, e.ID, Event{Kind: EventReleasing, At: s.Clock.Now(), Actor: "enclave"}, nil); err != nil {
			return err
		}
	}
	err = s.send(ctx, e)
	var refusal *contract.Refusal
	if errors.As(err, &refusal) {
		// A changed file or an ended permit: nothing more leaves, for good.
		_, err = s.change(ctx, e.ID, Event{Kind: EventStopped, At: s.Clock.Now(), Actor: "enclave", Reason: refusal.Code}, func(tx *store.Tx, _ *Export) error {
			return s.record(ctx, tx, "enclave", "export.stopped", e.ID, refusal.Code, nil)
		})
		return err
	}
	if err != nil {
		return err
	}
	_, err = s.change(ctx, e.ID, Event{Kind: EventReleased, At: s.Clock.Now(), Actor: "enclave"}, func(tx *store.Tx, e *Export) error {
		return s.record(ctx, tx, "enclave", "export.released", e.ID, "ok", map[string]any{"files": string(e.Request.Digest)})
	})
	return err
}

func (s *Service) send(ctx context.Context, e *Export) error {
	w, err := s.Workspaces.InForce(ctx, e.Workspace)
	if err != nil {
		return err
	}
	digest, err := filesDigest(&e.Request)
	if err != nil {
		return err
	}
	if digest != e.Request.Digest {
		return contract.Refuse("altered", "the list of files changed")
	}
	base := "/orderbook/v1/exports/" + url.PathEscape(e.ID)
	doc := contract.Export{Schema: "mitral.export/1", ID: e.ID, PermitID: e.Request.PermitID, Workspace: e.Workspace, Author: e.Author,
		Title: e.Request.Title, Files: []contract.ExportFile{}, Checks: Checks(e.Request.Reports), Reviews: []contract.ExportReview{}, ReleasedAt: e.ReleasingAt}
	// All files are read and checked before the first one leaves.
	contents := make([][]byte, len(e.Request.Files))
	for i, f := range e.Request.Files {
		if contents[i], err = s.content(ctx, w, e, i); err != nil {
			return err
		}
		doc.Files = append(doc.Files, contract.ExportFile{Name: f.Name, Bytes: f.Bytes, Digest: f.Digest})
	}
	for i, f := range e.Request.Files {
		if err := s.put(ctx, base+"/files/"+url.PathEscape(f.Name), contents[i], f.Digest); err != nil {
			return err
		}
	}
	for _, r := range e.Reviews {
		doc.Reviews = append(doc.Reviews, contract.ExportReview{Reviewer: r.Reviewer, Approved: r.Approved, Reason: r.Reason, At: r.At})
	}
	return s.Book.Post(ctx, base, doc)
}

// put sends one file from memory: its plain bytes never touch a disk on this side.
func (s *Service) put(ctx context.Context, path string, content []byte, digest contract.Digest) error {
	fd, err := unix.MemfdCreate("export", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "export")
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	return s.Book.PutFile(ctx, path, f, string(digest))
}
