// Command sandboxbin is the part of the mitral binary that runs inside the sandbox, and nothing else. Tests
// of the enclave build it, because a zone's test may not import another zone's packages.
package main

import (
	"fmt"
	"os"

	"github.com/mitral-health/mitral/internal/enclave/sandbox/shim"
	"github.com/mitral-health/mitral/internal/engine/jobsql"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case shim.Command:
			os.Exit(shim.Main(os.Args[2:]))
		case shim.ProbeCommand:
			os.Exit(shim.Probe(os.Args[2:]))
		case jobsql.Command:
			os.Exit(jobsql.Main(os.Args[2:]))
		}
	}
	fmt.Fprintln(os.Stderr, "sandboxbin: want", shim.Command, shim.ProbeCommand, "or", jobsql.Command)
	os.Exit(2)
}
