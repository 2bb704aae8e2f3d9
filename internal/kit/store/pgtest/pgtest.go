// Package pgtest starts a real PostgreSQL server for tests: one cluster for each test binary, one empty
// database for each call. Tests of every room use it; no program does.
package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	once    sync.Once
	cluster string // directory of the cluster, which also holds its socket
	failed  error
	count   atomic.Int64
)

// Start returns the URL of an empty database on a real PostgreSQL server that ends with the test binary.
// Without PostgreSQL's programs the test is skipped, or fails when MITRAL_REQUIRE=1.
func Start(t testing.TB) string {
	t.Helper()
	bin, ok := binaries()
	if !ok {
		const msg = "PostgreSQL's server programs (initdb, postgres) were not found: install the Debian package postgresql"
		if os.Getenv("MITRAL_REQUIRE") == "1" {
			t.Fatal(msg)
		}
		t.Skip(msg)
	}
	once.Do(func() { cluster, failed = start(bin) })
	if failed != nil {
		t.Fatalf("PostgreSQL did not start: %v", failed)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	admin, err := pgx.Connect(ctx, url("postgres"))
	if err != nil {
		t.Fatalf("PostgreSQL: %v", err)
	}
	defer admin.Close(ctx)
	name := fmt.Sprintf("t%d", count.Add(1))
	if _, err := admin.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatalf("PostgreSQL: %v", err)
	}
	return url(name)
}

func url(db string) string {
	return "postgres:///" + db + "?host=" + cluster + "&user=mitral&sslmode=disable"
}

// binaries finds initdb and postgres, which Debian keeps off the PATH.
func binaries() (dir string, ok bool) {
	if p, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(p), true
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is valid
	if len(found) == 0 {
		return "", false
	}
	return filepath.Dir(found[len(found)-1]), true
}

// start makes a cluster and a server on a socket in its own directory. The server is tied to this process:
// it gets SIGQUIT (immediate shutdown) when the process ends, however it ends.
func start(bin string) (string, error) {
	dir, err := os.MkdirTemp("/tmp", "mitral-pg-") // short: a socket's path has at most 107 bytes
	if err != nil {
		return "", err
	}
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		u, err := user.Lookup("postgres")
		if err != nil {
			return "", err
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err1 != nil || err2 != nil {
			return "", fmt.Errorf("user postgres has no numeric id")
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return "", err
		}
		attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "mitral", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// A shell that waits for this process's end of a pipe outlives a killed test binary just long enough
	// to stop the server and remove the cluster.
	r, w, err := os.Pipe()
	if err != nil {
		return "", err
	}
	script := `"$0" -D data -k "$1" -c listen_addresses= -c fsync=off -c max_connections=200 >log 2>&1 & cat; kill -QUIT $!; wait $!; rm -rf "$1"/data "$1"/log "$1"; true`
	server := exec.Command("/bin/sh", "-c", script, filepath.Join(bin, "postgres"), dir)
	server.Dir, server.SysProcAttr, server.Stdin = dir, attr, r
	if err := server.Start(); err != nil {
		return "", err
	}
	r.Close()
	keep = w
	cluster = dir
	deadline := time.Now().Add(30 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		conn, err := pgx.Connect(ctx, url("postgres"))
		if err == nil {
			err = conn.Close(ctx)
		}
		cancel()
		if err == nil {
			return dir, nil
		}
		if time.Now().After(deadline) {
			out, _ := os.ReadFile(filepath.Join(dir, "log")) // best effort: it only explains
			return "", fmt.Errorf("%w\n%s", err, bytes.TrimSpace(out))
		}
		time.Sleep(20 * time.Millisecond) // the server has no other way to say that it is ready
	}
}

// keep holds the writing end of the pipe open for as long as the test binary lives.
var keep *os.File
