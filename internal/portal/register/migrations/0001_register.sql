-- +goose Up
-- A projection of the gateway's events; it can be dropped and made again at any time.
CREATE TABLE register_entries (
    id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    at BIGINT NOT NULL,
    text TEXT NOT NULL,
    doc TEXT NOT NULL
);
CREATE INDEX register_entries_at ON register_entries (at, id);
CREATE INDEX register_entries_status ON register_entries (status, at, id);
CREATE TABLE register_shape (
    name TEXT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL
);
