package sandbox

import "sync"

// limitedLog keeps the first max bytes and swallows the rest, so that a program that prints without end
// neither fills memory nor blocks.
type limitedLog struct {
	mu   sync.Mutex
	max  int
	buf  []byte
	lost bool
}

func (l *limitedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	room := l.max - len(l.buf)
	if room < len(p) {
		l.lost = true
	}
	l.buf = append(l.buf, p[:min(max(room, 0), len(p))]...)
	return len(p), nil
}

func (l *limitedLog) content() ([]byte, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf, l.lost
}
