// Package demo runs a whole hub on one machine: it makes the sample country, the certificates and the
// configurations, starts the five zones, the demonstration identity provider and the demonstration
// security key, and can walk the journey from a holder's file to a researcher's result over HTTP, as
// people and programs would. "mitral demo" and the tests of the whole call it. It plays the operator and
// the persons; it is no zone, reaches into no zone's memory, and must never be part of a real hub.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// DefaultPeople is the size of a new sample country when nothing else is asked for.
const DefaultPeople = 20_000

// Options of a demonstration hub.
type Options struct {
	Dir      string // everything lies below it
	Binary   string // the mitral program
	People   int    // of the sample country
	Seed     uint64
	Years    int
	Port     int                              // first of the ports in use; 0: any free ones
	Format   string                           // of the holders' files: "csv" or "parquet"
	Shared   string                           // directory of third-party data; "" or absent: left out
	PortalDB string                           // database of the portal: "" for SQLite, or a PostgreSQL URL
	TrustDB  string                           // database of trust, likewise
	Say      func(format string, args ...any) // what is being done, for people; may be nil
	// Disturb is called when something begins to be waited for, and may do harm; for tests.
	Disturb  func(what string)
	Progress func(done, total int64, unit string) // of the step being done; may be nil
}

// ports of the processes, in the order of Options.Port.
type ports struct {
	Portal, OrderBook, Trust, Vault, Engine, Enclave, IDP, Key int
}

// state is what is remembered between two runs (file state.json).
type state struct {
	People    int    `json:"people"`
	Seed      uint64 `json:"seed"`
	Years     int    `json:"years"`
	Ports     ports  `json:"ports"`
	Format    string `json:"format"`
	Shared    string `json:"shared,omitempty"` // absolute, so that the next start finds the same wherever it is made
	Delivered bool   `json:"delivered"`        // holders' data are in the lake, the hub is ready to be walked
}

// Hub is a demonstration hub.
type Hub struct {
	opts  Options
	state state
	key   *SoftKey
	lock  *os.File
	procs []*Process
	stop  []func()
}

// Open prepares the directory: a hub of its own, or the one that is there. It does not start anything.
func Open(opts Options) (*Hub, error) {
	if opts.Say == nil {
		opts.Say = func(string, ...any) {}
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	h := &Hub{opts: opts}
	if h.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(h.path("state.json"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		if opts.People == 0 {
			opts.People = DefaultPeople
		}
		h.state = state{People: opts.People, Seed: opts.Seed, Years: opts.Years, Format: opts.Format}
		if opts.Shared != "" && exists(opts.Shared) {
			if h.state.Shared, err = filepath.Abs(opts.Shared); err != nil {
				return nil, err
			}
		}
		if h.state.Ports, err = choosePorts(opts.Port); err != nil {
			return nil, err
		}
		if err := h.save(); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	default:
		if err := json.Unmarshal(b, &h.state); err != nil {
			return nil, fmt.Errorf("%s cannot be read (%v); start over with --reset", h.path("state.json"), err)
		}
		if opts.People != 0 && h.state.People != opts.People {
			return nil, fmt.Errorf("%s holds a hub of %d people; start over with --reset, or choose another --dir", dir, h.state.People)
		}
	}
	if h.key, err = OpenSoftKey(h.path("key", "officer.key")); err != nil {
		return nil, err
	}
	return h, nil
}

// Reset removes a hub's directory, but only if it looks like one.
func Reset(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(entries) == 0) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "state.json")); err != nil {
		return fmt.Errorf("%s is not the directory of a demonstration hub; nothing was removed", dir)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	pids, _ := filepath.Glob(filepath.Join(dir, "run", "*.pid"))
	for _, p := range pids {
		if err := killLeftover(p); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// lockDir makes sure that one supervisor works in a directory at a time.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("a demonstration is already running in %s", dir)
	}
	return f, nil
}

func choosePorts(first int) (ports, error) {
	var p ports
	fields := []*int{&p.Portal, &p.OrderBook, &p.Trust, &p.Vault, &p.Engine, &p.Enclave, &p.IDP, &p.Key}
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for i, f := range fields {
		want := 0
		if first != 0 {
			want = first + i
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", want))
		if err != nil {
			return p, fmt.Errorf("port %d is taken; choose others with --port", want)
		}
		held = append(held, l) // all are held until all are chosen, so that none is given twice
		*f = l.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

func (h *Hub) save() error {
	b, err := json.MarshalIndent(h.state, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(h.path("state.json"), b)
}

// writeFile replaces a file as a whole.
func writeFile(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func (h *Hub) path(elem ...string) string {
	return filepath.Join(append([]string{h.opts.Dir}, elem...)...)
}

// Addresses of the front doors. "localhost" and not an IP address: passkeys need a name.
func (h *Hub) PortalURL() string  { return fmt.Sprintf("http://localhost:%d", h.state.Ports.Portal) }
func (h *Hub) EnclaveURL() string { return fmt.Sprintf("http://localhost:%d", h.state.Ports.Enclave) }
func (h *Hub) idpURL() string     { return fmt.Sprintf("http://localhost:%d", h.state.Ports.IDP) }
func (h *Hub) keyURL() string     { return fmt.Sprintf("http://localhost:%d", h.state.Ports.Key) }

// Dir is the hub's directory; ZoneDir that of one zone.
func (h *Hub) Dir() string                { return h.opts.Dir }
func (h *Hub) ZoneDir(zone string) string { return h.path("zones", zone) }

// Process returns a running process by name, for tests that kill it.
func (h *Hub) Process(name string) *Process {
	for _, p := range h.procs {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Close stops everything, last started first, and lets the directory go.
func (h *Hub) Close() {
	for i := len(h.stop) - 1; i >= 0; i-- {
		h.stop[i]()
	}
	h.stop = nil
	done := make(chan struct{})
	for _, p := range h.procs {
		go func() { p.Stop(); done <- struct{}{} }()
	}
	for range h.procs {
		<-done
	}
	h.procs = nil
	if h.lock != nil {
		h.lock.Close()
		h.lock = nil
	}
}

// startProcess starts a child and waits until its port answers.
func (h *Hub) startProcess(ctx context.Context, name string, port int, args ...string) error {
	p := &Process{Name: name, Binary: h.opts.Binary, Args: args, Log: h.path("logs", name+".log"), Pid: h.path("run", name+".pid")}
	for _, dir := range []string{"logs", "run"} {
		if err := os.MkdirAll(h.path(dir), 0o700); err != nil {
			return err
		}
	}
	if err := p.Start(); err != nil {
		return err
	}
	h.procs = append(h.procs, p)
	return waitReady(ctx, p, func(ctx context.Context) error {
		d := net.Dialer{Timeout: time.Second}
		c, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return err
		}
		return c.Close()
	})
}
