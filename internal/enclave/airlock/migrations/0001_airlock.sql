-- +goose Up
CREATE TABLE enclave_exports (
    id          TEXT PRIMARY KEY,
    workspace   TEXT NOT NULL,
    job         TEXT NOT NULL,
    author      TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX enclave_exports_by_workspace ON enclave_exports (workspace, created_at);
-- The export is what its events add up to; a second writer of the same number is refused.
CREATE TABLE enclave_export_events (
    export  TEXT NOT NULL REFERENCES enclave_exports (id),
    n       BIGINT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (export, n)
);
