package lake_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/engine/lake/laketest"
)

func TestPublishInterruptedAtEachStage(t *testing.T) {
	for _, stage := range []string{"table", "rename", "point"} {
		t.Run(stage, func(t *testing.T) {
			l, incoming := laketest.Open(t)
			laketest.Publish(t, l, incoming, "d1", laketest.Sample(seeded(1), 0, 5, 20))
			before, err := l.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			data := laketest.Sample(seeded(2), 0, 6, 30)
			dir := filepath.Join(incoming, "d2")
			d := laketest.WriteParts(t, dir, "d2", data, 1)
			sheet, err := lake.ParseSheet(laketest.SheetBytes(t, "d2", data), "d2")
			if err != nil {
				t.Fatal(err)
			}
			l.FailAt(stage)
			if _, err := l.Publish(t.Context(), d, dir, sheet, nil); err == nil {
				t.Fatal("no fault")
			}
			during, err := l.Snapshot()
			if err != nil || during.ID != before.ID {
				t.Fatalf("half of a delivery is visible: %v", err)
			}
			l.FailAt("")
			m, err := l.Publish(t.Context(), d, dir, sheet, nil)
			if err != nil {
				t.Fatal(err)
			}
			after, err := l.Snapshot()
			if err != nil || after.Pointers["cnam/snds"] != "d2" {
				t.Fatalf("%v, %v", after, err)
			}
			prs, _ := m.Table("PRS")
			if n := len(laketest.ReadRows(t, m.Files(prs)...)); n != len(data.Rows["PRS"]) {
				t.Errorf("%d rows, want %d", n, len(data.Rows["PRS"]))
			}
		})
	}
}

func TestPublishOnAFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=300k"); err != nil {
		t.Skipf("needs the right to mount a small disk: %v", err)
	}
	defer syscall.Unmount(disk, syscall.MNT_DETACH)
	l, err := lake.Open(filepath.Join(disk, "lake"), t.TempDir(), lake.Options{Memory: "300MB", Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	small := laketest.Sample(seeded(1), 0, 5, 20)
	incoming := t.TempDir()
	laketest.Publish(t, l, incoming, "d1", small)
	before, err := l.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	big := laketest.Sample(seeded(2), 0, 2000, 40000)
	dir := filepath.Join(incoming, "d2")
	d := laketest.WriteParts(t, dir, "d2", big, 1)
	sheet, err := lake.ParseSheet(laketest.SheetBytes(t, "d2", big), "d2")
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.Publish(t.Context(), d, dir, sheet, nil)
	if !duck.DiskFull(err) || contract.RefusalCode(err) != "error" {
		t.Fatalf("want an error that says the disk is full, got %v", err)
	}
	after, err := l.Snapshot()
	if err != nil || after.ID != before.ID {
		t.Fatalf("the lake changed: %v", err)
	}
	if _, err := os.Stat(filepath.Join(l.Dir(), "cnam", "snds", "d2")); err == nil {
		t.Error("a directory of the delivery is there")
	}
	// What was half written is gone, so that a smaller delivery still finds room.
	laketest.Publish(t, l, incoming, "d3", small)
}
