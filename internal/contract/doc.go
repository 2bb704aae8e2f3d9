// Package contract holds the documents that cross a border between zones, and nothing else:
// permits, orders, receipts, deliveries, ticket sheets, exports. It is the only package about the
// domain that zones share. It must never hold a zone's behaviour, a database, or a key.
//
// Every document is plain JSON. What is signed or hashed is its canonical form (RFC 8785), so that
// two parties who never exchanged bytes still agree on the digest.
package contract
