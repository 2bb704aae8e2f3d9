// Package duck opens DuckDB databases that can do nothing but what engine asks: in memory, no
// extensions from the network, no file outside the named directories, settings locked. The rooms of
// engine call it; nothing else in the house may use DuckDB. It must never know a table of the lake.
package duck

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"

	duckdb "github.com/duckdb/duckdb-go/v2"
)

// Options bound what a database may use.
type Options struct {
	// Dirs are the only directories whose files can be read or written.
	Dirs []string
	// Temp is where data goes that does not fit in memory. Empty: nothing is ever spilled to disk, and
	// what does not fit is an error. Keys and crosswalks may only live in a database without Temp.
	Temp string
	// Memory is DuckDB's limit, "4GB"; empty means DefaultMemory.
	Memory string
	// Threads is the number of worker threads; 0 means one per processor.
	Threads int
	// Prepare runs before the settings are locked.
	Prepare []string
}

// DefaultMemory is the limit of one database when the configuration names none.
const DefaultMemory = "4GB"

// DB is one in-memory database.
type DB struct {
	*sql.DB
	connector *duckdb.Connector
}

// Open opens an empty database.
func Open(ctx context.Context, o Options) (*DB, error) {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("duckdb: %w", err)
	}
	db := &DB{DB: sql.OpenDB(connector), connector: connector}
	if o.Memory == "" {
		o.Memory = DefaultMemory
	}
	if o.Threads <= 0 {
		o.Threads = runtime.NumCPU()
	}
	dirs := make([]string, 0, len(o.Dirs)+1)
	for _, d := range o.Dirs {
		dirs = append(dirs, Text(strings.TrimRight(d, "/")+"/"))
	}
	if o.Temp != "" {
		dirs = append(dirs, Text(strings.TrimRight(o.Temp, "/")+"/"))
	}
	settings := []string{
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"SET memory_limit = " + Text(o.Memory),
		fmt.Sprintf("SET threads = %d", o.Threads),
		"SET temp_directory = " + Text(o.Temp),
		"SET enable_progress_bar = false",
		"SET allowed_directories = [" + strings.Join(dirs, ", ") + "]",
	}
	settings = append(settings, o.Prepare...)
	settings = append(settings,
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	)
	for _, s := range settings {
		if _, err := db.ExecContext(ctx, s); err != nil {
			db.Close()
			return nil, fmt.Errorf("duckdb: %s: %w", s, err)
		}
	}
	return db, nil
}

// Append calls rows with a function that appends one row to a table of the main schema. It is the way
// to bring data in that is not Parquet.
func (db *DB) Append(ctx context.Context, table string, rows func(add func(values ...driver.Value) error) error) (err error) {
	conn, err := db.connector.Connect(ctx)
	if err != nil {
		return fmt.Errorf("duckdb: connect: %w", err)
	}
	defer conn.Close()
	a, err := duckdb.NewAppenderFromConn(conn, "main", table)
	if err != nil {
		return fmt.Errorf("duckdb: append to %s: %w", table, err)
	}
	if err := rows(a.AppendRow); err != nil {
		return errors.Join(fmt.Errorf("duckdb: append to %s: %w", table, err), a.Close())
	}
	if err := a.Close(); err != nil {
		return fmt.Errorf("duckdb: append to %s: %w", table, err)
	}
	return nil
}

// Bytes16 is a value of 16 bytes for a UUID column.
func Bytes16(b []byte) driver.Value { return duckdb.UUID(b[:16]) }

// ScanUUID reads a UUID column into 16 bytes.
type ScanUUID [16]byte

// Scan implements sql.Scanner.
func (u *ScanUUID) Scan(v any) error {
	switch x := v.(type) {
	case []byte:
		if len(x) == 16 {
			copy(u[:], x)
			return nil
		}
	case duckdb.UUID:
		*u = ScanUUID(x)
		return nil
	}
	return fmt.Errorf("not a UUID: %T", v)
}

// Ident quotes a name as an SQL identifier.
func Ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Text quotes a string as an SQL literal.
func Text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// Texts quotes strings as a comma-separated list of literals.
func Texts(s []string) string {
	q := make([]string, len(s))
	for i, v := range s {
		q[i] = Text(v)
	}
	return strings.Join(q, ", ")
}

// Parquet is the table function that reads files together as one table.
func Parquet(files []string) string {
	return "read_parquet([" + Texts(files) + "], hive_partitioning = false)"
}

// DiskFull reports whether err says that no space is left on a disk, be it from the operating system
// or from DuckDB, which gives it as text only.
func DiskFull(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), syscall.ENOSPC.Error()) ||
		strings.Contains(err.Error(), "No space left on device"))
}
