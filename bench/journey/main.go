// Command journey measures the unattended journey at several sizes: machine seconds per step, rows per
// second, peak memory of each zone, and how cost grows with the number of people. One command:
//
//	go run ./bench/journey --people 20000,200000,1000000
//
// It needs bin/mitral ("make build"). The table is what bench/RESULTS.md quotes.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"

	"github.com/mitral-health/mitral/internal/demo"
)

func main() {
	log.SetFlags(0)
	sizes := flag.String("people", "20000,200000", "sizes of the sample country, separated by commas")
	binary := flag.String("binary", "bin/mitral", "program to measure")
	work := flag.String("dir", "", "where to work (default: a temporary directory)")
	keep := flag.Bool("keep", false, "keep the hubs' directories")
	flag.Parse()
	dir := *work
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "mitral-journey-"); err != nil {
			log.Fatal(err)
		}
	}
	var reports []demo.Report
	for _, s := range strings.Split(*sizes, ",") {
		people, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			log.Fatalf("--people: %q is not a number", s)
		}
		hub := filepath.Join(dir, s)
		cmd := exec.Command(*binary, "demo", "--auto", "--json", "--people", strconv.Itoa(people), "--dir", hub, "--port", "0")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		var r demo.Report
		if jsonErr := json.Unmarshal(out, &r); jsonErr != nil || err != nil || !r.Passed {
			log.Fatalf("%d people: the journey did not pass: %v %s", people, err, r.Failure)
		}
		reports = append(reports, r)
		if !*keep {
			os.RemoveAll(hub)
		}
	}
	print(os.Stdout, reports)
}

func print(w *os.File, reports []demo.Report) {
	fmt.Fprintf(w, "Unattended journey, %d cores, %s\n\n", runtime.NumCPU(), cpuModel())
	fmt.Fprint(w, "| Step |")
	for _, r := range reports {
		fmt.Fprintf(w, " %d people: s | rows/s |", r.People)
	}
	fmt.Fprint(w, " growth |\n|---|")
	for range reports {
		fmt.Fprint(w, "---:|---:|")
	}
	fmt.Fprintln(w, "---:|")
	for i, step := range reports[0].Steps {
		fmt.Fprintf(w, "| %d %s |", step.Number, step.Name)
		for _, r := range reports {
			s := r.Steps[i]
			rate := ""
			if s.Rows > 0 && s.Seconds > 0 {
				rate = fmt.Sprintf("%.0f", float64(s.Rows)/s.Seconds)
			}
			fmt.Fprintf(w, " %.2f | %s |", s.Seconds, rate)
		}
		last := len(reports) - 1
		fmt.Fprintf(w, " %s |\n", growth(reports[0].People, reports[last].People, step.Seconds, reports[last].Steps[i].Seconds))
	}
	fmt.Fprintln(w, "\nGrowth is the exponent k in seconds ~ people^k between the smallest and the largest size: 1 is linear.")
	fmt.Fprint(w, "\n| Peak memory, MB |")
	for _, r := range reports {
		fmt.Fprintf(w, " %d people |", r.People)
	}
	fmt.Fprint(w, "\n|---|")
	for range reports {
		fmt.Fprint(w, "---:|")
	}
	fmt.Fprintln(w)
	var names []string
	for name := range reports[0].PeakMemory {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(w, "| %s |", name)
		for _, r := range reports {
			fmt.Fprintf(w, " %d |", r.PeakMemory[name]>>20)
		}
		fmt.Fprintln(w)
	}
}

// growth is the exponent of a power law through two points.
func growth(n1, n2 int, t1, t2 float64) string {
	if n1 == n2 || t1 <= 0.05 || t2 <= 0 {
		return "" // too short to say
	}
	return fmt.Sprintf("%.2f", math.Log(t2/t1)/math.Log(float64(n2)/float64(n1)))
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for _, line := range strings.Split(string(b), "\n") {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown processor"
}
