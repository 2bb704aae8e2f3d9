package enclave

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mitral-health/mitral/internal/enclave/sandbox"
	"github.com/mitral-health/mitral/internal/kit/conf"
)

// Config is the enclave's configuration file.
type Config struct {
	conf.Zone `yaml:",inline"`
	Portal    string  `yaml:"portal"`   // the order book's address ("https://portal.hub.example:7443")
	Vault     string  `yaml:"vault"`    // vault's address
	Handover  string  `yaml:"handover"` // directory in which engine leaves sealed project datasets
	Door      Door    `yaml:"door"`
	Sandbox   Sandbox `yaml:"sandbox"`
	Demo      bool    `yaml:"demo"`     // sign-in without a passkey; demonstrations only
	HubName   string  `yaml:"hub_name"` // in the header of pages
	TimeZone  string  `yaml:"time_zone"`
}

// Door is the front door for the persons that permits name and for reviewers.
type Door struct {
	Listen  string        `yaml:"listen"`  // "127.0.0.1:8090"
	URL     string        `yaml:"url"`     // as browsers see it: "https://enclave.hub.example"
	Cert    string        `yaml:"cert"`    // TLS certificate and key; both empty: plain HTTP, behind a proxy that ends TLS
	Key     string        `yaml:"key"`     //
	RPID    string        `yaml:"rp_id"`   // WebAuthn relying party; empty: the host of URL
	Origins []string      `yaml:"origins"` // where a passkey may be used; empty: the origin of URL
	Idle    time.Duration `yaml:"idle"`    // after which a session ends; 0: 30 minutes (TEHDAS2 TIR-24)
}

// Sandbox says how jobs run.
type Sandbox struct {
	Binary  string         `yaml:"binary"`   // program with the sub-commands that run inside; empty: this one
	Scratch string         `yaml:"scratch"`  // for decrypted data, best on a memory file system; empty: one below /dev/shm
	Require []string       `yaml:"require"`  // layers beyond those always required: "cgroup"
	Limits  sandbox.Limits `yaml:"limits"`   // of one job; what is 0 has the default
	UIDBase int            `yaml:"uid_base"` // host user ids of workspaces start above this when the enclave runs as root; 0: 200000
	Workers int            `yaml:"workers"`  // jobs at the same time; 0: 2
}

// complete fills defaults in and checks that nothing needed is missing.
func (c *Config) complete() error {
	switch {
	case c.Dir == "":
		return errors.New("enclave: dir is missing")
	case c.Portal == "" || c.Vault == "":
		return errors.New("enclave: portal and vault are needed")
	case c.Handover == "":
		return errors.New("enclave: handover is missing")
	case c.Door.Listen == "" || c.Door.URL == "":
		return errors.New("enclave: door.listen and door.url are needed")
	}
	u, err := url.Parse(c.Door.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("enclave: door.url %q is no address", c.Door.URL)
	}
	if c.Door.RPID == "" {
		c.Door.RPID = u.Hostname()
	}
	if len(c.Door.Origins) == 0 {
		c.Door.Origins = []string{u.Scheme + "://" + u.Host}
	}
	if c.Door.Idle == 0 {
		c.Door.Idle = 30 * time.Minute
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	if c.Sandbox.Scratch == "" {
		c.Sandbox.Scratch = scratch(c.Dir)
	}
	if c.Sandbox.UIDBase == 0 {
		c.Sandbox.UIDBase = 200_000
	}
	if c.Sandbox.Workers == 0 {
		c.Sandbox.Workers = 2
	}
	if c.TimeZone == "" {
		c.TimeZone = "Europe/Paris"
	}
	fillLimits(&c.Sandbox.Limits)
	return nil
}

// scratch is a directory for this enclave's jobs on the memory file system, or in its own directory where
// the machine has none.
func scratch(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	name := "mitral-" + hex.EncodeToString(sum[:6])
	var st unix.Statfs_t
	const tmpfsMagic = 0x01021994
	if unix.Statfs("/dev/shm", &st) == nil && st.Type == tmpfsMagic && unix.Access("/dev/shm", unix.W_OK) == nil {
		return filepath.Join("/dev/shm", name)
	}
	if os.Geteuid() == 0 { // a job's user cannot pass the closed directory of the zone
		return filepath.Join(os.TempDir(), name)
	}
	return filepath.Join(dir, "scratch")
}

func fillLimits(l *sandbox.Limits) {
	d := sandbox.DefaultLimits()
	fill := func(v *int64, def int64) {
		if *v == 0 {
			*v = def
		}
	}
	fill(&l.Memory, d.Memory)
	fill(&l.AddrSpace, d.AddrSpace)
	fill(&l.FileSize, d.FileSize)
	fill(&l.OutTotal, d.OutTotal)
	fill(&l.Temp, d.Temp)
	fill((*int64)(&l.CPU), int64(d.CPU))
	fill((*int64)(&l.Wall), int64(d.Wall))
	for v, def := range map[*int]int{&l.Processes: d.Processes, &l.OpenFiles: d.OpenFiles, &l.Log: d.Log} {
		if *v == 0 {
			*v = def
		}
	}
}
