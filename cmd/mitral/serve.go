package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/mitral-health/mitral/internal/enclave"
	"github.com/mitral-health/mitral/internal/engine"
	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/kit/metrics"
	"github.com/mitral-health/mitral/internal/portal"
	"github.com/mitral-health/mitral/internal/trust"
	"github.com/mitral-health/mitral/internal/vault"
)

type serveCmd struct {
	Zone   string `arg:"" enum:"portal,trust,vault,engine,enclave" help:"Zone to run: portal, trust, vault, engine or enclave."`
	Config string `required:"" type:"existingfile" help:"The zone's configuration (YAML). An unknown key is an error."`
	Debug  bool   `help:"Log more."`
}

func (c *serveCmd) Help() string {
	return "Runs one zone of the hub until it is told to stop (SIGTERM): it finishes what it holds within 10 seconds. Exit codes: 0 stopped as told, 1 failed, 2 wrong configuration."
}

func (c *serveCmd) Run(ctx context.Context) error {
	level := slog.LevelInfo
	if c.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})).With("zone", c.Zone)
	switch c.Zone {
	case "portal":
		return serve(ctx, c.Zone, c.Config, log, portal.New)
	case "trust":
		return serve(ctx, c.Zone, c.Config, log, trust.New)
	case "vault":
		return serve(ctx, c.Zone, c.Config, log, vault.New)
	case "engine":
		return serve(ctx, c.Zone, c.Config, log, engine.New)
	case "enclave":
		return serve(ctx, c.Zone, c.Config, log, enclave.New)
	}
	return fmt.Errorf("unknown zone %q", c.Zone)
}

// zone is what every zone's Main offers.
type zone interface {
	Run(context.Context) error
	Close()
}

// serve reads a zone's configuration, starts it and runs it.
func serve[C any, M zone](ctx context.Context, name, path string, log *slog.Logger, start func(context.Context, C, *slog.Logger) (M, error)) error {
	var cfg C
	if err := conf.Load(path, &cfg); err != nil {
		return &exitError{exitUsage, err}
	}
	main, err := start(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer main.Close()
	if z, ok := any(cfg).(interface{ MetricsAddress() string }); ok {
		server, err := metrics.New(name).Serve(ctx, z.MetricsAddress())
		if err != nil {
			return err
		}
		if server != nil {
			defer server.Shutdown(context.WithoutCancel(ctx))
		}
	}
	return main.Run(ctx)
}
