package trust

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mitral-health/mitral/internal/kit/store"
	"github.com/mitral-health/mitral/internal/kit/store/pgtest"
	"github.com/mitral-health/mitral/internal/trust/linkage"
)

// childEnv holds the configuration of a zone that this test binary runs as a process of its own.
const childEnv = "MITRAL_TRUST_TEST_CHILD"

func TestMain(m *testing.M) {
	text := os.Getenv(childEnv)
	if text == "" {
		os.Exit(m.Run())
	}
	var cfg Config
	err := json.Unmarshal([]byte(text), &cfg)
	if err == nil {
		err = child(cfg)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func child(cfg Config) error {
	ctx := context.Background()
	m, err := New(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	fmt.Println(m.Addr())
	return m.Run(ctx)
}

// process starts the zone as a process and returns its address.
func (h *hub) process(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	cfg, err := json.Marshal(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(cfg))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		cmd.Wait()
		t.Fatalf("the zone did not start: %v %s", err, complaint.String())
	}
	return cmd, strings.TrimSpace(line)
}

// TestKill kills the zone with SIGKILL at random instants of two deliveries of the same people, starts it again and goes
// on as an agent does. In the end there is each person once, with one pseudonym, and nothing is left over.
func TestKill(t *testing.T) {
	for name, dsn := range map[string]func() string{"sqlite": func() string { return "" }, "postgres": func() string { return pgtest.Start(t) }} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, dsn())
			const n = 4000
			first := people(n)
			second := append(first[:0:0], first...)
			for i := range second {
				second[i].Ticket = newTicket()
				second[i].LocalID = ""
			}
			var pseudonyms [2]map[ticket][16]byte
			kills := 0
			for i, s := range []shipment{ship("d1", first, 3), ship("d2", second, 3)} {
				var status int
				for status != 200 {
					cmd, addr := h.process(t)
					agent, engine := h.client(addr, "agent", "cnam"), h.client(addr, "zone", "engine")
					// Time enough to get a little further with each life, so that the test ends.
					life := time.Duration(20+rand.IntN(150)+kills*30) * time.Millisecond
					timer := time.AfterFunc(life, func() { cmd.Process.Kill() })
					status = s.attempt(t, agent, engine, func(sealed []byte) {
						sheet := h.openSheet(t, sealed)
						if sheet.Rows != n {
							t.Fatalf("%d rows", sheet.Rows)
						}
						pseudonyms[i] = sheet.hub
					})
					timer.Stop()
					cmd.Process.Kill()
					cmd.Wait() // killed: its error says so
					kills++
					if kills > 100 {
						t.Fatal("no progress")
					}
				}
			}
			t.Logf("%d lives", kills)
			distinct := map[[16]byte]bool{}
			for i := range first {
				a, b := pseudonyms[0][ticket(first[i].Ticket)], pseudonyms[1][ticket(second[i].Ticket)]
				if a != b {
					t.Fatalf("person %d has two pseudonyms", i)
				}
				distinct[a] = true
			}
			if len(distinct) != n {
				t.Fatalf("%d pseudonyms for %d people", len(distinct), n)
			}
			m, stop := h.start(t)
			snap, err := m.persons.Load(t.Context())
			if err != nil || snap.Persons() != n {
				t.Fatalf("%d persons, %v", snap.Persons(), err)
			}
			sheets, err := os.ReadDir(h.cfg.sheets())
			if err != nil || len(sheets) != 1 {
				t.Errorf("sheets left: %v, %v", sheets, err)
			}
			agent := h.client(m.Addr(), "agent", "cnam")
			again := ship("d2", second, 3)
			for i, p := range again.parts { // a late repetition is not kept
				agent.do(t, "PUT", "/v1/deliveries/d2/identities/"+again.manifest.Parts[i].Name, p, again.manifest.Parts[i].Digest)
			}
			if left, err := os.ReadDir(h.cfg.incoming("")); err != nil || len(left) != 0 {
				t.Errorf("identities left: %v, %v", left, err)
			}
			stop()
			var rows int64
			db, err := store.Open(t.Context(), h.cfg.DSN())
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := linkage.NewStore(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			if err := db.QueryRow(t.Context(), "SELECT COUNT(*) FROM linkage_persons").Scan(&rows); err != nil || rows != n {
				t.Errorf("%d rows of persons, %v", rows, err)
			}
		})
	}
}

// attempt goes as far as the zone lives: parts, manifest, status, sheet. It returns 200 when the sheet was read.
func (s *shipment) attempt(t *testing.T, agent, engine client, got func([]byte)) int {
	t.Helper()
	for i, p := range s.parts {
		status, b, err := agent.try("PUT", "/v1/deliveries/"+s.manifest.ID+"/identities/"+s.manifest.Parts[i].Name, p, s.manifest.Parts[i].Digest)
		if err != nil {
			return 0
		}
		if status != 200 {
			t.Fatalf("part: %d %s", status, b)
		}
	}
	body, err := json.Marshal(s.manifest)
	if err != nil {
		t.Fatal(err)
	}
	if status, b, err := agent.try("POST", "/v1/deliveries/"+s.manifest.ID+"/complete", body, ""); err != nil {
		return 0
	} else if status != 202 {
		t.Fatalf("complete: %d %s", status, b)
	}
	for {
		status, b, err := engine.try("GET", "/v1/sheets/"+s.manifest.ID, nil, "")
		if err != nil {
			return 0
		}
		switch {
		case status == 200:
			got(b)
			return 200
		case status != 404:
			t.Fatalf("sheet: %d %s", status, b)
		}
		time.Sleep(5 * time.Millisecond) // the route has no other way to say that it is ready
	}
}
