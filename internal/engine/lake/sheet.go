package lake

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/mitral-health/mitral/internal/contract"
)

// SheetSchema names the version of ticket sheets.
const SheetSchema = "mitral.sheet/1"

const sheetRow = 2 * contract.TicketSize

// Sheet is an opened ticket sheet: which ticket of a delivery stands for which hub pseudonym.
type Sheet struct {
	Header contract.TicketSheetHeader
	rows   []byte
}

// Len is the number of tickets.
func (s *Sheet) Len() int { return len(s.rows) / sheetRow }

// Row returns the ticket and the hub pseudonym of row i, 16 bytes each.
func (s *Sheet) Row(i int) (ticket, h []byte) {
	r := s.rows[i*sheetRow : (i+1)*sheetRow]
	return r[:contract.TicketSize], r[contract.TicketSize:]
}

// ParseSheet reads an opened sheet and checks that it is whole and belongs to the delivery.
func ParseSheet(plain []byte, delivery string) (*Sheet, error) {
	line, rows, found := bytes.Cut(plain, []byte("\n"))
	if !found {
		return nil, contract.Refuse("invalid", "the ticket sheet has no header line")
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	s := &Sheet{rows: rows}
	if err := dec.Decode(&s.Header); err != nil {
		return nil, contract.Refuse("invalid", "the ticket sheet's header cannot be read")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, contract.Refuse("invalid", "the ticket sheet's header has bytes after it")
	}
	switch h := s.Header; {
	case h.Schema != SheetSchema:
		return nil, contract.Refuse("invalid", "the ticket sheet is of unknown version %q", h.Schema)
	case h.Delivery != delivery:
		return nil, contract.Refuse("invalid", "the ticket sheet belongs to delivery %q", h.Delivery)
	case h.Rows < 0 || int64(len(rows))%sheetRow != 0 || int64(len(rows))/sheetRow != h.Rows:
		return nil, contract.Refuse("invalid", "the ticket sheet announces %d rows and holds %d bytes", h.Rows, len(rows))
	}
	return s, nil
}
