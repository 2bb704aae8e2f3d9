package feasibility

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/portal/access"
	"github.com/mitral-health/mitral/internal/portal/api"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
)

type askInput struct{ Body Question }

type askedOutput struct{ Body Asked }

type historyOutput struct {
	Body struct {
		Questions []Asked `json:"questions"`
	}
}

type questionInput struct {
	ID string `path:"id" maxLength:"64"`
}

// Operations registers the room's part of the JSON interface.
func (s *Service) Operations(a huma.API) {
	const room = "feasibility"
	api.Register(a, room, "ask-count", http.MethodPost, "/feasibility", "Ask how many persons match; waits up to 10 seconds for the answer", false, s.apiAsk)
	api.Register(a, room, "list-counts", http.MethodGet, "/feasibility", "My questions and their answers", false, s.apiHistory)
	api.Register(a, room, "get-count", http.MethodGet, "/feasibility/{id}", "One question of mine", false, s.apiQuestion)
}

// asker is the account that asks, if the policies let it.
func asker(ctx context.Context) (string, error) {
	if err := api.Allow(ctx, access.CountAsk, access.Resource{}); err != nil {
		return "", err
	}
	return access.UserFrom(ctx).ID, nil
}

func problemOf(err error) error {
	var no *Unavailable
	switch {
	case errors.Is(err, catalogue.ErrUnknown):
		return api.Unknown("dataset")
	case errors.Is(err, ErrUnknown):
		return api.Unknown("question")
	case errors.As(err, &no) && no.Code == "no_mandate":
		return api.Fail(http.StatusServiceUnavailable, no.Code, "No feasibility mandate is in force; counts cannot be asked for now.")
	case errors.As(err, &no):
		return api.Fail(http.StatusForbidden, no.Code, "The feasibility mandate does not cover this table or column.")
	}
	return err
}

func (s *Service) apiAsk(ctx context.Context, in *askInput) (*askedOutput, error) {
	account, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	a, err := s.Ask(ctx, account, in.Body)
	if err != nil {
		return nil, problemOf(err)
	}
	return &askedOutput{Body: *a}, nil
}

func (s *Service) apiHistory(ctx context.Context, _ *struct{}) (*historyOutput, error) {
	account, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.History(ctx, account)
	if err != nil {
		return nil, err
	}
	out := &historyOutput{}
	if out.Body.Questions = list; list == nil {
		out.Body.Questions = []Asked{}
	}
	return out, nil
}

func (s *Service) apiQuestion(ctx context.Context, in *questionInput) (*askedOutput, error) {
	account, err := asker(ctx)
	if err != nil {
		return nil, err
	}
	a, err := s.Question(ctx, account, in.ID)
	if err != nil {
		return nil, problemOf(err)
	}
	return &askedOutput{Body: *a}, nil
}
