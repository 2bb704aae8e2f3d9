-- +goose Up
CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,               -- empty for citizens: who they are is not kept
  holder TEXT NOT NULL DEFAULT '',
  subject TEXT NOT NULL DEFAULT '', -- citizens: keyed hash of the identity provider's issuer and subject
  demo BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  disabled_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX accounts_subject ON accounts (subject) WHERE subject <> '';

CREATE TABLE account_roles (
  account TEXT NOT NULL REFERENCES accounts (id),
  role TEXT NOT NULL,
  PRIMARY KEY (account, role)
);

CREATE TABLE sessions (
  id TEXT PRIMARY KEY,
  token_hash TEXT NOT NULL UNIQUE,  -- SHA-256 of the cookie: the table alone signs nobody in
  account TEXT NOT NULL REFERENCES accounts (id),
  how TEXT NOT NULL,                -- passkey, oidc, demo
  created_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  ends_at BIGINT NOT NULL,          -- absolute limit
  revoked_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX sessions_account ON sessions (account);

CREATE TABLE passkeys (
  credential_id TEXT PRIMARY KEY,   -- base64url
  account TEXT NOT NULL REFERENCES accounts (id),
  label TEXT NOT NULL,
  spki TEXT NOT NULL,               -- base64 of the DER SubjectPublicKeyInfo
  record TEXT NOT NULL,             -- what the WebAuthn library needs to check it again
  created_at BIGINT NOT NULL,
  used_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX passkeys_account ON passkeys (account);

-- Challenges, sign-ins under way and invitations: taken once, then gone.
CREATE TABLE ceremonies (
  token_hash TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  account TEXT NOT NULL DEFAULT '',
  data TEXT NOT NULL,
  ends_at BIGINT NOT NULL
);
