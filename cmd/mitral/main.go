// Command mitral is the one binary of the hub: the zones, the holder's agent, the demonstration and the
// tools of operators and auditors are its subcommands. Only wiring stands here.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/mitral-health/mitral/internal/enclave/sandbox/shim"
	"github.com/mitral-health/mitral/internal/engine/jobsql"
)

// Exit codes, documented in --help of each command.
const (
	exitFailed = 1 // it was tried and did not succeed, or a check found a fault
	exitUsage  = 2 // the command line or a file named in it is wrong
)

type cli struct {
	Demo      demoCmd      `cmd:"" help:"Run a whole hub with a sample country on this machine, to walk through by hand or unattended (--auto)."`
	Serve     serveCmd     `cmd:"" help:"Run one zone of a hub."`
	Agent     agentCmd     `cmd:"" help:"At a data holder: deliver data."`
	Catalogue catalogueCmd `cmd:"" help:"Dataset descriptions."`
	Sample    sampleCmd    `cmd:"" help:"Make a sample country."`
	PKI       pkiCmd       `cmd:"" name:"pki" help:"Certificates of the zones and of the holders' agents."`
	Enrol     enrolCmd     `cmd:"" help:"Decide whose keys a zone trusts."`
	Verify    verifyCmd    `cmd:"" help:"Prove that a ledger was not changed, or name the entry that was."`
	SQL       sqlCmd       `cmd:"" name:"sql" help:"Read the lake as data engineer."`
	Enclave   enclaveCmd   `cmd:"" help:"Of the enclave."`
	DemoIDP   demoIDPCmd   `cmd:"" name:"demo-idp" hidden:""`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

// exitError carries an exit code; a nil cause prints nothing more.
type exitError struct {
	code  int
	cause error
}

func (e *exitError) Error() string {
	if e.cause == nil {
		return ""
	}
	return e.cause.Error()
}

func main() {
	// Inside the sandbox the same binary is the shim and the SQL shell; no command line is parsed there.
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case shim.Command:
			os.Exit(shim.Main(os.Args[2:]))
		case shim.ProbeCommand:
			os.Exit(shim.Probe(os.Args[2:]))
		case jobsql.Command:
			os.Exit(jobsql.Main(os.Args[2:]))
		}
	}
	var c cli
	parser := kong.Must(&c,
		kong.Name("mitral"),
		kong.Description("The health data hub that any country, region or hospital can run itself. Exit codes: 0 done, 1 failed or a fault was found, 2 wrong use."),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, Summary: false}),
	)
	kctx, err := parser.Parse(os.Args[1:])
	if err != nil {
		parser.Errorf("%v", err)
		os.Exit(exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo})))
	kctx.BindTo(ctx, (*context.Context)(nil))
	if err := kctx.Run(); err != nil {
		code := exitFailed
		var e *exitError
		if errors.As(err, &e) {
			code = e.code
		}
		if msg := err.Error(); msg != "" {
			fmt.Fprintln(os.Stderr, "mitral:", msg)
		}
		os.Exit(code)
	}
}
