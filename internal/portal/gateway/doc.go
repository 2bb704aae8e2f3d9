// Package gateway is the one door for every request for data: applications, the procedure they run
// through, its legal clocks, the decision, and the permit that the deciding officer signs.
//
// Everything that happens to a case is an event of its stream. State, permissions, clocks and the public
// register are folds of that stream; nothing else is remembered. Procedures are data
// (procedures/*.yaml) that restrict the one master workflow of this package, and a case keeps the
// version of the procedure it was filed under.
//
// Pages and the JSON API call it for people, the order book for receipts and exports, the catalogue for
// the feasibility mandate. It must never hold health data, identities of patients, pseudonyms, or a key
// that signs permits: the officer's passkey signs, and the inner zones check that signature themselves.
package gateway
