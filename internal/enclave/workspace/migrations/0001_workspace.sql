-- +goose Up
CREATE TABLE enclave_orders (
    id         TEXT PRIMARY KEY,
    digest     TEXT NOT NULL,   -- of the order's canonical form
    workspace  TEXT NOT NULL,   -- '' when refused
    receipt    TEXT NOT NULL,   -- JSON of the final receipt; '' while unfinished
    taken_at   BIGINT NOT NULL
);
CREATE TABLE enclave_workspaces (
    id          TEXT PRIMARY KEY,
    number      BIGINT NOT NULL UNIQUE,  -- gives the workspace a user id of its own
    permit_id   TEXT NOT NULL UNIQUE,
    version     BIGINT NOT NULL,
    digest      TEXT NOT NULL,           -- of the permit
    signed      TEXT NOT NULL,           -- JSON of the signed permit
    order_id    TEXT NOT NULL,           -- the order that is or was being carried out
    state       TEXT NOT NULL,           -- waiting, open, closed
    reason      TEXT NOT NULL,           -- code, when closed
    handover    TEXT NOT NULL,           -- JSON; '' until open
    created_at  BIGINT NOT NULL,
    opened_at   BIGINT NOT NULL,
    closed_at   BIGINT NOT NULL
);
CREATE TABLE enclave_jobs (
    id           TEXT PRIMARY KEY,
    workspace    TEXT NOT NULL REFERENCES enclave_workspaces (id),
    author       TEXT NOT NULL,
    kind         TEXT NOT NULL,          -- sql, python
    title        TEXT NOT NULL,
    code         TEXT NOT NULL,
    state        TEXT NOT NULL,          -- queued, running, done, failed, cancelled
    reason       TEXT NOT NULL,          -- code, when failed
    detail       TEXT NOT NULL,
    exit_code    BIGINT NOT NULL,
    runs         BIGINT NOT NULL,        -- how often it was started
    cancel       BIGINT NOT NULL,        -- 1 when its author wants it stopped
    outputs      TEXT NOT NULL,          -- JSON list of Output
    refused      TEXT NOT NULL,          -- JSON list of refused names
    log_cut      BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    started_at   BIGINT NOT NULL,
    finished_at  BIGINT NOT NULL
);
CREATE INDEX enclave_jobs_by_workspace ON enclave_jobs (workspace, created_at);
