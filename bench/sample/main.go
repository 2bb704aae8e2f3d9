// Command sample measures the generator of the sample country: people, rows, bytes, seconds, CPU seconds,
// peak memory. `go run ./bench/sample -people 20000,200000,1000000` prints one line per size.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mitral-health/mitral/internal/sample"
)

func main() {
	people := flag.String("people", "20000,200000,1000000", "sizes, separated by commas")
	format := flag.String("format", sample.Parquet, "csv or parquet")
	out := flag.String("out", "", "where to write (default: a temporary directory, removed afterwards)")
	flag.Parse()
	if err := run(*people, *format, *out); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(people, format, out string) error {
	dir := out
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "sample"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	}
	fmt.Println("| people | format | event rows | rows per person | bytes | seconds | CPU seconds | rows/s | peak RSS MiB | CPU µs per row |")
	fmt.Println("|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, s := range strings.Split(people, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return err
		}
		cpu := usage()
		begun := time.Now()
		sum, err := sample.Generate(context.Background(), sample.Options{People: n, Seed: 1, Years: 3, Format: format, Out: filepath.Join(dir, s+"-"+format), OMOP: os.Getenv("OMOP")})
		if err != nil {
			return err
		}
		took := time.Since(begun).Seconds()
		spent := usage() - cpu
		fmt.Printf("| %d | %s | %d | %.1f | %d | %.1f | %.1f | %.0f | %d | %.2f |\n", n, format, sum.Events, float64(sum.Events)/float64(n), sum.Bytes, took, spent,
			float64(sum.Events)/took, peak(), spent*1e6/float64(sum.Events))
	}
	return nil
}

// usage is the CPU time of this process, user and system, in seconds.
func usage() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// peak is the largest resident set so far, in MiB.
func peak() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Maxrss >> 10
}
