-- +goose Up
CREATE TABLE enclave_sessions (
    token       TEXT PRIMARY KEY,   -- SHA-256 of the cookie's value
    person      TEXT NOT NULL,
    name        TEXT NOT NULL,
    spki        TEXT NOT NULL,      -- base64 of the passkey's public key; '' for a demonstration
    demo        BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL,
    ended_at    BIGINT NOT NULL     -- 0 while it lasts
);
CREATE TABLE enclave_challenges (
    token       TEXT PRIMARY KEY,   -- SHA-256 of the cookie's value
    challenge   TEXT NOT NULL,      -- base64
    expires_at  BIGINT NOT NULL
);
