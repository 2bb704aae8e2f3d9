package sandbox

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCollectTakesOnlyPlainFiles(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	write := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(outside, "secret")
	write(filepath.Join(dir, "good.csv"), "a,n\nx,12\n")
	write(filepath.Join(dir, "big.csv"), strings.Repeat("x", 2000))
	write(filepath.Join(dir, "odd\nname"), "x")
	write(filepath.Join(dir, ".hidden"), "x")
	write(filepath.Join(dir, "twin"), "x")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Link(filepath.Join(dir, "twin"), filepath.Join(dir, "twin2")))
	must(os.Symlink(outside, filepath.Join(dir, "link.csv")))
	must(os.Symlink("/proc/self/environ", filepath.Join(dir, "magic.csv")))
	must(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	write(filepath.Join(dir, "sub", "inner.csv"), "x")
	if os.Geteuid() == 0 {
		must(unix.Mknod(filepath.Join(dir, "device"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	}

	got := map[string]string{}
	refused, err := Collect(dir, CollectLimits{Files: 10, FileSize: 1000, Total: 5000}, func(name string, size int64, r io.Reader) error {
		b, err := io.ReadAll(r)
		got[name] = string(b)
		if int64(len(b)) != size {
			t.Errorf("%s: size %d, read %d", name, size, len(b))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got["good.csv"] != "a,n\nx,12\n" {
		t.Errorf("taken: %v", got)
	}
	reasons := map[string]string{}
	for _, r := range refused {
		reasons[r.Name] = r.Reason
	}
	for name, want := range map[string]string{"big.csv": "larger", "odd?name": "the name", ".hidden": "the name", "twin": "hard link", "twin2": "hard link",
		"link.csv": "symbolic link", "magic.csv": "symbolic link", "fifo": "regular", "sub": "directory"} {
		if !strings.Contains(reasons[name], want) {
			t.Errorf("%s: refused because %q, want %q", name, reasons[name], want)
		}
	}
	if os.Geteuid() == 0 && reasons["device"] == "" {
		t.Error("a device was taken")
	}
}

func TestCollectLimits(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		l    CollectLimits
		want int
	}{
		{CollectLimits{Files: 2, FileSize: 100, Total: 100}, 2},
		{CollectLimits{Files: 9, FileSize: 100, Total: 25}, 2},
		{CollectLimits{Files: 9, FileSize: 9, Total: 100}, 0},
		{CollectLimits{Files: 9, FileSize: 10, Total: 30}, 3},
	} {
		n := 0
		refused, err := Collect(dir, c.l, func(string, int64, io.Reader) error { n++; return nil })
		if err != nil || n != c.want || len(refused) != 3-c.want {
			t.Errorf("%+v: took %d, refused %v, %v", c.l, n, refused, err)
		}
	}
	if _, err := Collect(filepath.Join(dir, "missing"), CollectLimits{}, nil); err == nil {
		t.Error("a missing directory was accepted")
	}
}

func FuzzPlainName(f *testing.F) {
	for _, s := range []string{"a.csv", "..", "a..b", "/etc/passwd", "-rf", ".x", "a\nb", "é", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !PlainName(s) {
			return
		}
		if filepath.Base(s) != s || s == "." || s == ".." || strings.ContainsAny(s, "/\\\x00\n\r\t \"'<>&;$`") || s[0] == '-' || s[0] == '.' {
			t.Errorf("%q passed", s)
		}
	})
}
