package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"text/tabwriter"
	"time"

	"github.com/mitral-health/mitral/internal/agent"
	"github.com/mitral-health/mitral/internal/kit/conf"
)

type agentCmd struct {
	Deliver agentDeliverCmd `cmd:"" help:"Check a dataset's files, split identity from payload, and deliver both."`
}

type agentDeliverCmd struct {
	Config string `required:"" type:"existingfile" help:"The agent's configuration (YAML)."`
	DryRun bool   `help:"Check and show exactly what would leave, by column and destination; send nothing."`
	JSON   bool   `help:"Print JSON."`
}

func (c *agentDeliverCmd) Help() string {
	return "A wrong file stops the whole delivery, with file, line, column and reason; nothing is sent then. After an interruption the same command goes on where it stopped. Exit codes: 0 published, 1 failed or interrupted, 2 files or configuration are wrong."
}

func (c *agentDeliverCmd) Run(ctx context.Context) error {
	var cfg agent.Config
	if err := conf.Load(c.Config, &cfg); err != nil {
		return &exitError{exitUsage, err}
	}
	stages := newStages()
	var report agent.Report
	var err error
	if c.DryRun {
		report, err = agent.DryRun(ctx, cfg, stages.update)
	} else {
		report, err = agent.Deliver(ctx, cfg, stages.update)
	}
	stages.done()
	var wrong *agent.FilesRefused
	if errors.As(err, &wrong) {
		return &exitError{exitUsage, err}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(struct {
			agent.Report
			Seconds map[string]float64 `json:"seconds"` // by stage
		}{report, stages.seconds})
	}
	return printDelivery(report, c.DryRun)
}

func printDelivery(r agent.Report, dry bool) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	if dry {
		fmt.Fprintln(w, "TABLE\tCOLUMN\tROLE\tWOULD GO TO")
		for _, col := range r.Columns {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", col.Table, col.Column, col.Role, col.To)
		}
		return w.Flush()
	}
	fmt.Fprintln(w, "TABLE\tROWS")
	tables := make([]string, 0, len(r.Rows))
	for t := range r.Rows {
		tables = append(tables, t)
	}
	sort.Strings(tables)
	for _, t := range tables {
		fmt.Fprintf(w, "%s\t%d\n", t, r.Rows[t])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Printf("%s/%s published as %s: %d person records; %.1f MB to trust, %.1f MB to engine\n", r.Holder, r.Dataset, r.Delivery, r.Persons,
		float64(r.ToTrust)/(1<<20), float64(r.ToEngine)/(1<<20))
	return nil
}

// stages shows the agent's progress and keeps how long each stage took.
type stages struct {
	bar     *bar
	stage   string
	since   time.Time
	seconds map[string]float64
}

func newStages() *stages { return &stages{seconds: map[string]float64{}} }

func (s *stages) update(p agent.Progress) {
	if p.Stage != s.stage {
		s.done()
		s.stage, s.since, s.bar = p.Stage, time.Now(), newBar(p.Stage)
	}
	if p.Note != "" {
		fmt.Fprintln(os.Stderr, p.Note)
	}
	s.bar.update(p.Bytes, p.Total, "bytes "+p.Stage+" "+p.Table)
}

func (s *stages) done() {
	if s.bar != nil {
		s.bar.done()
		s.seconds[s.stage] += time.Since(s.since).Seconds()
		s.bar = nil
	}
}
