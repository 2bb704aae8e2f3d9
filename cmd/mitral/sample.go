package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/mitral-health/mitral/internal/sample"
)

type sampleCmd struct {
	People int    `default:"20000" help:"Number of people."`
	Seed   uint64 `default:"1" help:"Same seed, same bytes."`
	Years  int    `default:"3" help:"Years of events, up to the end of 2025."`
	Out    string `required:"" help:"Directory; must be empty or hold the same sample already."`
	Format string `default:"csv" enum:"csv,parquet" help:"Format of the holders' files: csv or parquet."`
	OMOP   string `name:"omop" type:"path" help:"Directory of an OMOP database (*.csv.gz) to deliver as one more dataset."`
	JSON   bool   `help:"Print JSON."`
}

func (c *sampleCmd) Help() string {
	return "Writes the files of the holders of an invented country, and the truth about its people. Nobody in it exists. Exit codes: 0 written, 1 failed, 2 the directory holds something else."
}

func (c *sampleCmd) Run(ctx context.Context) error {
	bar := newBar("people")
	s, err := sample.Generate(ctx, sample.Options{People: c.People, Seed: c.Seed, Years: c.Years, Out: c.Out, Format: c.Format, OMOP: c.OMOP, Progress: bar.update})
	bar.done()
	if errors.Is(err, sample.ErrOccupied) {
		return &exitError{exitUsage, err}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(s)
	}
	state := "written"
	if s.Reused {
		state = "there already, nothing was written"
	}
	fmt.Printf("%s: %d people, %d event rows, %d files, %.1f MB in %.1f s (%s)\n", c.Out, s.Counts.People, s.Events, s.Files, float64(s.Bytes)/(1<<20), s.Seconds, state)
	return nil
}
