package engine

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/mitral-health/mitral/internal/kit/conf"
)

// Config is engine's configuration file.
type Config struct {
	conf.Zone `yaml:",inline"`
	// Portal, Trust and Vault are the addresses of the zones that engine dials ("https://trust.hub.example:7444").
	// Without a portal no orders are taken.
	Portal string `yaml:"portal"`
	Trust  string `yaml:"trust"`
	Vault  string `yaml:"vault"`
	// Handover is the directory that enclave reads project data from.
	Handover string `yaml:"handover"`
	// Memory is DuckDB's limit for one publication or provision ("4GB").
	Memory string `yaml:"memory"`
	// CountMemory is DuckDB's limit for counts ("1GB").
	CountMemory string `yaml:"count_memory"`
	// Threads is the number of DuckDB's threads; 0 means one per processor.
	Threads int `yaml:"threads"`
	// MaxPartBytes is the largest part of a delivery; 0 means 1 GiB.
	MaxPartBytes int64 `yaml:"max_part_bytes"`
	// DailyQuestions is how many counts one asker may have in a day; 0 means 200.
	DailyQuestions int64 `yaml:"daily_questions"`
	// RollTTL is how long the objection roll of counts is kept, in seconds; 0 means 120.
	RollTTL int `yaml:"roll_ttl"`
}

// Validate checks that nothing needed is missing, and fills in what may be left out.
func (c *Config) Validate() error {
	switch {
	case c.Dir == "":
		return errors.New("engine: dir is missing")
	case c.Trust == "":
		return errors.New("engine: trust is missing: without it no delivery can be joined")
	case c.Portal != "" && (c.Vault == "" || c.Handover == ""):
		return errors.New("engine: vault and handover are needed to carry out orders")
	}
	if c.Memory == "" {
		c.Memory = "4GB"
	}
	if c.CountMemory == "" {
		c.CountMemory = "1GB"
	}
	if c.MaxPartBytes == 0 {
		c.MaxPartBytes = 1 << 30
	}
	if c.DailyQuestions == 0 {
		c.DailyQuestions = 200
	}
	if c.RollTTL == 0 {
		c.RollTTL = 120
	}
	return nil
}

func (c *Config) rollTTL() time.Duration          { return time.Duration(c.RollTTL) * time.Second }
func (c *Config) lake() string                    { return filepath.Join(c.Dir, "lake") }
func (c *Config) temp() string                    { return filepath.Join(c.Dir, "tmp") }
func (c *Config) work(order string) string        { return filepath.Join(c.Dir, "work", order) }
func (c *Config) incoming(delivery string) string { return filepath.Join(c.Dir, "incoming", delivery) }
func (c *Config) sheet(delivery string) string {
	return filepath.Join(c.incoming(delivery), "sheet.age")
}
func (c *Config) audit() string { return filepath.Join(c.Dir, auditDir) }
