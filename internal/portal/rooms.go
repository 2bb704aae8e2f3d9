package portal

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/kit/i18n"
	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
	"github.com/mitral-health/mitral/internal/portal/feasibility"
	"github.com/mitral-health/mitral/internal/portal/gateway"
	"github.com/mitral-health/mitral/internal/portal/objection"
	"github.com/mitral-health/mitral/internal/portal/orderbook"
	"github.com/mitral-health/mitral/internal/portal/register"
	"github.com/mitral-health/mitral/procedures"
)

// openRooms builds the rooms in the order in which they need each other, and lets each register its
// pages, its part of the API and its hooks at the order book.
func (m *Main) openRooms(ctx context.Context, mux *http.ServeMux, operations huma.API, texts *i18n.Bundle) (err error) {
	m.access, err = access.New(ctx, access.Options{DB: m.db, Ledger: m.ledger, Pages: m.pages, Clock: m.clock, Log: m.log, Dir: m.cfg.Dir,
		PublicURL: m.cfg.PublicURL, RPID: m.cfg.RPID, OIDC: m.cfg.OIDC, Enclave: m.cfg.EnclaveURL, Demo: m.cfg.Demo})
	if err != nil {
		return err
	}
	if m.book, err = orderbook.New(ctx, orderbook.Options{DB: m.db, Dir: m.cfg.Dir, Clock: m.clock, Log: m.log}); err != nil {
		return err
	}
	objections, err := objection.New(ctx, objection.Options{DB: m.db, Book: m.book, Ledger: m.ledger, Access: m.access, Pages: m.pages,
		Clock: m.clock, Log: m.log, RecipientFile: m.cfg.TrustRecipientFile})
	if err != nil {
		return err
	}
	m.catalogue, err = catalogue.New(ctx, catalogue.Options{DB: m.db, Dir: m.cfg.Dir, Clock: m.clock, Jobs: m.jobs, Ledger: m.ledger, Log: m.log,
		Label: func(lang, key string) string { return texts.T(lang, key) }})
	if err != nil {
		return err
	}
	m.book.OnNotice(m.catalogue.OnNotice)

	known, err := gateway.LoadProcedures(procedures.FS)
	if err != nil {
		return err
	}
	cases, err := gateway.New(ctx, gateway.Options{DB: m.db, Clock: m.clock, Log: m.log, Ledger: m.ledger, Orders: m.book, People: m.person,
		Datasets: datasets{m.catalogue}, Text: texts, Procedures: known, Procedure: m.cfg.Procedure, BodyName: m.cfg.Body,
		RPID: m.cfg.RPID, Origins: []string{m.cfg.PublicURL}})
	if err != nil {
		return err
	}
	m.book.OnReceipt(cases.OnReceipt)
	m.book.OnExport(cases.OnExport)
	if m.register, err = register.New(ctx, m.db, cases); err != nil {
		return err
	}
	counts, err := feasibility.New(ctx, feasibility.Options{DB: m.db, Clock: m.clock, Ledger: m.ledger, Log: m.log,
		Mandate: cases.ActiveFeasibility, NoMandate: gateway.ErrNoMandate, Orders: m.book, Datasets: m.catalogue})
	if err != nil {
		return err
	}
	m.book.OnReceipt(counts.OnReceipt)

	m.access.Routes(mux)
	objections.Routes(mux)
	cases.Routes(mux, gateway.SiteOptions{Pages: m.pages, Door: m.access, Files: m.book, PublicURL: m.cfg.PublicURL, DemoKeyURL: m.cfg.DemoKeyURL})
	m.register.Routes(mux, m.pages, m.access)
	m.catalogue.Routes(mux, catalogue.SiteOptions{Pages: m.pages, Door: m.access, Uses: m.uses})
	counts.Routes(mux, feasibility.SiteOptions{Pages: m.pages, Door: m.access, Catalogue: m.catalogue})
	m.access.Operations(operations)
	objections.Operations(operations)
	m.catalogue.Operations(operations)
	counts.Operations(operations)
	cases.Operations(operations)
	m.register.Operations(operations)
	return nil
}

// uses are the latest projects of the public register that have a permit for a dataset.
func (m *Main) uses(ctx context.Context, holder, dataset string) ([]catalogue.Use, error) {
	found, err := m.register.Search(ctx, register.Query{Text: holder + " " + dataset})
	if err != nil {
		return nil, err
	}
	var uses []catalogue.Use
	for _, e := range found.Entries {
		if e.Permit != nil && slices.ContainsFunc(e.Datasets, func(d register.Dataset) bool { return d.Holder == holder && d.Dataset == dataset }) {
			uses = append(uses, catalogue.Use{ID: e.ID, Title: e.Title})
		}
	}
	return uses, nil
}

// person is how cases know an account: with the passkeys that go into a permit.
func (m *Main) person(ctx context.Context, account string) (contract.Person, error) {
	a, err := m.access.Account(ctx, account)
	if errors.Is(err, store.ErrNotFound) {
		return contract.Person{}, gateway.ErrUnknown
	}
	if err != nil {
		return contract.Person{}, err
	}
	keys, err := m.access.PublicKeys(ctx, account)
	return contract.Person{ID: a.ID, Name: a.Name, Credentials: keys}, err
}

// datasets is the catalogue as cases look at it.
type datasets struct{ c *catalogue.Catalogue }

func (d datasets) Schema(ctx context.Context, holder, dataset string) (*contract.DatasetSchema, error) {
	s, err := d.c.Schema(ctx, holder, dataset)
	if errors.Is(err, catalogue.ErrUnknown) {
		return nil, gateway.ErrUnknown
	}
	return s, err
}

func (d datasets) Published(ctx context.Context) ([]contract.DatasetSchema, error) {
	return d.c.Schemas(ctx)
}

func (d datasets) Basket(ctx context.Context, account string) ([]contract.DatasetSchema, error) {
	return d.c.BasketSchemas(ctx, account)
}
