// Package trust is the trusted third party: it receives identities from the holders' agents, finds whose
// they are (linkage), derives hub pseudonyms, hands engine a sealed sheet of tickets and pseudonyms, and keeps
// the objection roll. cmd/mitral runs it as "mitral serve trust"; its routes are in docs/protocols.md.
//
// Here is never a health record nor a project pseudonym. Identities stay in this zone: not in its ledger,
// its logs, its errors or its answers.
package trust
