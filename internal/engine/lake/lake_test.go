package lake

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
)

func TestParseSheetRefuses(t *testing.T) {
	row := strings.Repeat("t", 16) + strings.Repeat("h", 16)
	header := func(delivery string, rows int) string {
		return fmt.Sprintf(`{"schema":"mitral.sheet/1","delivery":%q,"rows":%d,"epoch":1,"report":{"records":0,"by_rule":null,"new_persons":0,"invalid_nir":0,"unlinkable":0,"known_persons":0}}`+"\n", delivery, rows)
	}
	if s, err := ParseSheet([]byte(header("d1", 2)+row+row), "d1"); err != nil || s.Len() != 2 {
		t.Fatalf("%v, %v", s, err)
	}
	for name, plain := range map[string]string{
		"empty":            "",
		"no header":        row,
		"not JSON":         "{\n" + row,
		"other delivery":   header("d2", 1) + row,
		"other version":    strings.Replace(header("d1", 1), "sheet/1", "sheet/2", 1) + row,
		"unknown field":    strings.Replace(header("d1", 1), `"epoch"`, `"age":1,"epoch"`, 1) + row,
		"too few rows":     header("d1", 2) + row,
		"too many rows":    header("d1", 1) + row + row,
		"half a row":       header("d1", 1) + row[:31],
		"a row and a bit":  header("d1", 1) + row + "x",
		"negative":         header("d1", -1),
		"two JSON in line": strings.TrimSuffix(header("d1", 1), "\n") + "{}\n" + row,
	} {
		var r *contract.Refusal
		if _, err := ParseSheet([]byte(plain), "d1"); !errors.As(err, &r) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseSheet(f *testing.F) {
	f.Add([]byte(`{"schema":"mitral.sheet/1","delivery":"d1","rows":1,"epoch":1,"report":{}}` + "\n" + strings.Repeat("x", 32)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSheet(b, "d1")
		if err != nil {
			return
		}
		if int64(s.Len()) != s.Header.Rows || s.Header.Delivery != "d1" {
			t.Fatalf("accepted %d rows for %d", s.Len(), s.Header.Rows)
		}
		for i := range s.Len() {
			if a, h := s.Row(i); len(a) != 16 || len(h) != 16 {
				t.Fatal("row of wrong length")
			}
		}
	})
}
