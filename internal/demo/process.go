package demo

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process keeps one child process alive: it writes its output to a log file, starts it again when it
// dies unasked, and stops it with SIGTERM, then SIGKILL.
type Process struct {
	Name   string
	Binary string   // the mitral binary
	Args   []string // its arguments
	Log    string   // file that the child's output is appended to
	Pid    string   // file that holds the child's process id

	mu      sync.Mutex
	cmd     *exec.Cmd
	exited  chan struct{}
	stopped bool
	starts  int
}

// stopGrace is how long a zone has to finish what it holds (docs/protocols.md).
const stopGrace = 12 * time.Second

// Start launches the process and keeps it running until Stop.
func (p *Process) Start() error {
	if err := killLeftover(p.Pid); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = false
	return p.launch()
}

// launch starts the child once; the caller holds mu.
func (p *Process) launch() error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close()
	cmd := exec.Command(p.Binary, p.Args...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C reaches the supervisor alone, which then stops all in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	if err := os.WriteFile(p.Pid, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return err
	}
	p.cmd, p.exited = cmd, make(chan struct{})
	p.starts++
	go p.watch(cmd, p.exited)
	return nil
}

// watch restarts the child when it ends without Stop, slower each time it does so.
func (p *Process) watch(cmd *exec.Cmd, exited chan struct{}) {
	err := cmd.Wait()
	close(exited)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || p.cmd != cmd {
		return
	}
	slog.Warn("zone ended and is started again", "process", p.Name, "why", err)
	pause := min(time.Duration(p.starts)*100*time.Millisecond, 5*time.Second)
	time.AfterFunc(pause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.stopped && p.cmd == cmd {
			if err := p.launch(); err != nil {
				slog.Error("zone cannot be started again", "process", p.Name, "why", err)
			}
		}
	})
}

// Kill ends the child at once (kill -9), as a power cut would; it is started again.
func (p *Process) Kill() {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	if cmd != nil {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	}
}

// PID returns the present process id, or 0.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// peakMemory returns the child's greatest resident size so far, in bytes, or 0 when it is gone.
func (p *Process) peakMemory() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// Stop ends the child and waits for it.
func (p *Process) Stop() {
	p.mu.Lock()
	p.stopped = true
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(stopGrace):
		slog.Warn("zone did not stop in time and is killed", "process", p.Name)
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
	}
	os.Remove(p.Pid)
}

// killLeftover ends a child of an earlier supervisor that was itself killed. The process id is only
// trusted when that process still runs this program.
func killLeftover(pidFile string) error {
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return os.Remove(pidFile)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || !strings.HasPrefix(filepath.Base(exe), "mitral") {
		return os.Remove(pidFile)
	}
	syscall.Kill(-pid, syscall.SIGKILL)
	for range 100 {
		if syscall.Kill(pid, 0) != nil {
			return os.Remove(pidFile)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("process %d of an earlier run does not end", pid)
}

// waitReady polls check until it succeeds; it gives up early when the process keeps dying.
func waitReady(ctx context.Context, p *Process, check func(context.Context) error) error {
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		p.mu.Lock()
		starts := p.starts
		p.mu.Unlock()
		if time.Now().After(deadline) || starts > 5 {
			return fmt.Errorf("%s does not come up (%v); the end of %s says:\n%s", p.Name, err, p.Log, tail(p.Log, 12))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tail returns the last n lines of a file.
func tail(path string, n int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
