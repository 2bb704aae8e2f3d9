package enclave

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
)

// session is one sign-in. The cookie holds a random token; the table holds its hash, so that a stolen
// database signs nobody in.
type session struct {
	Person string
	Name   string
	SPKI   []byte
	Demo   bool

	CreatedAt, SeenAt time.Time
}

func insertSession(ctx context.Context, tx *store.Tx, token string, s session, now time.Time) error {
	demo := 0
	if s.Demo {
		demo = 1
	}
	_, err := tx.Exec(ctx, `INSERT INTO enclave_sessions (token, person, name, spki, demo, created_at, seen_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, 0)`,
		token, s.Person, s.Name, base64.StdEncoding.EncodeToString(s.SPKI), int64(demo), store.Micros(now), store.Micros(now))
	return err
}

func selectSession(ctx context.Context, q store.Querier, token string) (session, error) {
	var s session
	var spki string
	var demo, created, seen int64
	err := q.QueryRow(ctx, `SELECT person, name, spki, demo, created_at, seen_at FROM enclave_sessions WHERE token = ? AND ended_at = 0`, token).
		Scan(&s.Person, &s.Name, &spki, &demo, &created, &seen)
	if err != nil {
		return s, err
	}
	s.Demo, s.CreatedAt, s.SeenAt = demo == 1, store.FromMicros(created), store.FromMicros(seen)
	s.SPKI, err = base64.StdEncoding.DecodeString(spki)
	return s, err
}

func touchSession(ctx context.Context, q store.Querier, token string, now time.Time) error {
	_, err := q.Exec(ctx, `UPDATE enclave_sessions SET seen_at = ? WHERE token = ?`, store.Micros(now), token)
	return err
}

func endSession(ctx context.Context, q store.Querier, token string, now time.Time) error {
	_, err := q.Exec(ctx, `UPDATE enclave_sessions SET ended_at = ? WHERE token = ? AND ended_at = 0`, store.Micros(now), token)
	return err
}

// endSessionsOf revokes every session of a person.
func endSessionsOf(ctx context.Context, q store.Querier, person string, now time.Time) error {
	_, err := q.Exec(ctx, `UPDATE enclave_sessions SET ended_at = ? WHERE person = ? AND ended_at = 0`, store.Micros(now), person)
	return err
}

// insertChallenge remembers a challenge for challengeLife, and forgets those that are over: anybody may ask
// for one, so they must not pile up.
func insertChallenge(ctx context.Context, q store.Querier, token string, challenge []byte, now time.Time) error {
	if _, err := q.Exec(ctx, `DELETE FROM enclave_challenges WHERE expires_at < ?`, store.Micros(now)); err != nil {
		return err
	}
	_, err := q.Exec(ctx, `INSERT INTO enclave_challenges (token, challenge, expires_at) VALUES (?, ?, ?)`,
		token, base64.StdEncoding.EncodeToString(challenge), store.Micros(now.Add(challengeLife)))
	return err
}

// takeChallenge returns a challenge and removes it: it is good for one attempt.
func takeChallenge(ctx context.Context, tx *store.Tx, token string, now time.Time) ([]byte, error) {
	var challenge string
	var expires int64
	if err := tx.QueryRow(ctx, `SELECT challenge, expires_at FROM enclave_challenges WHERE token = ?`, token).Scan(&challenge, &expires); err != nil {
		return nil, err
	}
	if _, err := tx.Exec(ctx, `DELETE FROM enclave_challenges WHERE token = ?`, token); err != nil {
		return nil, err
	}
	if now.After(store.FromMicros(expires)) {
		return nil, store.ErrNotFound
	}
	return base64.StdEncoding.DecodeString(challenge)
}
