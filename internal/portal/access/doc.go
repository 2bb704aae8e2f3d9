// Package access knows who is at the door of the portal and what they may do: accounts, roles,
// sessions, passkeys, sign-in through a national identity provider (OIDC), and Cedar policies.
//
// All rooms of the portal use it, in four ways:
//
//	user := access.UserFrom(r.Context())            // nil when nobody is signed in
//
//	if err := access.Allow(r, access.ApplicationEdit, access.Resource{
//		ID: app.ID, Owner: app.Owner, Members: app.Team, Holders: app.Holders, State: app.State,
//	}); err != nil {
//		acc.Refuse(w, r, err)                       // 401 or 403, as page or as problem+json below /api/
//		return
//	}
//
//	keys, err := acc.PublicKeys(ctx, user.ID)       // researchers' passkeys, for contract.Person.Credentials
//
//	options, err := acc.StartAssertion(ctx, user.ID, challenge)   // the officer signs a permit: JSON for the
//	assertion, err := acc.FinishAssertion(ctx, user.ID, challenge, response) // browser, and what it sent back
//
// Which role may do what is written in policies/<role>.cedar, one file per role, and nowhere else; the
// actions are the constants of this package. A room must call Allow in every handler that shows or changes
// anything that is not public.
//
// Never in this room: health data, pseudonyms, passwords, a citizen's identity (the database holds a
// keyed hash of the provider's subject; the identity token lives encrypted in the citizen's own cookie
// until an objection has been sealed).
package access
