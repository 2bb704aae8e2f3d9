package lake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mitral-health/mitral/internal/contract"
)

// Publish joins a delivery with its ticket sheet and makes it the dataset in force. incoming holds the
// parts as <table>/<part>. Either the whole delivery becomes visible by one rename, or the lake stays as
// it was. Doing it again after a crash, or after success, is harmless. progress, which may be nil, hears
// of each table. A *contract.Refusal means that the delivery itself is at fault.
func (l *Lake) Publish(ctx context.Context, d contract.Delivery, incoming string, sheet *Sheet, progress func(done, total int)) (*Manifest, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := checkStructure(d); err != nil {
		return nil, err
	}
	if d.Tickets != int64(sheet.Len()) {
		return nil, contract.Refuse("counts_differ", "the delivery speaks of %d person records, the ticket sheet of %d", d.Tickets, sheet.Len())
	}
	dir := filepath.Join(l.dir, d.Dataset.Holder, d.Dataset.Dataset, d.ID)
	path := filepath.Join(dir, "manifest.json")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := l.build(ctx, d, incoming, sheet, dir, progress); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	m, digest, err := l.manifest(path)
	if err != nil {
		return nil, err
	}
	if err := l.fault("point"); err != nil {
		return nil, err
	}
	if err := l.point(m, digest); err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	return m, nil
}

// build writes the delivery below .build and moves it to dir when it is complete.
func (l *Lake) build(ctx context.Context, d contract.Delivery, incoming string, sheet *Sheet, dir string, progress func(done, total int)) (err error) {
	build := filepath.Join(l.dir, ".build", d.ID)
	temp := filepath.Join(l.temp, "publish-"+d.ID)
	for _, p := range []string{build, temp} {
		if err := os.RemoveAll(p); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		if err := os.MkdirAll(p, 0o700); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	defer func() {
		if rerr := os.RemoveAll(temp); rerr != nil && err == nil {
			err = rerr
		}
		if err != nil {
			// What was written is no use, and on a full disk it is in the way.
			err = errors.Join(err, os.RemoveAll(build))
		}
	}()
	j, err := l.newJoin(ctx, d, incoming, build, temp, sheet)
	if err != nil {
		return err
	}
	defer j.close()
	if err := j.check(ctx); err != nil {
		return err
	}
	m := &Manifest{
		Schema: ManifestSchema, Delivery: d.ID, Holder: d.Dataset.Holder, Dataset: d.Dataset.Dataset, Structure: d.Dataset,
		Epoch: sheet.Header.Epoch, Linkage: sheet.Header.Report, Years: map[string]int64{}, PublishedAt: l.now().UTC(),
	}
	for i := range d.Dataset.Tables {
		t, err := j.table(ctx, &d.Dataset.Tables[i], m.Years)
		if err != nil {
			return err
		}
		m.Tables = append(m.Tables, *t)
		if progress != nil {
			progress(i+1, len(d.Dataset.Tables))
		}
		if err := l.fault("table"); err != nil {
			return err
		}
	}
	if m.Persons, err = j.persons(ctx, m); err != nil {
		return err
	}
	if err := finishFiles(ctx, build, m); err != nil {
		return err
	}
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := WriteFile(filepath.Join(build, "manifest.json"), b); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := l.fault("rename"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := os.Rename(build, dir); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return SyncDir(filepath.Dir(dir))
}

// finishFiles makes every file of the build last and notes its size and digest.
func finishFiles(ctx context.Context, build string, m *Manifest) error {
	for i := range m.Tables {
		t := &m.Tables[i]
		files := make([]*File, 0, len(t.Files)+1)
		for k := range t.Files {
			files = append(files, &t.Files[k])
		}
		if t.PersonsFile != nil {
			files = append(files, t.PersonsFile)
		}
		dirs := map[string]bool{}
		for _, f := range files {
			if err := ctx.Err(); err != nil {
				return err
			}
			path := filepath.Join(build, f.Path)
			if err := finishFile(path, f); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			dirs[filepath.Dir(path)] = true
		}
		dirs[filepath.Join(build, t.Name)] = true
		for d := range dirs {
			if err := SyncDir(d); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
	}
	return SyncDir(build)
}

func finishFile(path string, f *File) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	if f.Bytes, err = io.Copy(sum, file); err != nil {
		return err
	}
	f.Digest = contract.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))
	return file.Sync()
}

// reserved are column names that the lake and project datasets use themselves.
var reserved = []string{PersonColumn, "ticket", "person_id"}

// Keyed reports whether the rows of a table belong to persons, so that they arrive with tickets.
func Keyed(t *contract.Table) bool { return t.PersonKey() != "" || t.HasIdentity() }

// payload returns the columns that engine receives.
func payload(t *contract.Table) []contract.Column {
	var out []contract.Column
	for _, c := range t.Columns {
		if c.Role == contract.RolePayload {
			out = append(out, c)
		}
	}
	return out
}

// checkStructure refuses what the contract allows and the lake cannot hold: names are compared without
// case in SQL and on some disks.
func checkStructure(d contract.Delivery) error {
	if err := d.Validate(); err != nil {
		return err
	}
	tables := map[string]bool{}
	for i := range d.Dataset.Tables {
		t := &d.Dataset.Tables[i]
		if tables[strings.ToLower(t.Name)] {
			return contract.Refuse("invalid", "two tables are called %s but for the case of letters", t.Name)
		}
		tables[strings.ToLower(t.Name)] = true
		columns := map[string]bool{}
		for _, c := range payload(t) {
			name := strings.ToLower(c.Name)
			if columns[name] {
				return contract.Refuse("invalid", "table %s: two columns are called %s but for the case of letters", t.Name, c.Name)
			}
			columns[name] = true
			if slices.Contains(reserved, name) {
				return contract.Refuse("invalid", "table %s: the name %s is reserved; rename the column", t.Name, c.Name)
			}
		}
	}
	for _, p := range d.Parts {
		if p.Table == "" {
			return contract.Refuse("invalid", "part %s belongs to no table: identities go to the trusted third party, not here", p.Name)
		}
	}
	return nil
}
