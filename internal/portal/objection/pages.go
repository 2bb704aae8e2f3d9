package objection

import (
	"errors"
	"net/http"

	"github.com/mitral-health/mitral/internal/kit/page"
	"github.com/mitral-health/mitral/internal/portal/access"
)

// Routes registers the pages.
func (r *Room) Routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /objection", r.pageStart)
	mux.HandleFunc("GET /objection/confirm", r.pageConfirm)
	mux.HandleFunc("POST /objection", r.file)
	mux.HandleFunc("GET /objection/{number}", r.pageReceipt)
	mux.HandleFunc("GET /objection/{number}/undo", r.pageUndo)
	mux.HandleFunc("POST /objection/{number}/undo", r.undo)
}

type startData struct {
	Citizen bool
	Other   bool // signed in, but not as a citizen
	List    []Objection
	InForce bool
}

// pageStart explains, and shows a citizen her objections.
func (r *Room) pageStart(w http.ResponseWriter, req *http.Request) {
	u := access.UserFrom(req.Context())
	d := startData{Citizen: u.Has(access.Citizen), Other: u != nil && !u.Has(access.Citizen)}
	if d.Citizen {
		var err error
		if d.List, err = r.List(req.Context(), u.ID); err != nil {
			r.o.Access.Fail(w, req, err)
			return
		}
		for _, o := range d.List {
			d.InForce = d.InForce || o.InForce()
		}
	}
	r.o.Pages.Render(w, req, http.StatusOK, "portal/objection/start", d)
}

// identity returns who she is, or leads her to sign in and back to next.
func (r *Room) identity(w http.ResponseWriter, req *http.Request, next string) (access.Identity, bool) {
	id, err := r.o.Access.Identity(req.Context())
	switch {
	case errors.Is(err, access.ErrNoIdentity):
		http.Redirect(w, req, access.SignInAgain(next), http.StatusSeeOther)
		return id, false
	case err != nil:
		r.o.Log.Error("identity", "error", err)
		r.o.Pages.Error(w, req, http.StatusServiceUnavailable, page.M("access.oidc.away"))
		return id, false
	}
	return id, true
}

func (r *Room) pageConfirm(w http.ResponseWriter, req *http.Request) {
	if err := access.Allow(req, access.ObjectionFile, access.Resource{}); err != nil {
		r.o.Access.Refuse(w, req, err)
		return
	}
	if id, ok := r.identity(w, req, "/objection/confirm"); ok {
		r.o.Pages.Render(w, req, http.StatusOK, "portal/objection/confirm", id)
	}
}

func (r *Room) file(w http.ResponseWriter, req *http.Request) {
	if err := access.Allow(req, access.ObjectionFile, access.Resource{}); err != nil {
		r.o.Access.Refuse(w, req, err)
		return
	}
	id, ok := r.identity(w, req, "/objection/confirm")
	if !ok {
		return
	}
	o, err := r.File(req.Context(), access.UserFrom(req.Context()).ID, id)
	if code(err) == "already" {
		http.Redirect(w, req, "/objection", http.StatusSeeOther)
		return
	}
	if err != nil {
		r.o.Access.Fail(w, req, err)
		return
	}
	r.o.Access.ForgetIdentity(w)
	http.Redirect(w, req, "/objection/"+o.Number, http.StatusSeeOther)
}

// own finds the objection of the address and checks that it is hers. Another's is not denied but
// unknown: a number must not be probed.
func (r *Room) own(w http.ResponseWriter, req *http.Request, a access.Action) (Objection, bool) {
	if access.UserFrom(req.Context()) == nil {
		r.o.Access.Refuse(w, req, &access.Denied{Action: a})
		return Objection{}, false
	}
	o, err := r.Find(req.Context(), req.PathValue("number"))
	if err != nil {
		r.o.Access.Fail(w, req, err)
		return o, false
	}
	if access.Allow(req, a, access.Resource{ID: o.Number, Owner: o.account}) != nil {
		r.o.Pages.NotFound(w, req)
		return o, false
	}
	return o, true
}

func (r *Room) pageReceipt(w http.ResponseWriter, req *http.Request) {
	o, ok := r.own(w, req, access.ObjectionRead)
	if !ok {
		return
	}
	if req.Header.Get("HX-Request") == "true" {
		r.o.Pages.Fragment(w, req, "portal/objection/receipt", "objection-state", o)
		return
	}
	r.o.Pages.Render(w, req, http.StatusOK, "portal/objection/receipt", o)
}

func (r *Room) pageUndo(w http.ResponseWriter, req *http.Request) {
	o, ok := r.own(w, req, access.ObjectionUndo)
	if !ok {
		return
	}
	if !o.InForce() {
		http.Redirect(w, req, "/objection/"+o.Number, http.StatusSeeOther)
		return
	}
	if _, ok := r.identity(w, req, "/objection/"+o.Number+"/undo"); ok {
		r.o.Pages.Render(w, req, http.StatusOK, "portal/objection/undo", o)
	}
}

func (r *Room) undo(w http.ResponseWriter, req *http.Request) {
	o, ok := r.own(w, req, access.ObjectionUndo)
	if !ok {
		return
	}
	id, ok := r.identity(w, req, "/objection/"+o.Number+"/undo")
	if !ok {
		return
	}
	_, err := r.Withdraw(req.Context(), access.UserFrom(req.Context()).ID, o.Number, id)
	if err != nil && code(err) != "over" { // over: she pressed twice
		r.o.Access.Fail(w, req, err)
		return
	}
	r.o.Access.ForgetIdentity(w)
	http.Redirect(w, req, "/objection/"+o.Number, http.StatusSeeOther)
}
