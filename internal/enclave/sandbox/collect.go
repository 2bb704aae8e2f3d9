package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// CollectLimits bound what is taken over from a job's output directory.
type CollectLimits struct {
	Files    int   // number of files
	FileSize int64 // bytes of one
	Total    int64 // bytes of all
}

// Refused is a name in the output directory that was not taken over, and why.
type Refused struct{ Name, Reason string }

// Collect walks the output directory of a finished run and hands every plain file to take. The directory
// was written by a hostile program, so nothing in it is followed: each file is opened relative to the
// directory with openat2 (no symlink, no way out, no other mount), must be regular with a single link, and
// must have a plain name. Sub-directories are not entered. What is refused is told, never an error.
func Collect(dir string, l CollectLimits, take func(name string, size int64, r io.Reader) error) ([]Refused, error) {
	root, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("collect outputs: %w", err)
	}
	d := os.NewFile(uintptr(root), "out")
	defer d.Close()
	names, err := d.Readdirnames(l.Files + 1001) // a bound even on a directory with millions of names
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("collect outputs: %w", err)
	}
	slices.Sort(names)
	var refused []Refused
	taken, total := 0, int64(0)
	for _, name := range names {
		reason, err := collectOne(root, name, l, taken, &total, take)
		if err != nil {
			return refused, err
		}
		if reason == "" {
			taken++
			continue
		}
		if len(refused) < 100 {
			refused = append(refused, Refused{Name: printable(name), Reason: reason})
		}
	}
	return refused, nil
}

func collectOne(root int, name string, l CollectLimits, taken int, total *int64, take func(string, int64, io.Reader) error) (string, error) {
	if !PlainName(name) {
		return "the name must be 1 to 100 letters, digits, '.', '_' or '-', starting with a letter or digit", nil
	}
	if taken >= l.Files {
		return fmt.Sprintf("more than %d files", l.Files), nil
	}
	// O_NONBLOCK: opening a FIFO must not wait for a writer that never comes.
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	switch {
	case errors.Is(err, unix.ELOOP):
		return "a symbolic link", nil
	case errors.Is(err, unix.ENOSYS):
		return "", fmt.Errorf("collect outputs: the kernel has no openat2")
	case err != nil:
		return "cannot be opened as a plain file", nil
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", fmt.Errorf("collect outputs: %w", err)
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return "a directory; write files directly into /out", nil
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "not a regular file", nil
	case st.Nlink != 1:
		return "a hard link", nil
	case st.Size > l.FileSize:
		return fmt.Sprintf("larger than %d bytes", l.FileSize), nil
	case *total+st.Size > l.Total:
		return fmt.Sprintf("all files together are larger than %d bytes", l.Total), nil
	}
	*total += st.Size
	return "", take(name, st.Size, io.LimitReader(f, st.Size))
}

// PlainName reports whether an output file may bear the name: it must mean the same to every system it
// will pass through, and hide nothing.
func PlainName(name string) bool {
	if len(name) == 0 || len(name) > 100 {
		return false
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		alnum := (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')
		if !alnum && (i == 0 || (c != '.' && c != '_' && c != '-')) {
			return false
		}
	}
	return !strings.Contains(name, "..")
}

// printable shows a refused name without control characters.
func printable(name string) string {
	s := strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, name)
	if len(s) > 100 {
		s = strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}
