package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/pki"
)

type pkiCmd struct {
	Init  pkiInitCmd  `cmd:"" help:"Make the hub's own certificate authority."`
	Issue pkiIssueCmd `cmd:"" help:"Make a certificate for a zone or for a holder's agent."`
	Show  pkiShowCmd  `cmd:"" help:"List the certificates. Exit code 1 if one is not valid."`
}

type pkiInitCmd struct {
	Dir string `required:"" help:"Directory of the authority; it must not hold one yet."`
}

func (c *pkiInitCmd) Run() error { return pki.Init(c.Dir) }

type pkiIssueCmd struct {
	Dir   string   `required:"" help:"Directory of the authority."`
	Zone  string   `xor:"bearer" required:"" help:"Zone: portal, trust, vault, engine or enclave."`
	Agent string   `xor:"bearer" required:"" help:"Data holder whose agent gets the certificate."`
	Host  []string `help:"Name or address it listens at; may be repeated (default: localhost)."`
}

func (c *pkiIssueCmd) Run() error {
	kind, name := pki.KindZone, c.Zone
	if c.Agent != "" {
		kind, name = pki.KindAgent, c.Agent
	}
	files, err := pki.Issue(c.Dir, kind, name, c.Host)
	if err != nil {
		return err
	}
	fmt.Println(files.Cert)
	fmt.Println(files.Key)
	return nil
}

type pkiShowCmd struct {
	Dir  string `required:"" help:"Directory of the authority."`
	JSON bool   `help:"Print JSON."`
}

func (c *pkiShowCmd) Run() error {
	certs, err := pki.Show(c.Dir)
	if err != nil {
		return err
	}
	bad := false
	for _, x := range certs {
		bad = bad || !x.Trusted
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(certs)
	} else {
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "BEARER\tVALID UNTIL\tTRUSTED\tFILE")
		for _, x := range certs {
			bearer := x.URI
			if bearer == "" {
				bearer = x.Subject
			}
			fmt.Fprintf(w, "%s\t%s\t%v\t%s\n", bearer, x.NotAfter.Format(time.DateOnly), x.Trusted, x.File)
		}
		err = w.Flush()
	}
	if err == nil && bad {
		return &exitError{code: exitFailed}
	}
	return err
}

type verifyCmd struct {
	Source []string `arg:"" help:"Ledger directories or addresses."`
	Key    string   `help:"Verifier key to trust, instead of the one published beside the log."`
	JSON   bool     `help:"Print JSON."`
}

func (c *verifyCmd) Help() string {
	return "Recomputes every entry's hash and the tree's root and checks the signed checkpoint. Exit codes: 0 proven, 1 a fault was found and named, 2 the ledger cannot be read."
}

func (c *verifyCmd) Run(ctx context.Context) error {
	ok := true
	var reports []ledger.Report
	for _, source := range c.Source {
		r, err := ledger.VerifyWith(ctx, source, c.Key)
		if err != nil {
			return &exitError{exitUsage, fmt.Errorf("%s: %w", source, err)}
		}
		reports = append(reports, r)
		ok = ok && r.OK
	}
	if c.JSON {
		if err := json.NewEncoder(os.Stdout).Encode(reports); err != nil {
			return err
		}
	} else {
		for _, r := range reports {
			if r.OK {
				fmt.Printf("%s: proven, %d entries of %s under root %s\n", r.Source, r.Size, r.Log, r.Root)
				continue
			}
			fmt.Printf("%s: NOT proven\n", r.Source)
			for _, f := range r.Findings {
				fmt.Printf("  %v\n", f)
			}
		}
	}
	if !ok {
		return &exitError{code: exitFailed}
	}
	return nil
}
