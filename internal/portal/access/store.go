package access

import (
	"context"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/mitral-health/mitral/internal/kit/store"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

func migrations() fs.FS {
	sub, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		panic(err) // embedded above
	}
	return sub
}

// Account is a person as the portal knows them.
type Account struct {
	User
	CreatedAt  time.Time
	DisabledAt time.Time
}

func insertAccount(ctx context.Context, tx *store.Tx, u User, subject string, demo bool, now time.Time) error {
	d := int64(0)
	if demo {
		d = 1
	}
	_, err := tx.Exec(ctx, `INSERT INTO accounts (id, name, holder, subject, demo, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
		u.ID, u.Name, u.Holder, subject, d, store.Micros(now))
	if err != nil {
		return fmt.Errorf("account: %w", err)
	}
	for _, r := range u.Roles {
		if _, err := tx.Exec(ctx, `INSERT INTO account_roles (account, role) VALUES (?, ?)`, u.ID, string(r)); err != nil {
			return fmt.Errorf("account: %w", err)
		}
	}
	return nil
}

func rolesOf(ctx context.Context, q store.Querier, account string) ([]Role, error) {
	rows, err := q.Query(ctx, `SELECT role FROM account_roles WHERE account = ? ORDER BY role`, account)
	if err != nil {
		return nil, fmt.Errorf("roles: %w", err)
	}
	defer rows.Close()
	var roles []Role
	for rows.Next() {
		var r string
		if err := rows.Scan(&r); err != nil {
			return nil, fmt.Errorf("roles: %w", err)
		}
		roles = append(roles, Role(r))
	}
	return roles, rows.Err()
}

// selectAccount finds an account by id; store.ErrNotFound when there is none.
func selectAccount(ctx context.Context, q store.Querier, id string) (Account, error) {
	var a Account
	var created, disabled int64
	err := q.QueryRow(ctx, `SELECT id, name, holder, created_at, disabled_at FROM accounts WHERE id = ?`, id).
		Scan(&a.ID, &a.Name, &a.Holder, &created, &disabled)
	if err != nil {
		return Account{}, fmt.Errorf("account: %w", err)
	}
	a.CreatedAt, a.DisabledAt = store.FromMicros(created), store.FromMicros(disabled)
	a.Roles, err = rolesOf(ctx, q, id)
	return a, err
}

func selectAccountBySubject(ctx context.Context, q store.Querier, subject string) (Account, error) {
	var id string
	if err := q.QueryRow(ctx, `SELECT id FROM accounts WHERE subject = ?`, subject).Scan(&id); err != nil {
		return Account{}, fmt.Errorf("account: %w", err)
	}
	return selectAccount(ctx, q, id)
}

// selectStaff lists the accounts that are not citizens', by name.
func selectStaff(ctx context.Context, q store.Querier) ([]Account, error) {
	rows, err := q.Query(ctx, `SELECT id, name, holder, created_at, disabled_at FROM accounts WHERE subject = '' ORDER BY name, id`)
	if err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	var list []Account
	for rows.Next() {
		var a Account
		var created, disabled int64
		if err := rows.Scan(&a.ID, &a.Name, &a.Holder, &created, &disabled); err != nil {
			rows.Close()
			return nil, fmt.Errorf("accounts: %w", err)
		}
		a.CreatedAt, a.DisabledAt = store.FromMicros(created), store.FromMicros(disabled)
		list = append(list, a)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("accounts: %w", err)
	}
	for i := range list {
		if list[i].Roles, err = rolesOf(ctx, q, list[i].ID); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func countRole(ctx context.Context, q store.Querier, role Role) (n int64, err error) {
	err = q.QueryRow(ctx, `SELECT COUNT(*) FROM account_roles WHERE role = ?`, string(role)).Scan(&n)
	return n, err
}

func setDisabled(ctx context.Context, tx *store.Tx, id string, at time.Time) error {
	n, err := tx.Exec(ctx, `UPDATE accounts SET disabled_at = ? WHERE id = ?`, store.Micros(at), id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err == nil && !at.IsZero() {
		_, err = tx.Exec(ctx, `UPDATE sessions SET revoked_at = ? WHERE account = ? AND revoked_at = 0`, store.Micros(at), id)
	}
	return err
}

// Session is one sign-in of one person in one browser.
type Session struct {
	ID        string
	Account   string
	Name      string // of the account; empty for citizens
	How       string // "passkey", "oidc" or "demo"
	CreatedAt time.Time
	SeenAt    time.Time
	EndsAt    time.Time
	RevokedAt time.Time
}

func insertSession(ctx context.Context, tx *store.Tx, s Session, hash string) error {
	_, err := tx.Exec(ctx, `INSERT INTO sessions (id, token_hash, account, how, created_at, seen_at, ends_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		s.ID, hash, s.Account, s.How, store.Micros(s.CreatedAt), store.Micros(s.SeenAt), store.Micros(s.EndsAt))
	return err
}

// selectSession finds the session of a cookie, revoked or not, if its account is not disabled.
func selectSession(ctx context.Context, q store.Querier, hash string) (Session, User, error) {
	var s Session
	var u User
	var created, seen, ends, revoked int64
	err := q.QueryRow(ctx, `SELECT s.id, s.account, s.how, s.created_at, s.seen_at, s.ends_at, s.revoked_at, a.name, a.holder
		FROM sessions s JOIN accounts a ON a.id = s.account WHERE s.token_hash = ? AND a.disabled_at = 0`, hash).
		Scan(&s.ID, &s.Account, &s.How, &created, &seen, &ends, &revoked, &u.Name, &u.Holder)
	if err != nil {
		return Session{}, User{}, fmt.Errorf("session: %w", err)
	}
	s.CreatedAt, s.SeenAt, s.EndsAt, s.RevokedAt = store.FromMicros(created), store.FromMicros(seen), store.FromMicros(ends), store.FromMicros(revoked)
	u.ID, s.Name = s.Account, u.Name
	u.Roles, err = rolesOf(ctx, q, u.ID)
	return s, u, err
}

func touchSession(ctx context.Context, q store.Querier, id string, at time.Time) error {
	_, err := q.Exec(ctx, `UPDATE sessions SET seen_at = ? WHERE id = ?`, store.Micros(at), id)
	return err
}

func revokeSession(ctx context.Context, tx *store.Tx, id string, at time.Time) (bool, error) {
	n, err := tx.Exec(ctx, `UPDATE sessions SET revoked_at = ? WHERE id = ? AND revoked_at = 0`, store.Micros(at), id)
	return n > 0, err
}

// selectOpenSessions lists sessions that still sign somebody in, newest first.
func selectOpenSessions(ctx context.Context, q store.Querier, now, idleSince time.Time) ([]Session, error) {
	rows, err := q.Query(ctx, `SELECT s.id, s.account, s.how, s.created_at, s.seen_at, s.ends_at, a.name
		FROM sessions s JOIN accounts a ON a.id = s.account
		WHERE s.revoked_at = 0 AND s.ends_at > ? AND s.seen_at > ? ORDER BY s.created_at DESC, s.id LIMIT 500`, store.Micros(now), store.Micros(idleSince))
	if err != nil {
		return nil, fmt.Errorf("sessions: %w", err)
	}
	defer rows.Close()
	var list []Session
	for rows.Next() {
		var s Session
		var created, seen, ends int64
		if err := rows.Scan(&s.ID, &s.Account, &s.How, &created, &seen, &ends, &s.Name); err != nil {
			return nil, fmt.Errorf("sessions: %w", err)
		}
		s.CreatedAt, s.SeenAt, s.EndsAt = store.FromMicros(created), store.FromMicros(seen), store.FromMicros(ends)
		list = append(list, s)
	}
	return list, rows.Err()
}

// Passkey is one credential of an account.
type Passkey struct {
	CredentialID []byte
	SPKI         []byte // DER SubjectPublicKeyInfo
	Label        string
	CreatedAt    time.Time
	UsedAt       time.Time
	record       webauthn.Credential
}

func insertPasskey(ctx context.Context, tx *store.Tx, account string, p Passkey) error {
	record, err := json.Marshal(p.record)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO passkeys (credential_id, account, label, spki, record, created_at) VALUES (?, ?, ?, ?, ?, ?)`,
		base64.RawURLEncoding.EncodeToString(p.CredentialID), account, p.Label, base64.StdEncoding.EncodeToString(p.SPKI), string(record), store.Micros(p.CreatedAt))
	return err
}

func selectPasskeys(ctx context.Context, q store.Querier, account string) ([]Passkey, error) {
	rows, err := q.Query(ctx, `SELECT credential_id, label, spki, record, created_at, used_at FROM passkeys WHERE account = ? ORDER BY created_at, credential_id`, account)
	if err != nil {
		return nil, fmt.Errorf("passkeys: %w", err)
	}
	defer rows.Close()
	var list []Passkey
	for rows.Next() {
		var p Passkey
		var id, spki, record string
		var created, used int64
		if err := rows.Scan(&id, &p.Label, &spki, &record, &created, &used); err != nil {
			return nil, fmt.Errorf("passkeys: %w", err)
		}
		var e1, e2 error
		p.CredentialID, e1 = base64.RawURLEncoding.DecodeString(id)
		p.SPKI, e2 = base64.StdEncoding.DecodeString(spki)
		if err := errors.Join(e1, e2, json.Unmarshal([]byte(record), &p.record)); err != nil {
			return nil, fmt.Errorf("passkeys: damaged row: %w", err)
		}
		p.CreatedAt, p.UsedAt = store.FromMicros(created), store.FromMicros(used)
		list = append(list, p)
	}
	return list, rows.Err()
}

func updatePasskey(ctx context.Context, tx *store.Tx, c *webauthn.Credential, at time.Time) error {
	record, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `UPDATE passkeys SET record = ?, used_at = ? WHERE credential_id = ?`, string(record), store.Micros(at),
		base64.RawURLEncoding.EncodeToString(c.ID))
	return err
}

func deletePasskey(ctx context.Context, tx *store.Tx, account string, credential []byte) error {
	n, err := tx.Exec(ctx, `DELETE FROM passkeys WHERE account = ? AND credential_id = ?`, account, base64.RawURLEncoding.EncodeToString(credential))
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// ceremony is something begun that must be finished once, in time, by who began it.
type ceremony struct {
	Kind    string
	Account string
	Data    string
}

func insertCeremony(ctx context.Context, q store.Querier, hash string, c ceremony, ends time.Time) error {
	_, err := q.Exec(ctx, `INSERT INTO ceremonies (token_hash, kind, account, data, ends_at) VALUES (?, ?, ?, ?, ?)`, hash, c.Kind, c.Account, c.Data, store.Micros(ends))
	return err
}

// peekCeremony looks without taking; takeCeremony takes it, so that a second attempt finds nothing.
func peekCeremony(ctx context.Context, q store.Querier, hash, kind string, now time.Time) (c ceremony, err error) {
	err = q.QueryRow(ctx, `SELECT kind, account, data FROM ceremonies WHERE token_hash = ? AND kind = ? AND ends_at > ?`, hash, kind, store.Micros(now)).
		Scan(&c.Kind, &c.Account, &c.Data)
	return c, err
}

func takeCeremony(ctx context.Context, tx *store.Tx, hash, kind string, now time.Time) (ceremony, error) {
	c, err := peekCeremony(ctx, tx, hash, kind, now)
	if err != nil {
		return c, err
	}
	n, err := tx.Exec(ctx, `DELETE FROM ceremonies WHERE token_hash = ?`, hash)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return c, err
}

// sweep deletes what is over: ceremonies at once, sessions after 30 days (the ledger keeps the event).
func sweep(ctx context.Context, q store.Querier, now time.Time) error {
	_, err1 := q.Exec(ctx, `DELETE FROM ceremonies WHERE ends_at <= ?`, store.Micros(now))
	_, err2 := q.Exec(ctx, `DELETE FROM sessions WHERE ends_at <= ?`, store.Micros(now.AddDate(0, 0, -30)))
	return errors.Join(err1, err2)
}
