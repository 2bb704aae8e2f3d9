package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// cgroups is the place where this process may make control groups with a memory and a pids limit.
type cgroups struct {
	version string   // "v1" or "v2"
	bases   []string // v2: one directory; v1: that of the memory and that of the pids controller
}

const (
	cgroupRoot = "/sys/fs/cgroup"
	cgroupName = "mitral"
)

// findCgroups returns nil when the machine offers none to this user, which a trial shows.
func findCgroups() *cgroups {
	c := locateCgroups()
	if c == nil {
		return nil
	}
	g, err := c.create("trial", DefaultLimits())
	if err != nil {
		return nil
	}
	g.remove()
	c.sweep()
	return c
}

// sweep removes the empty groups of enclaves that were killed; a group's name holds its process number.
func (c *cgroups) sweep() {
	for _, base := range c.bases {
		entries, err := os.ReadDir(base)
		if err != nil {
			continue
		}
		for _, e := range entries {
			parts := strings.Split(e.Name(), "-")
			if !e.IsDir() || len(parts) < 3 {
				continue
			}
			if _, err := os.Stat(filepath.Join("/proc", parts[len(parts)-2])); errors.Is(err, os.ErrNotExist) {
				os.Remove(filepath.Join(base, e.Name())) // refused by the kernel while a process is in it
			}
		}
	}
}

func locateCgroups() *cgroups {
	if b, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		if c := strings.Fields(string(b)); !slices.Contains(c, "memory") || !slices.Contains(c, "pids") {
			return nil
		}
		base := filepath.Join(cgroupRoot, cgroupName)
		if os.MkdirAll(base, 0o755) != nil {
			return nil
		}
		for _, dir := range []string{cgroupRoot, base} {
			if os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+memory +pids"), 0o644) != nil {
				return nil
			}
		}
		return &cgroups{version: "v2", bases: []string{base}}
	}
	c := &cgroups{version: "v1"}
	for _, controller := range []string{"memory", "pids"} {
		base := filepath.Join(cgroupRoot, controller, cgroupName)
		if _, err := os.Stat(filepath.Join(cgroupRoot, controller, "cgroup.procs")); err != nil || os.MkdirAll(base, 0o755) != nil {
			return nil
		}
		c.bases = append(c.bases, base)
	}
	return c
}

// group is the control group of one run; a nil group does nothing.
type group struct {
	version string
	dirs    []string
}

func (c *cgroups) create(name string, l Limits) (*group, error) {
	if c == nil {
		return nil, nil
	}
	g := &group{version: c.version}
	unique := name + "-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	for _, base := range c.bases {
		dir := filepath.Join(base, unique)
		if err := os.Mkdir(dir, 0o755); err != nil {
			g.remove()
			return nil, err
		}
		g.dirs = append(g.dirs, dir)
	}
	memory, pids := strconv.FormatInt(l.Memory, 10), strconv.Itoa(l.Processes+8) // bubblewrap's own and the shim's threads
	settings := [][2]string{{"0/memory.max", memory}, {"0/memory.swap.max", "0"}, {"0/pids.max", pids}}
	if c.version == "v1" {
		settings = [][2]string{{"0/memory.limit_in_bytes", memory}, {"1/pids.max", pids}}
	}
	for _, s := range settings {
		i, file, _ := strings.Cut(s[0], "/")
		n, _ := strconv.Atoi(i)
		if err := os.WriteFile(filepath.Join(g.dirs[n], file), []byte(s[1]), 0o644); err != nil {
			if file == "memory.swap.max" && errors.Is(err, os.ErrNotExist) { // a kernel without swap accounting
				continue
			}
			g.remove()
			return nil, err
		}
	}
	return g, nil
}

func (g *group) add(pid int) error {
	if g == nil {
		return nil
	}
	for _, d := range g.dirs {
		if err := os.WriteFile(filepath.Join(d, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// kill ends what may be left in a v2 group; in v1 the pid namespace has already done it.
func (g *group) kill() {
	if g != nil && g.version == "v2" {
		os.WriteFile(filepath.Join(g.dirs[0], "cgroup.kill"), []byte("1"), 0o644)
	}
}

// remove deletes the group. The kernel needs a moment after the last process is gone.
func (g *group) remove() {
	if g == nil {
		return
	}
	for _, d := range g.dirs {
		for range 50 {
			if err := os.Remove(d); err == nil || errors.Is(err, os.ErrNotExist) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}
