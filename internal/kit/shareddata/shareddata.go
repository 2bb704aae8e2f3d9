// Package shareddata finds the public data sets that tests and benchmarks may use: below the directory
// named by MITRAL_SHARED_DATA, else in ../shared/data beside the repository. Programs never need it.
package shareddata

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Path returns the path of a file or directory below the shared data. Without it the test is skipped
// and says what is missing: a fresh machine need not have it.
func Path(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("MITRAL_SHARED_DATA")
	if root == "" {
		_, file, _, _ := runtime.Caller(0)
		root = filepath.Join(filepath.Dir(file), "..", "..", "..", "..", "shared", "data")
	}
	p := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(p); err != nil {
		const hint = "set MITRAL_SHARED_DATA to the directory that holds it"
		t.Skipf("shared data %s is not there (%s)", p, hint)
	}
	return p
}
