package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/mitral-health/mitral/internal/demoidp"
	"github.com/mitral-health/mitral/internal/enclave"
	"github.com/mitral-health/mitral/internal/engine"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/operator"
)

type enrolCmd struct {
	ZoneDir string `required:"" type:"existingdir" help:"Directory of an inner zone."`
	File    string `xor:"what" required:"" type:"existingfile" help:"Enrolment file that the officer or reviewer brought."`
	Revoke  string `xor:"what" required:"" help:"Id of a person whose keys are trusted no longer from now on."`
	Role    string `default:"officer" enum:"officer,reviewer" help:"With --revoke: officer or reviewer."`
}

func (c *enrolCmd) Help() string {
	return "Decides whom one zone trusts. Compare the key's fingerprint with its owner before you enrol it, and do it in each inner zone by that zone's operator. A running zone reads its list again by itself."
}

func (c *enrolCmd) Run() error {
	if c.Revoke != "" {
		return operator.Revoke(c.ZoneDir, c.Role, c.Revoke, time.Now().UTC())
	}
	e, err := operator.EnrolFile(c.ZoneDir, c.File)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	fmt.Printf("enrolled %s (%s) as %s\n", e.Name, e.ID, e.Role)
	return nil
}

type sqlCmd struct {
	Dir   string `required:"" type:"existingdir" help:"Engine's directory."`
	Query string `arg:"" help:"One SQL statement that reads. Tables are holder.dataset.table without pseudonyms."`
	JSON  bool   `help:"Print JSON."`
}

func (c *sqlCmd) Help() string {
	return "For the data engineer: reads the lake's present snapshot. Every statement is put on record in engine's ledger."
}

func (c *sqlCmd) Run(ctx context.Context) error {
	return engine.SQL(ctx, c.Dir, c.Query, os.Stdout, c.JSON)
}

type enclaveCmd struct {
	Selftest selftestCmd `cmd:"" help:"Try to break out of the sandbox in every way we know, and say what was blocked."`
}

type selftestCmd struct {
	JSON bool `help:"Print JSON."`
}

func (c *selftestCmd) Help() string {
	return "Exit codes: 0 all blocked, 1 something was not, or a layer is missing."
}

func (c *selftestCmd) Run(ctx context.Context) error { return enclave.SelfTest(ctx, os.Stdout, c.JSON) }

type demoIDPCmd struct {
	Config string `required:"" type:"existingfile" help:"Configuration (YAML)."`
}

func (c *demoIDPCmd) Run(ctx context.Context) error {
	var cfg demoidp.Config
	if err := conf.Load(c.Config, &cfg); err != nil {
		return &exitError{exitUsage, err}
	}
	s, err := demoidp.New(cfg, slog.Default())
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Run(ctx)
}
