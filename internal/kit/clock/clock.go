// Package clock gives the time, and in demo mode a time that can be moved for all zones at once.
package clock

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Clock tells the time in UTC.
type Clock interface{ Now() time.Time }

// System is the machine's clock.
type System struct{}

func (System) Now() time.Time { return time.Now().UTC() }

// Shifted is the machine's clock plus the offset in a file (seconds, decimal). A missing file means no
// offset. It exists for demonstrations; a zone uses it only when its configuration names the file.
type Shifted struct{ Path string }

func (c Shifted) Now() time.Time {
	off, _ := c.Offset()
	return time.Now().UTC().Add(off)
}

// Offset reads the present offset.
func (c Shifted) Offset() (time.Duration, error) {
	b, err := os.ReadFile(c.Path)
	if err != nil {
		return 0, err
	}
	s, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("clock offset: %w", err)
	}
	return time.Duration(s) * time.Second, nil
}

// Move adds d to the offset. Time only goes forward: a legal clock never runs back.
func (c Shifted) Move(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("the clock moves forward only")
	}
	off, _ := c.Offset()
	tmp := c.Path + ".tmp"
	if err := os.WriteFile(tmp, []byte(strconv.FormatInt(int64((off+d)/time.Second), 10)), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, c.Path)
}

// From returns Shifted when path is set and System otherwise.
func From(path string) Clock {
	if path == "" {
		return System{}
	}
	return Shifted{Path: path}
}
