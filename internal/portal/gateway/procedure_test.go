package gateway

import (
	"strings"
	"testing"

	"github.com/mitral-health/mitral/procedures"
)

func source(t testing.TB) string {
	t.Helper()
	b, err := procedures.FS.ReadFile("fr-snds.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProcedureIsReadStrictly(t *testing.T) {
	good := source(t)
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "time_zone:", "timezone:", "timezone"},
		{"unknown zone", "Europe/Paris", "Europe/Pariis", "time_zone"},
		{"unknown unit", "unit: weeks", "unit: fortnights", "unit"},
		{"missing language", `fi: "asetus 5.5.2021"`, `fi: ""`, "three languages"},
		{"unknown event", "start: application.complete", "start: application.completed", "unknown start"},
		{"unknown rule", "rule: FR06", "rule: FR66", "unknown rule"},
		{"unknown command", "[ask, complete]", "[ask, complete, approve]", "not possible"},
		{"command of another step", "[ask, complete]", "[ask, complete, sign]", "not possible"},
		{"dead end", "[ask, opinion, extend]", "[ask, extend]", "could never leave"},
		{"wrong role", "role: committee", "role: handler", "role"},
		{"silence where the master allows none", "silence: none # the silence", "silence: favourable # the silence", "silence"},
		{"length 0", "length: 7", "length: 0", "length"},
		{"holiday", `"07-14"`, `"14-07"`, "holiday"},
		{"duration over ten years", "max_months: 120", "max_months: 121", "max_months"},
		{"waiting", "waiting: restart", "waiting: perhaps", "waiting"},
		{"version", "version: 1", "version: 0", "version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatalf("%q is not in the file", c.old)
			}
			if _, err := ParseProcedure([]byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
	if _, err := ParseProcedure([]byte(good + "\n---\nid: second\n")); err == nil {
		t.Error("a second document was ignored")
	}
	if p := frSnds(t); p.Name() != "fr-snds@1" || len(p.Steps) != 4 {
		t.Errorf("got %s with %d steps", p.Name(), len(p.Steps))
	}
}

func FuzzParseProcedure(f *testing.F) {
	f.Add([]byte(source(f)))
	f.Add([]byte("id: x\nversion: 1"))
	f.Add([]byte("- a\n- b"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProcedure(b)
		if err == nil && (p.Name() == "" || len(p.Steps) == 0 || p.zone == nil) {
			t.Errorf("accepted a procedure that cannot be run: %+v", p)
		}
	})
}
