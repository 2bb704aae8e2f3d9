// Package store opens a zone's database, SQLite (embedded default) or PostgreSQL (production), behind
// one small interface, so that each room writes its SQL once in a portable subset:
// placeholders "?", types TEXT and BIGINT only (times are UTC microseconds, bytes are base64 text),
// INSERT … ON CONFLICT, no vendor functions. It knows no zone and no table.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite"
)

// ErrNotFound is returned by Row.Scan when no row fits.
var ErrNotFound = errors.New("not found")

// ErrConflict is returned when a unique constraint refuses a row: somebody else wrote first.
var ErrConflict = errors.New("conflict")

// Rows is a result to be walked and closed.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close()
}

// Row is a single row; Scan returns ErrNotFound when there is none.
type Row interface{ Scan(dest ...any) error }

// Querier runs statements, inside or outside a transaction.
type Querier interface {
	Exec(ctx context.Context, query string, args ...any) (rowsAffected int64, err error)
	Query(ctx context.Context, query string, args ...any) (Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) Row
}

// ErrText is returned for text that PostgreSQL does not store and SQLite would: a NUL byte, or bytes that
// are not UTF-8. Both refuse it here, so that what works on one works on the other.
var ErrText = errors.New("text with a NUL byte or not in UTF-8")

// ErrBusy is returned when a transaction could not begin on SQLite, which has one writer at a time.
var ErrBusy = errors.New("another transaction is taking very long, or a transaction was begun inside a transaction")

// queueFor is how long a transaction waits in the process's own queue on SQLite.
const queueFor = time.Minute

// DB is an open database. Exactly one of the first two fields is set.
type DB struct {
	SQLite *sql.DB
	Pool   *pgxpool.Pool

	// writer holds one token: transactions of this process queue for SQLite's single writer in the order
	// they come, instead of polling its lock.
	writer chan struct{}
}

// Tx is a transaction. Exactly one of the two fields is set.
type Tx struct {
	SQLite *sql.Tx
	PG     pgx.Tx

	afterCommit []func()
}

// AfterCommit has f called once the transaction that InTx runs has been committed, and never if it is
// rolled back. It is for waking those who wait in this process; what must not be lost belongs in a row.
func (tx *Tx) AfterCommit(f func()) { tx.afterCommit = append(tx.afterCommit, f) }

func (tx *Tx) committed() {
	for _, f := range tx.afterCommit {
		f()
	}
}

// Open opens "sqlite:PATH" or a "postgres://…" URL.
func Open(ctx context.Context, dsn string) (*DB, error) {
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		// synchronous=FULL: a decision that was shown as taken survives a power cut.
		q := url.Values{"_pragma": {"journal_mode(WAL)", "busy_timeout(10000)", "foreign_keys(1)", "synchronous(FULL)"}, "_txlock": {"immediate"}}
		db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
		if err != nil {
			return nil, fmt.Errorf("open sqlite: %w", err)
		}
		if err := db.PingContext(ctx); err != nil {
			db.Close()
			return nil, fmt.Errorf("open sqlite %s: %w", path, err)
		}
		return &DB{SQLite: db, writer: make(chan struct{}, 1)}, nil
	}
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		pool, err := pgxpool.New(ctx, dsn)
		if err != nil {
			return nil, errors.New("open postgres: bad URL") // the URL may hold a password
		}
		if err := pool.Ping(ctx); err != nil {
			pool.Close()
			return nil, fmt.Errorf("open postgres: %w", err)
		}
		return &DB{Pool: pool}, nil
	}
	return nil, errors.New(`database: want "sqlite:PATH" or "postgres://…"`)
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error {
	var one int64
	return db.QueryRow(ctx, `SELECT 1`).Scan(&one)
}

// Close releases the database.
func (db *DB) Close() {
	if db.SQLite != nil {
		db.SQLite.Close()
		return
	}
	db.Pool.Close()
}

// Migrate applies the room's migrations (goose, forward only) and remembers them under the room's name.
func (db *DB) Migrate(ctx context.Context, room string, migrations fs.FS) error {
	dialect, conn := goose.DialectSQLite3, db.SQLite
	if db.Pool != nil {
		dialect, conn = goose.DialectPostgres, stdlib.OpenDBFromPool(db.Pool)
		defer conn.Close()
	}
	p, err := goose.NewProvider(dialect, conn, migrations, goose.WithTableName("migrations_"+room))
	if err != nil {
		return fmt.Errorf("migrate %s: %w", room, err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", room, err)
	}
	return nil
}

// InTx runs f in a transaction and commits if it returns nil. f must return the errors of its statements:
// after one PostgreSQL refuses the rest of the transaction. On PostgreSQL the isolation is serializable
// and f is run again after a serialization failure, so f must have no other side effect. On SQLite one
// transaction runs at a time; beginning one inside another is ErrBusy.
func (db *DB) InTx(ctx context.Context, f func(*Tx) error) error {
	if db.SQLite != nil {
		return db.inSQLite(ctx, f)
	}
	for attempt := 0; ; attempt++ {
		var t *Tx
		err := pgx.BeginTxFunc(ctx, db.Pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
			t = &Tx{PG: tx}
			return f(t)
		})
		if err == nil {
			t.committed()
		}
		var pe *pgconn.PgError
		if errors.As(err, &pe) && (pe.Code == "40001" || pe.Code == "40P01") && attempt < 10 {
			time.Sleep(time.Duration(attempt+1) * 5 * time.Millisecond)
			continue
		}
		return err
	}
}

