-- +goose Up
-- What citizens declared, without who they are: the statement itself, with her identity token, exists
-- only inside the seal to trust, in the order of the order book.
CREATE TABLE objection_statements (
  order_id TEXT PRIMARY KEY,
  number TEXT NOT NULL,          -- receipt number; an objection and its withdrawal share it
  account TEXT NOT NULL,
  action TEXT NOT NULL,          -- object, withdraw
  filed_at BIGINT NOT NULL,
  outcome TEXT NOT NULL DEFAULT '', -- recorded, withdrawn, not_identified, refused; empty: trust has not answered
  answered_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX objection_statements_number ON objection_statements (number);
CREATE INDEX objection_statements_account ON objection_statements (account, filed_at);
