package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mitral-health/mitral/internal/demo"
)

type demoCmd struct {
	Auto   bool   `help:"Walk the journey unattended and print what happened; exit code 0 only if each step was verified."`
	People int    `default:"0" placeholder:"20000" help:"Number of people in the sample country (a new hub has 20,000)."`
	Dir    string `default:"./demo" help:"Where the hub lives."`
	Reset  bool   `help:"Start over: remove what is in the directory."`
	JSON   bool   `help:"With --auto: print JSON."`
	Seed   uint64 `default:"1" help:"Of the sample country."`
	Years  int    `default:"3" help:"Years of events in the sample country."`
	Port   int    `default:"8480" help:"First of eight ports in use; 0 takes any free ones."`
	Format string `default:"parquet" enum:"csv,parquet" help:"Format of the holders' files: csv or parquet."`
}

func (c *demoCmd) Help() string {
	return "Everything stays on this machine and below one directory; stop it with Ctrl-C and start it again, nothing is lost. All people are invented. Exit codes: 0 done, 1 a step failed, 2 wrong use."
}

func (c *demoCmd) Run(ctx context.Context) error {
	if c.Reset {
		if err := demo.Reset(c.Dir); err != nil {
			return &exitError{exitUsage, err}
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	shared := os.Getenv("MITRAL_SHARED_DATA")
	if shared == "" {
		shared = filepath.Join("..", "shared", "data")
	}
	progress := newBar("people")
	start := time.Now()
	h, err := demo.Open(demo.Options{Dir: c.Dir, Binary: self, People: c.People, Seed: c.Seed, Years: c.Years, Port: c.Port, Format: c.Format, Shared: shared,
		Progress: progress.update,
		Say: func(format string, args ...any) {
			progress.done()
			fmt.Fprintf(os.Stderr, "%6.1fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
		}})
	if err != nil {
		return &exitError{exitUsage, err}
	}
	defer h.Close()
	if err := h.Start(ctx); err != nil {
		return err
	}
	progress.done()
	if c.Auto {
		return c.walk(ctx, h)
	}
	if err := h.Seed(ctx); err != nil {
		return err
	}
	fmt.Printf("\nThe hub is ready. Open\n\n    %s/demo\n\nIt explains the roles and signs you in as any of them. Ctrl-C stops; start again and nothing is lost.\n", h.PortalURL())
	<-ctx.Done()
	fmt.Fprintln(os.Stderr, "\nstopping…")
	return nil
}

func (c *demoCmd) walk(ctx context.Context, h *demo.Hub) error {
	out := os.Stdout
	if c.JSON {
		out = nil
	}
	report := h.Walk(ctx, out)
	if c.JSON {
		if err := report.WriteJSON(os.Stdout); err != nil {
			return err
		}
	}
	if !report.Passed {
		return fmt.Errorf("the journey stopped: %s", report.Failure)
	}
	return nil
}