func (db *DB) inSQLite(ctx context.Context, f func(*Tx) error) error {
	wait := time.NewTimer(queueFor)
	defer wait.Stop()
	select {
	case db.writer <- struct{}{}:
	case <-wait.C:
		return fmt.Errorf("begin: %w", ErrBusy)
	case <-ctx.Done():
		return fmt.Errorf("begin: %w", ctx.Err())
	}
	t, err := func() (*Tx, error) {
		defer func() { <-db.writer }()
		tx, err := db.SQLite.BeginTx(ctx, nil)
		if err != nil {
			return nil, fmt.Errorf("begin: %w", err)
		}
		defer tx.Rollback() // nothing to do after a commit
		t := &Tx{SQLite: tx}
		if err := f(t); err != nil {
			return nil, err
		}
		return t, tx.Commit()
	}()
	if err == nil {
		t.committed() // outside the queue: a callback may begin its own transaction
	}
	return err
}

func (db *DB) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	if err := checkText(args); err != nil {
		return 0, err
	}
	if db.SQLite != nil {
		return sqliteExec(db.SQLite.ExecContext(ctx, q, args...))
	}
	return pgExec(db.Pool.Exec(ctx, rebind(q), args...))
}

func (db *DB) Query(ctx context.Context, q string, args ...any) (Rows, error) {
	if err := checkText(args); err != nil {
		return nil, err
	}
	if db.SQLite != nil {
		return sqliteQuery(db.SQLite.QueryContext(ctx, q, args...))
	}
	return pgQuery(db.Pool.Query(ctx, rebind(q), args...))
}

func (db *DB) QueryRow(ctx context.Context, q string, args ...any) Row {
	if err := checkText(args); err != nil {
		return failedRow{err}
	}
	if db.SQLite != nil {
		return row{db.SQLite.QueryRowContext(ctx, q, args...)}
	}
	return row{db.Pool.QueryRow(ctx, rebind(q), args...)}
}

func (tx *Tx) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	if err := checkText(args); err != nil {
		return 0, err
	}
	if tx.SQLite != nil {
		return sqliteExec(tx.SQLite.ExecContext(ctx, q, args...))
	}
	return pgExec(tx.PG.Exec(ctx, rebind(q), args...))
}

func (tx *Tx) Query(ctx context.Context, q string, args ...any) (Rows, error) {
	if err := checkText(args); err != nil {
		return nil, err
	}
	if tx.SQLite != nil {
		return sqliteQuery(tx.SQLite.QueryContext(ctx, q, args...))
	}
	return pgQuery(tx.PG.Query(ctx, rebind(q), args...))
}

func (tx *Tx) QueryRow(ctx context.Context, q string, args ...any) Row {
	if err := checkText(args); err != nil {
		return failedRow{err}
	}
	if tx.SQLite != nil {
		return row{tx.SQLite.QueryRowContext(ctx, q, args...)}
	}
	return row{tx.PG.QueryRow(ctx, rebind(q), args...)}
}

// Micros and FromMicros convert between time and the stored form.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromMicros is the inverse of Micros.
func FromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

type row struct {
	s interface{ Scan(...any) error }
}

func (r row) Scan(dest ...any) error {
	err := r.s.Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) || errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return conflict(err) // INSERT … RETURNING
}

// failedRow is a query that was not run.
type failedRow struct{ err error }

func (r failedRow) Scan(...any) error { return r.err }

type sqliteRows struct{ *sql.Rows }

func (r sqliteRows) Close()     { r.Rows.Close() }
func (r sqliteRows) Err() error { return conflict(r.Rows.Err()) }

type pgRows struct{ pgx.Rows }

func (r pgRows) Err() error { return conflict(r.Rows.Err()) }

func checkText(args []any) error {
	for _, a := range args {
		switch s := a.(type) {
		case string:
			if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
				return ErrText
			}
		case *string:
			if s != nil && (strings.IndexByte(*s, 0) >= 0 || !utf8.ValidString(*s)) {
				return ErrText
			}
		}
	}
	return nil
}

func sqliteExec(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, conflict(err)
	}
	return res.RowsAffected()
}

func sqliteQuery(r *sql.Rows, err error) (Rows, error) {
	if err != nil {
		return nil, conflict(err)
	}
	return sqliteRows{r}, nil
}

func pgExec(tag pgconn.CommandTag, err error) (int64, error) {
	if err != nil {
		return 0, conflict(err)
	}
	return tag.RowsAffected(), nil
}

func pgQuery(r pgx.Rows, err error) (Rows, error) {
	if err != nil {
		return nil, conflict(err)
	}
	return pgRows{r}, nil
}

func conflict(err error) error {
	var pe *pgconn.PgError
	if errors.As(err, &pe) && pe.Code == "23505" {
		return fmt.Errorf("%w: %s", ErrConflict, pe.ConstraintName)
	}
	var se interface{ Code() int }
	if errors.As(err, &se) && (se.Code() == 2067 || se.Code() == 1555) { // SQLITE_CONSTRAINT_UNIQUE, _PRIMARYKEY
		return fmt.Errorf("%w: unique", ErrConflict)
	}
	return err
}

// rebind turns "?" into "$1", "$2", … outside quoted text.
func rebind(q string) string {
	if !strings.Contains(q, "?") {
		return q
	}
	var b strings.Builder
	n := 0
	quote := byte(0)
	for i := 0; i < len(q); i++ {
		c := q[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
			b.WriteByte(c)
		case c == '\'' || c == '"':
			quote = c
			b.WriteByte(c)
		case c == '?':
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
