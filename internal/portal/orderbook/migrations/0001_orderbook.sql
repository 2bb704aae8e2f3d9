-- +goose Up
CREATE TABLE orderbook_queues (
    zone TEXT PRIMARY KEY,
    last BIGINT NOT NULL
);

CREATE TABLE orderbook_orders (
    id       TEXT PRIMARY KEY,
    zone     TEXT NOT NULL,
    seq      BIGINT NOT NULL,
    kind     TEXT NOT NULL,
    finished BIGINT NOT NULL DEFAULT 0,
    document TEXT NOT NULL,
    UNIQUE (zone, seq)
);
CREATE INDEX orderbook_orders_open ON orderbook_orders (zone, finished, seq);

CREATE TABLE orderbook_receipts (
    zone     TEXT NOT NULL,
    id       TEXT NOT NULL,
    order_id TEXT NOT NULL REFERENCES orderbook_orders (id),
    status   TEXT NOT NULL,
    at       BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (zone, id)
);
CREATE INDEX orderbook_receipts_order ON orderbook_receipts (order_id, at);

CREATE TABLE orderbook_notices (
    zone     TEXT NOT NULL,
    id       TEXT NOT NULL,
    kind     TEXT NOT NULL,
    at       BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (zone, id)
);
CREATE INDEX orderbook_notices_kind ON orderbook_notices (kind, at);

CREATE TABLE orderbook_checkpoints (
    zone         TEXT NOT NULL,
    size         BIGINT NOT NULL,
    root         TEXT NOT NULL,
    verifier_key TEXT NOT NULL,
    checkpoint   TEXT NOT NULL,
    at           BIGINT NOT NULL,
    PRIMARY KEY (zone, size)
);

CREATE TABLE orderbook_exports (
    id        TEXT PRIMARY KEY,
    permit_id TEXT NOT NULL,
    closed_at BIGINT NOT NULL,
    document  TEXT NOT NULL
);
CREATE INDEX orderbook_exports_permit ON orderbook_exports (permit_id, closed_at);
