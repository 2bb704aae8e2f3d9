package enclave

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/mitral-health/mitral/internal/enclave/sandbox"
)

// SelfTest builds a sandbox as the zone would, attacks it, and prints what happened ("mitral enclave
// selftest"). The error is not nil when no sandbox can be set up or one attack got through.
func SelfTest(ctx context.Context, w io.Writer, asJSON bool) error {
	r, err := sandbox.New(sandbox.Config{})
	if err != nil {
		return err
	}
	checks, err := r.SelfTest(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(map[string]any{"layers": r.Layers(), "checks": checks}); err != nil {
			return err
		}
		return Unsound(checks)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range checks {
		mark := "blocked"
		if !c.Blocked {
			mark = "NOT BLOCKED"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", mark, c.Name, c.Detail)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d forbidden actions tried; layers: %v\n", len(checks), r.Layers())
	return Unsound(checks)
}
