// Package conf reads a configuration file into a strict struct: an unknown key is an error.
package conf

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

// Load decodes the YAML file at path into into, which may hold defaults.
func Load(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("configuration %s: %w", path, err)
	}
	return nil
}

// Save writes v as YAML, readable by its owner only.
func Save(path string, v any) error {
	b, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// TLS names the files that a zone shows to other zones.
type TLS struct {
	CA   string `yaml:"ca"`   // certificate of the hub's own authority
	Cert string `yaml:"cert"` // this zone's certificate
	Key  string `yaml:"key"`
}

// Zone is what every zone's configuration starts with.
type Zone struct {
	Dir       string `yaml:"dir"`      // the zone's own data directory
	Database  string `yaml:"database"` // "sqlite:PATH" or "postgres://…"; empty: sqlite in Dir
	TLS       TLS    `yaml:"tls"`
	Listen    string `yaml:"listen"`     // address of the mutual-TLS listener; empty: none
	DemoClock string `yaml:"demo_clock"` // file with a clock offset; demonstrations only
	Metrics   string `yaml:"metrics"`    // address for Prometheus; empty: none
}

// MetricsAddress is where the zone is measured; "" means nowhere.
func (z Zone) MetricsAddress() string { return z.Metrics }

// DSN returns the database to open.
func (z Zone) DSN() string {
	if z.Database != "" {
		return z.Database
	}
	return "sqlite:" + filepath.Join(z.Dir, "state.db")
}
