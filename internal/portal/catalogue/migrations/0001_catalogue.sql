-- +goose Up
CREATE TABLE catalogue_datasets (
    holder    TEXT NOT NULL,
    dataset   TEXT NOT NULL,
    latest    BIGINT NOT NULL,
    published BIGINT NOT NULL DEFAULT 0,
    withdrawn BIGINT NOT NULL DEFAULT 0,
    updated   BIGINT NOT NULL,
    PRIMARY KEY (holder, dataset)
);

CREATE TABLE catalogue_versions (
    holder   TEXT NOT NULL,
    dataset  TEXT NOT NULL,
    version  BIGINT NOT NULL,
    author   TEXT NOT NULL,
    at       BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (holder, dataset, version)
);

CREATE TABLE catalogue_changes (
    holder  TEXT NOT NULL,
    dataset TEXT NOT NULL,
    number  BIGINT NOT NULL,
    what    TEXT NOT NULL,
    version BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (holder, dataset, number)
);

CREATE TABLE catalogue_deliveries (
    holder   TEXT NOT NULL,
    dataset  TEXT NOT NULL,
    delivery TEXT NOT NULL,
    at       BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (holder, dataset, delivery)
);

CREATE TABLE catalogue_code_lists (
    name     TEXT PRIMARY KEY,
    codes    BIGINT NOT NULL,
    digest   TEXT NOT NULL,
    document TEXT NOT NULL
);

CREATE TABLE catalogue_baskets (
    account TEXT NOT NULL,
    holder  TEXT NOT NULL,
    dataset TEXT NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (account, holder, dataset)
);
