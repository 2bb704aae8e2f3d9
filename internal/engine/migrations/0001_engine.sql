-- +goose Up
CREATE TABLE engine_deliveries (
    id TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    manifest TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);
CREATE TABLE engine_parts (
    delivery TEXT NOT NULL REFERENCES engine_deliveries (id),
    table_name TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (delivery, table_name, name)
);
CREATE TABLE engine_orders (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    document TEXT NOT NULL,
    pointers TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    receipt TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT NOT NULL
);
CREATE TABLE engine_provisions (
    permit TEXT NOT NULL,
    version BIGINT NOT NULL,
    order_id TEXT NOT NULL,
    PRIMARY KEY (permit, version)
);
CREATE TABLE engine_questions (
    asker TEXT NOT NULL,
    day TEXT NOT NULL,
    asked BIGINT NOT NULL,
    PRIMARY KEY (asker, day)
);
