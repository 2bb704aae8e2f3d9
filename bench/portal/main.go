// Command portal measures a real portal process under mixed reading: start page, searches, dataset and
// table pages, register, a case. It starts the portal as a child process, fills its catalogue through the
// API, then sends requests at a constant rate, whether answers come or not, and reads the child's memory.
//
//	go run ./bench/portal --rate 200 --seconds 30 --schemas ../shared/data/snds
//
// The goal: 200 requests per second on 2 cores with a 95th percentile under 100 ms, in under 300 MB.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/alecthomas/kong"

	"github.com/mitral-health/mitral/internal/kit/conf"
	"github.com/mitral-health/mitral/internal/portal"
	"github.com/mitral-health/mitral/internal/portal/catalogue"
)

type options struct {
	Rate    int    `default:"200" help:"Requests per second."`
	Seconds int    `default:"30" help:"How long."`
	Schemas string `type:"path" help:"Directory with Table Schemas (schemas/) and nomenclatures to import; without it the catalogue is small."`
	Profile string `type:"path" help:"Write a CPU profile of the portal there, and its memory profile beside it (.mem)."`
	Keep    bool   `help:"Do not measure: keep the filled portal running until interrupted, to look at it."`
}

// childEnv makes this program the portal; it holds the path of the configuration. profileEnv is where
// the portal's profiles go.
const (
	childEnv   = "MITRAL_BENCH_PORTAL"
	profileEnv = "MITRAL_BENCH_PROFILE"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if path := os.Getenv(childEnv); path != "" {
		err = child(ctx, path)
	} else {
		var o options
		kong.Parse(&o)
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(ctx context.Context, path string) error {
	var cfg portal.Config
	if err := conf.Load(path, &cfg); err != nil {
		return err
	}
	if p := os.Getenv(profileEnv); p != "" {
		stop, err := profile(p)
		if err != nil {
			return err
		}
		defer stop()
	}
	m, err := portal.New(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	defer m.Close()
	return m.Run(ctx)
}

// profile writes what the processor did until stop is called, and the memory in use then.
func profile(path string) (stop func(), err error) {
	cpu, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		mem, err := os.Create(path + ".mem")
		if err == nil {
			err = errors.Join(pprof.WriteHeapProfile(mem), mem.Close())
		}
		if err := errors.Join(err, cpu.Close()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}, nil
}

func run(ctx context.Context, o options) error {
	if o.Profile != "" {
		if err := os.Setenv(profileEnv, o.Profile); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "bench-portal-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	base, cmd, err := start(ctx, dir)
	if err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended already
		_ = cmd.Wait()
	}()
	addresses, client, err := fill(ctx, base, o.Schemas)
	if err != nil {
		return err
	}
	if o.Keep {
		fmt.Println(base)
		<-ctx.Done()
		return nil
	}
	measure(ctx, client, base, addresses, 50, 3) // warm up
	before := processorTime(cmd.Process.Pid)
	lat, failed := measure(ctx, client, base, addresses, o.Rate, o.Seconds)
	cpu := processorTime(cmd.Process.Pid) - before
	rss, peak := memory(cmd.Process.Pid)
	fmt.Printf("portal: %d requests at %d/s for %d s over %d addresses, %d cores\n", len(lat)+failed, o.Rate, o.Seconds, len(addresses), runtime.NumCPU())
	fmt.Printf("  p50 %s  p95 %s  p99 %s  max %s  failed %d\n", at(lat, 50), at(lat, 95), at(lat, 99), at(lat, 100), failed)
	if cpu > 0 {
		fmt.Printf("  processor time %.1f ms for each request\n", float64(cpu.Microseconds())/1000/float64(len(lat)+failed))
	}
	fmt.Printf("  memory %d MB, at most %d MB\n", rss>>20, peak>>20)
	if failed > 0 || at(lat, 95) > 100*time.Millisecond || rss > 300<<20 {
		return errors.New("the goal is missed")
	}
	return nil
}

// start runs the portal as a process of its own and waits until it answers.
func start(ctx context.Context, dir string) (string, *exec.Cmd, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return "", nil, err
	}
	recipient := filepath.Join(dir, "trust.recipient")
	if err := os.WriteFile(recipient, []byte(id.Recipient().String()+"\n"), 0o644); err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	base := "http://localhost:" + strconv.Itoa(port)
	cfg := portal.Config{Zone: conf.Zone{Dir: filepath.Join(dir, "portal"), DemoClock: filepath.Join(dir, "clock")},
		PublicListen: "127.0.0.1:" + strconv.Itoa(port), PublicURL: base, Demo: true, TrustRecipientFile: recipient}
	path := filepath.Join(dir, "portal.yaml")
	if err := conf.Save(path, cfg); err != nil {
		return "", nil, err
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	for range 300 {
		if resp, err := http.Get(base + "/healthz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return base, cmd, nil
			}
		}
		select {
		case <-ctx.Done():
			return "", nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	_ = cmd.Process.Kill() // nothing else can be done with it
	return "", nil, errors.New("the portal does not answer")
}

// fill puts datasets and a case into the portal and returns the addresses to read.
func fill(ctx context.Context, base, schemas string) ([]string, *http.Client, error) {
	operator, err := signIn(ctx, base, "operator")
	if err != nil {
		return nil, nil, err
	}
	t := &catalogue.TableSchemas{Tables: []catalogue.TableSchema{{Name: "ER_PRS_F", Title: "Prestations", Product: "DCIR",
		Fields: []catalogue.TableSchemaField{{Name: "PRS_NAT_REF", Description: "Nature de prestation", Type: "integer"}}}}}
	if schemas != "" {
		if t, err = catalogue.ReadTableSchemas(schemas); err != nil {
			return nil, nil, err
		}
	}
	begin := time.Now()
	rep, err := catalogue.PostTableSchemas(ctx, operator, base, t)
	if err != nil {
		return nil, nil, err
	}
	fmt.Printf("catalogue: %d datasets, %d tables, %d variables, %d codes imported in %.1f s\n", rep.Datasets, rep.Tables, rep.Variables, rep.Codes, time.Since(begin).Seconds())
	researcher, err := signIn(ctx, base, "researcher")
	if err != nil {
		return nil, nil, err
	}
	var created struct {
		ID string `json:"id"`
	}
	if err := call(ctx, researcher, http.MethodPost, base+"/api/v1/applications", map[string]any{"title": "Load test"}, &created); err != nil {
		return nil, nil, err
	}
	addresses := []string{"/", "/", "/register", "/datasets", "/datasets?category=e", "/applications/" + created.ID, "/applications", "/api/v1/datasets?q=remboursement"}
	for _, q := range []string{"diabete", "hospital stay", "ER_PHA_F", "date de soins", "kuolinsyy", "medicines", "code acte", "sexe", "etablissement", "E112", "psychiatrie", "transport"} {
		addresses = append(addresses, "/datasets?q="+strings.ReplaceAll(q, " ", "+"))
	}
	var list struct {
		Datasets []struct {
			Identifier string `json:"identifier"`
		} `json:"datasets"`
	}
	// The index follows within moments.
	for range 600 {
		if err := call(ctx, researcher, http.MethodGet, base+"/api/v1/datasets", nil, &list); err != nil {
			return nil, nil, err
		}
		if len(list.Datasets) >= min(rep.Datasets, 10) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, d := range list.Datasets {
		addresses = append(addresses, "/datasets/"+d.Identifier, "/datasets/"+d.Identifier+"?lang=fi")
	}
	addresses = append(addresses, "/datasets/cnam/dcir/tables/ER_PRS_F", "/datasets/cnam/dcir/tables/ER_PRS_F/PRS_NAT_REF")
	// The code lists are indexed in the background; measuring starts when that is done.
	for range 1200 {
		body, err := get(ctx, researcher, base+"/datasets?q=E112")
		if err != nil {
			return nil, nil, err
		}
		if schemas == "" || bytes.Contains(body, []byte("/code-lists/icd10")) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return addresses, researcher, nil
}

func signIn(ctx context.Context, base, role string) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	c := &http.Client{Jar: jar, Transport: &http.Transport{MaxIdleConnsPerHost: 256}, Timeout: time.Minute}
	return c, call(ctx, c, http.MethodPost, base+"/demo/sign-in", map[string]string{"role": role}, nil)
}

func call(ctx context.Context, c *http.Client, method, address string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, address, resp.StatusCode, raw)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

func get(ctx context.Context, c *http.Client, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d", address, resp.StatusCode)
	}
	return raw, err
}

// measure sends requests at a constant rate. A latency counts from the moment the request was due, so
// that waiting in line is part of it.
func measure(ctx context.Context, c *http.Client, base string, addresses []string, rate, seconds int) (lat []time.Duration, failed int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range rate * seconds {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
		time.Sleep(time.Until(due))
		wg.Go(func() {
			_, err := get(ctx, c, base+addresses[i%len(addresses)])
			d := time.Since(due)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if failed++; failed <= 3 {
					fmt.Fprintln(os.Stderr, err)
				}
				return
			}
			lat = append(lat, d)
		})
	}
	wg.Wait()
	slices.Sort(lat)
	return lat, failed
}

func at(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)].Round(100 * time.Microsecond)
}

// processorTime is what a process has used so far, in user and kernel mode.
func processorTime(pid int) time.Duration {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime, in hundredths of a second
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory reads the resident size of a process and its largest so far, in bytes.
func memory(pid int) (now, peak int64) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) < 2 {
			continue
		}
		kb, err := strconv.ParseInt(fields[1], 10, 64)
		switch {
		case err != nil:
		case fields[0] == "VmRSS:":
			now = kb << 10
		case fields[0] == "VmHWM:":
			peak = kb << 10
		}
	}
	return now, peak
}
