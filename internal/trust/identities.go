package trust

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/mitral-health/mitral/internal/contract"
)

const (
	maxLine    = 64 << 10 // bytes of one identity
	maxInflate = 4 << 30  // bytes of one part, decompressed: a small file may be a bomb
)

// badPart says where a part of the identities is wrong. It never repeats what stands there.
func badPart(part string, line int64, format string, args ...any) error {
	return contract.Refuse("invalid", "identities %s, line %d: %s", part, line, fmt.Sprintf(format, args...))
}

// readIdentities calls f for each line of a part: gzip, one JSON document of contract.Identity per line, with no
// unknown field, a ticket of 16 bytes, valid UTF-8 and no NUL. Errors about the content are contract.Refusals.
func readIdentities(part string, r io.Reader, f func(*contract.Identity) error) (rows int64, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return 0, badPart(part, 1, "not a gzip file")
	}
	lines := bufio.NewReaderSize(&io.LimitedReader{R: z, N: maxInflate}, 256<<10)
	var read int64
	for {
		line, err := lines.ReadSlice('\n')
		read += int64(len(line))
		at := rows + 1
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0 && read < maxInflate:
			return rows, nil
		case errors.Is(err, io.EOF) && read >= maxInflate:
			return rows, badPart(part, at, "the part is larger than 4 GB")
		case errors.Is(err, io.EOF):
			return rows, badPart(part, at, "the part ends within a line")
		case errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine:
			return rows, badPart(part, at, "a line longer than 64 kB")
		case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.Is(err, io.ErrUnexpectedEOF):
			return rows, badPart(part, at, "the gzip file is damaged or cut short")
		case err != nil:
			return rows, damaged(part, at, err)
		case !utf8.Valid(line):
			return rows, badPart(part, at, "not UTF-8")
		}
		var id contract.Identity
		if reason := parseIdentity(line, &id); reason != "" {
			return rows, badPart(part, at, "%s", reason)
		}
		rows++
		if err := f(&id); err != nil {
			return rows, err
		}
	}
}

// damaged tells a broken deflate stream, which is the sender's, from a failing disk, which is ours.
func damaged(part string, line int64, err error) error {
	if _, ok := errors.AsType[flate.CorruptInputError](err); ok {
		return badPart(part, line, "the gzip file is damaged")
	}
	return fmt.Errorf("identities %s: %w", part, err)
}

// parseIdentity returns why the line is not an identity; "" when it is.
func parseIdentity(line []byte, id *contract.Identity) (reason string) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields() // a field of the payload must never come in by this door
	if err := dec.Decode(id); err != nil {
		return "not an identity document" // the cause may quote an identity
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return "more than one document in the line"
	}
	if len(id.Ticket) != contract.TicketSize {
		return "the ticket is not 16 bytes"
	}
	for _, s := range []string{id.LocalID, id.NIR, id.OwnerNIR, id.TwinRank, id.BirthName, id.UsedName, id.GivenName, id.BirthDate, id.Sex, id.BirthPlace, id.Residence} {
		for i := 0; i < len(s); i++ {
			if s[i] == 0 {
				return "a NUL byte"
			}
		}
	}
	return ""
}
