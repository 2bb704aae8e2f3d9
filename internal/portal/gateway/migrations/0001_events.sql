-- +goose Up
-- The truth: every event of every case. Nothing ever updates or deletes a row.
CREATE TABLE gateway_events (
    stream TEXT NOT NULL,
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    role TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (stream, seq)
);

-- Index of cases, made from the events, so that lists need no walk through all streams.
CREATE TABLE gateway_cases (
    stream TEXT NOT NULL PRIMARY KEY,
    applicant TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    due BIGINT NOT NULL,
    updated BIGINT NOT NULL
);
CREATE INDEX gateway_cases_due ON gateway_cases (state, due);

-- Who is named in a case, for "my applications".
CREATE TABLE gateway_named (
    account TEXT NOT NULL,
    stream TEXT NOT NULL,
    PRIMARY KEY (account, stream)
);

-- Permits in force, by id, and the orders that carried them.
CREATE TABLE gateway_permits (
    permit_id TEXT NOT NULL PRIMARY KEY,
    stream TEXT NOT NULL,
    kind TEXT NOT NULL,
    valid_from BIGINT NOT NULL,
    valid_until BIGINT NOT NULL
);
CREATE TABLE gateway_orders (
    order_id TEXT NOT NULL PRIMARY KEY,
    stream TEXT NOT NULL
);

-- How far a running order is. News of the moment, not an event of the case.
CREATE TABLE gateway_progress (
    order_id TEXT NOT NULL PRIMARY KEY,
    stream TEXT NOT NULL,
    receipt TEXT NOT NULL
);
