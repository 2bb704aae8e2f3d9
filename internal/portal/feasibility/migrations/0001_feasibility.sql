-- +goose Up
CREATE TABLE feasibility_questions (
    id       TEXT PRIMARY KEY,
    account  TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    question TEXT NOT NULL,
    status   TEXT NOT NULL,
    code     TEXT NOT NULL DEFAULT '',
    answer   TEXT NOT NULL DEFAULT ''
);
CREATE INDEX feasibility_questions_account ON feasibility_questions (account, asked_at);
