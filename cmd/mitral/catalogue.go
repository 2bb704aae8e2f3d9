package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/mitral-health/mitral/internal/kit/httpx"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
)

type catalogueCmd struct {
	Import importSchemasCmd `cmd:"" name:"import-table-schemas" help:"Import Table Schemas and code lists as published dataset descriptions."`
}

type importSchemasCmd struct {
	Dir     string `arg:"" type:"existingdir" help:"Directory with schemas/**/*.json and, if there, nomenclatures.tar.xz or nomenclatures/."`
	URL     string `name:"url" required:"" help:"Address of the portal, such as https://portal.hub.example."`
	Session string `env:"MITRAL_SESSION" help:"An operator's session: the value of the portal's session cookie. Better in the environment than on the command line."`
	Demo    bool   `help:"Sign in as the operator of a demonstration."`
	JSON    bool   `help:"Print JSON."`
}

func (c *importSchemasCmd) Help() string {
	return "Imports everything or nothing; importing the same again changes nothing. Exit codes: 0 imported, 1 failed or refused, 2 wrong use."
}

func (c *importSchemasCmd) Run(ctx context.Context) error {
	base, err := url.Parse(strings.TrimRight(c.URL, "/"))
	if err != nil || base.Host == "" {
		return &exitError{exitUsage, fmt.Errorf("--url %q is not the address of a portal", c.URL)}
	}
	if (c.Session == "") == !c.Demo {
		return &exitError{exitUsage, fmt.Errorf("give a session (MITRAL_SESSION) or --demo")}
	}
	start := time.Now()
	schemas, err := catalogue.ReadTableSchemas(c.Dir)
	if err != nil {
		return err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar, Timeout: 5 * time.Minute}
	if c.Demo {
		if err := signInDemo(ctx, client, base); err != nil {
			return err
		}
	} else {
		jar.SetCookies(base, []*http.Cookie{{Name: access.CookieName, Value: c.Session, Path: "/"}})
	}
	rep, err := catalogue.PostTableSchemas(ctx, client, base.String(), schemas)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(rep)
	}
	fmt.Printf("%d datasets (%d new or changed), %d tables, %d variables, %d code lists with %d codes in %.1f s\n",
		rep.Datasets, rep.Changed, rep.Tables, rep.Variables, rep.CodeLists, rep.Codes, time.Since(start).Seconds())
	return nil
}

func signInDemo(ctx context.Context, client *http.Client, base *url.URL) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base.JoinPath("/demo/sign-in").String(), strings.NewReader(`{"role":"operator"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return httpx.Check(resp)
}
