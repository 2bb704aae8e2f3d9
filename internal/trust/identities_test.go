package trust

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"testing"

	"github.com/mitral-health/mitral/internal/contract"
)

// FuzzIdentities: whatever arrives, each identity that comes through is whole, and every error about content is a refusal
// that repeats none of it.
func FuzzIdentities(f *testing.F) {
	f.Add([]byte(`{"ticket":"AAAAAAAAAAAAAAAAAAAAAA==","local_id":"7","birth_name":"Lefèvre"}` + "\n"))
	f.Add([]byte("{}\n{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		z.Write(text)
		z.Close()
		for _, raw := range [][]byte{packed.Bytes(), text} {
			var n int64
			rows, err := readIdentities("p", bytes.NewReader(raw), func(id *contract.Identity) error {
				n++
				if len(id.Ticket) != contract.TicketSize {
					t.Fatalf("ticket of %d bytes", len(id.Ticket))
				}
				return nil
			})
			if err == nil && rows != n || err == nil && bytes.Equal(raw, packed.Bytes()) && int(rows) != bytes.Count(text, []byte("\n")) {
				t.Fatalf("%d rows, %d given, text %q", rows, n, text)
			}
			var refusal *contract.Refusal
			if err != nil && !errors.As(err, &refusal) {
				t.Fatalf("not a refusal: %v", err)
			}
		}
	})
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestOwnFailureIsNoRefusal: a disk that fails must not settle the delivery.
func TestOwnFailureIsNoRefusal(t *testing.T) {
	head := gz([]byte("{}\n"))[:10]
	_, err := readIdentities("p", io.MultiReader(bytes.NewReader(head), failing{}), nil)
	var refusal *contract.Refusal
	if errors.As(err, &refusal) || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%v", err)
	}
}
