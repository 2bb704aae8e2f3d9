-- +goose Up
CREATE TABLE trust_deliveries (
  id         TEXT   NOT NULL PRIMARY KEY,
  holder     TEXT   NOT NULL,
  dataset    TEXT   NOT NULL,
  status     TEXT   NOT NULL,
  reason     TEXT   NOT NULL,
  manifest   TEXT   NOT NULL,
  sheet      TEXT   NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE TABLE trust_parts (
  delivery TEXT   NOT NULL,
  part     TEXT   NOT NULL,
  digest   TEXT   NOT NULL,
  bytes    BIGINT NOT NULL,
  PRIMARY KEY (delivery, part)
);
CREATE TABLE trust_orders (
  id      TEXT   NOT NULL PRIMARY KEY,
  digest  TEXT   NOT NULL,
  receipt TEXT   NOT NULL,
  at      BIGINT NOT NULL
);
-- Tokens that proved a declaration, by their SHA-256: one sign-in proves one declaration.
CREATE TABLE trust_tokens (
  digest TEXT NOT NULL PRIMARY KEY,
  action TEXT NOT NULL,
  number TEXT NOT NULL
);
CREATE TABLE trust_facts (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
);
