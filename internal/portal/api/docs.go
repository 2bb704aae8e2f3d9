package api

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mitral-health/mitral/internal/kit/page"
)

// Doc is one operation on the page of documentation.
type Doc struct {
	ID, Method, Path, Summary, Room string
	Public                          bool
	Parameters                      []DocParameter
}

// DocParameter is one parameter of an operation.
type DocParameter struct{ Name, In, Doc string }

// DocsPage serves /api/docs: every operation, from the same document that programs read. It needs no
// script.
func DocsPage(a huma.API, pages *page.Renderer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pages.Render(w, r, http.StatusOK, "portal/api/docs", map[string]any{"Rooms": Docs(a)})
	})
}

// DocRoom is the operations of one room.
type DocRoom struct {
	Name       string
	Operations []Doc
}

// Docs lists the operations by room, then path.
func Docs(a huma.API) []DocRoom {
	byRoom := map[string][]Doc{}
	for path, item := range a.OpenAPI().Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete, "PATCH": item.Patch} {
			if op == nil {
				continue
			}
			d := Doc{ID: op.OperationID, Method: method, Path: path, Summary: op.Summary, Room: strings.Join(op.Tags, ", "), Public: op.Security == nil}
			for _, p := range op.Parameters {
				d.Parameters = append(d.Parameters, DocParameter{p.Name, p.In, p.Description})
			}
			byRoom[d.Room] = append(byRoom[d.Room], d)
		}
	}
	var rooms []DocRoom
	for name, ops := range byRoom {
		slices.SortFunc(ops, func(x, y Doc) int { return cmp.Or(cmp.Compare(x.Path, y.Path), cmp.Compare(x.Method, y.Method)) })
		rooms = append(rooms, DocRoom{name, ops})
	}
	slices.SortFunc(rooms, func(x, y DocRoom) int { return cmp.Compare(x.Name, y.Name) })
	return rooms
}
