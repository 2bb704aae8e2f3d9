package objection

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
)

type (
	apiNone   struct{}
	apiNumber struct {
		Number string `path:"number" doc:"Receipt number"`
	}
	apiOne struct {
		Body Objection
	}
	apiFiled struct {
		SetCookie http.Cookie `header:"Set-Cookie"` // takes the identity token out of the client
		Body      Objection
	}
	apiMany struct {
		Body struct {
			Objections []Objection `json:"objections"`
		}
	}
)

// Operations registers the room's part of the API.
func (r *Room) Operations(a huma.API) {
	api.Register(a, "objection", "file-objection", http.MethodPost, "/objections", "Object to the secondary use of one's data", false, r.apiFile,
		func(op *huma.Operation) { op.DefaultStatus = http.StatusCreated })
	api.Register(a, "objection", "list-objections", http.MethodGet, "/objections", "One's own objections", false, r.apiList)
	api.Register(a, "objection", "get-objection", http.MethodGet, "/objections/{number}", "One objection and its state", false, r.apiGet)
	api.Register(a, "objection", "withdraw-objection", http.MethodPost, "/objections/{number}/withdraw", "Take an objection back", false, r.apiWithdraw)
}

func problem(err error) error {
	switch {
	case errors.Is(err, access.ErrNoIdentity):
		return api.Fail(http.StatusUnauthorized, "sign_in_again", "Sign in with the identity provider again: a sign-in is good for one statement.")
	case code(err) == "already":
		return api.Fail(http.StatusConflict, "already", "You have already objected.")
	case code(err) == "over":
		return api.Fail(http.StatusConflict, "over", "This objection is not in force, so there is nothing to take back.")
	case errors.Is(err, store.ErrNotFound):
		return api.Unknown("objection")
	}
	return err
}

func (r *Room) apiFile(ctx context.Context, _ *apiNone) (*apiFiled, error) {
	if err := api.Allow(ctx, access.ObjectionFile, access.Resource{}); err != nil {
		return nil, err
	}
	id, err := r.o.Access.Identity(ctx)
	if err != nil {
		return nil, problem(err)
	}
	o, err := r.File(ctx, access.UserFrom(ctx).ID, id)
	if err != nil {
		return nil, problem(err)
	}
	return &apiFiled{SetCookie: r.o.Access.ForgottenIdentity(), Body: o}, nil
}

func (r *Room) apiList(ctx context.Context, _ *apiNone) (*apiMany, error) {
	u := access.UserFrom(ctx)
	res := access.Resource{}
	if u != nil {
		res.Owner = u.ID
	}
	if err := api.Allow(ctx, access.ObjectionRead, res); err != nil {
		return nil, err
	}
	list, err := r.List(ctx, u.ID)
	out := &apiMany{}
	out.Body.Objections = append([]Objection{}, list...)
	return out, err
}

func (r *Room) apiOwn(ctx context.Context, number string, a access.Action) (Objection, error) {
	u := access.UserFrom(ctx)
	if u == nil || !u.Has(access.Citizen) {
		return Objection{}, &access.Denied{Action: a, SignedIn: u != nil}
	}
	o, err := r.Find(ctx, number)
	if err != nil {
		return o, problem(err)
	}
	if api.Allow(ctx, a, access.Resource{ID: o.Number, Owner: o.account}) != nil {
		return o, api.Unknown("objection")
	}
	return o, nil
}

func (r *Room) apiGet(ctx context.Context, in *apiNumber) (*apiOne, error) {
	o, err := r.apiOwn(ctx, in.Number, access.ObjectionRead)
	return &apiOne{Body: o}, err
}

func (r *Room) apiWithdraw(ctx context.Context, in *apiNumber) (*apiFiled, error) {
	o, err := r.apiOwn(ctx, in.Number, access.ObjectionUndo)
	if err != nil {
		return nil, err
	}
	id, err := r.o.Access.Identity(ctx)
	if err != nil {
		return nil, problem(err)
	}
	if o, err = r.Withdraw(ctx, access.UserFrom(ctx).ID, o.Number, id); err != nil {
		return nil, problem(err)
	}
	return &apiFiled{SetCookie: r.o.Access.ForgottenIdentity(), Body: o}, nil
}
