package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/extensions"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"golang.org/x/sync/errgroup"

	"github.com/mitral-health/mitral/internal/contract"
)

type ticket [contract.TicketSize]byte

// splitter turns records into identities and payload. It knows each person's ticket for the time of one
// delivery, in memory only.
type splitter struct {
	out      *spool
	found    *findings
	now      time.Time
	total    int64          // bytes of all files
	progress func(Progress) // steps, which adder adds up

	byKey   map[string]uint32 // person key → index of the ticket
	tickets []ticket          // of the person table
	issued  int64             // tickets in all
}

// all splits every table, the person table first. On findings it reads on to gather more, up to 20, and
// returns *FilesRefused.
func (s *splitter) all(ctx context.Context, p *plan) error {
	for i := range p.tables {
		err := s.table(ctx, &p.tables[i])
		if errors.Is(err, errEnough) {
			break
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", p.tables[i].Name, err)
		}
		// Without all person keys every event would seem to be of an unknown person.
		if p.tables[i].kind == persons && len(s.found.list) > 0 {
			break
		}
	}
	return s.found.err()
}

func openSource(t *tablePlan, found *findings) (source, error) {
	if t.files.Format == formatParquet {
		return newParquetSource(t, found)
	}
	return newCSVSource(t, found), nil
}

// table reads and checks in one goroutine, splits and writes in another.
func (s *splitter) table(ctx context.Context, t *tablePlan) (err error) {
	src, err := openSource(t, s.found)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.close()) }()
	w, err := s.newTableWriter(t, src.types())
	if err != nil {
		return err
	}
	check := newChecker(t.Table, t.kind, s.now, s.found)
	g, ctx := errgroup.WithContext(ctx)
	batches := make(chan *batch, 1)
	// Findings are added by the reader only, and by the writer only after the reader's last one: see keys.
	var unknown findings
	g.Go(func() error {
		defer close(batches)
		for {
			b, err := src.next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := check.check(b); err != nil {
				b.release()
				return err
			}
			select {
			case batches <- b:
			case <-ctx.Done():
				b.release()
				return ctx.Err()
			}
		}
	})
	g.Go(func() error {
		for b := range batches {
			err := w.add(b, &unknown)
			rows, bytes := int64(b.rows), b.bytes
			b.release()
			if err != nil {
				return err
			}
			s.progress(Progress{Stage: StageSplit, Table: t.Name, Rows: rows, Bytes: bytes, Total: s.total})
		}
		return nil
	})
	err = g.Wait()
	for b := range batches { // what the writer left when it failed
		b.release()
	}
	for _, f := range unknown.list {
		if len(s.found.list) < maxFindings {
			s.found.list = append(s.found.list, f)
		}
	}
	return errors.Join(err, w.close())
}

// tableWriter writes the payload of one table, and its identities.
type tableWriter struct {
	s       *splitter
	t       *tablePlan
	key     int            // column of the person key, -1
	payload []int          // columns that go to engine
	traits  map[string]int // columns that go to trust, by field of contract.Identity
	schema  *arrow.Schema
	parts   *parquetParts
}

func (s *splitter) newTableWriter(t *tablePlan, types []arrow.DataType) (*tableWriter, error) {
	w := &tableWriter{s: s, t: t, key: -1, traits: map[string]int{}}
	var fields []arrow.Field
	if t.kind != reference {
		fields = append(fields, arrow.Field{Name: ticketColumn, Type: extensions.NewUUIDType()})
	}
	for i, c := range t.Columns {
		switch {
		case c.Role == contract.RolePersonKey:
			w.key = i
		case c.Role.Identity():
			if _, twice := w.traits[string(c.Role)]; twice {
				return nil, fmt.Errorf("two columns have the role %q", c.Role)
			}
			w.traits[string(c.Role)] = i
		default:
			w.payload = append(w.payload, i)
			fields = append(fields, arrow.Field{Name: c.Name, Type: types[i], Nullable: true})
		}
	}
	w.schema = arrow.NewSchema(fields, nil)
	var err error
	w.parts, err = s.out.parquetParts(t.Name, w.schema)
	return w, err
}

func (w *tableWriter) close() error { return w.parts.close() }

// add splits one batch. Rows leave in the order of their random tickets, so that their order in the
// holder's file, which may be that of names or numbers, does not show on either side.
func (w *tableWriter) add(b *batch, unknown *findings) error {
	if w.t.kind == reference {
		return w.write(b, nil, nil)
	}
	tickets, err := w.assign(b, unknown)
	if err != nil {
		return err
	}
	if len(unknown.list) > 0 {
		return nil // wrong already: only read on for more findings
	}
	order := make([]int32, b.rows)
	type place struct {
		head uint64
		row  int32
	}
	places := make([]place, b.rows)
	for i := range places {
		places[i] = place{binary.BigEndian.Uint64(tickets[i][:]), int32(i)}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Or(cmp.Compare(a.head, b.head), cmp.Compare(a.row, b.row)) })
	for i, p := range places {
		order[i] = p.row
	}
	if w.t.kind != events {
		if err := w.identities(b, tickets, order); err != nil {
			return err
		}
	}
	return w.write(b, tickets, order)
}

// assign gives each row its ticket: a new one in a person table and where rows carry identity, the
// person's in an event table. Duplicate and unknown person keys are findings.
func (w *tableWriter) assign(b *batch, unknown *findings) ([]ticket, error) {
	s := w.s
	tickets := make([]ticket, b.rows)
	if w.t.kind != events {
		raw := make([]byte, b.rows*contract.TicketSize)
		rand.Read(raw)
		for i := range tickets {
			tickets[i] = ticket(raw[i*contract.TicketSize:])
		}
		s.issued += int64(b.rows)
		if w.t.kind == rowwise {
			return tickets, nil
		}
	}
	column := b.columns[w.key]
	finding := func(i int, reason string) error {
		return unknown.add(b.file, b.line(i), w.t.Columns[w.key].Name, "%s", reason)
	}
	if w.t.kind == persons {
		key := textOf(column)
		if len(s.byKey)+b.rows > math.MaxUint32 {
			return nil, errors.New("more than 4 billion persons")
		}
		for i := range tickets {
			k := key(i)
			if column.IsNull(i) {
				continue // found by the checker
			}
			if _, twice := s.byKey[k]; twice {
				if err := finding(i, "this person key stands in an earlier row too"); err != nil {
					return nil, err
				}
				continue
			}
			// The text may lie in the batch's memory, which goes with the batch.
			s.byKey[string([]byte(k))] = uint32(len(s.tickets))
			s.tickets = append(s.tickets, tickets[i])
		}
		return tickets, nil
	}
	const reason = "the person key is not in the person table"
	lookup := func(i int, known bool, at uint32) error {
		if !known {
			return finding(i, reason)
		}
		tickets[i] = s.tickets[at]
		return nil
	}
	if dict, ok := column.(*array.Dictionary); ok { // each distinct key once
		values := dict.Dictionary().(*array.String)
		at, known := make([]uint32, values.Len()), make([]bool, values.Len())
		for i := range at {
			at[i], known[i] = s.byKey[values.Value(i)]
		}
		for i := range tickets {
			if dict.IsValid(i) {
				v := dict.GetValueIndex(i)
				if err := lookup(i, known[v], at[v]); err != nil {
					return nil, err
				}
			}
		}
		return tickets, nil
	}
	key := textOf(column)
	for i := range tickets {
		if column.IsValid(i) {
			at, known := s.byKey[key(i)]
			if err := lookup(i, known, at); err != nil {
				return nil, err
			}
		}
	}
	return tickets, nil
}

// identities writes one part: the traits of each row, as the holder wrote them, under its ticket.
func (w *tableWriter) identities(b *batch, tickets []ticket, order []int32) error {
	text := map[string]func(int) string{}
	for role, i := range w.traits {
		text[role] = textOf(b.columns[i])
	}
	none := func(int) string { return "" }
	trait := func(role contract.ColumnRole) func(int) string {
		if f, ok := text[string(role)]; ok {
			return f
		}
		return none
	}
	local := none
	if w.key >= 0 {
		local = textOf(b.columns[w.key])
	}
	nir, owner, twin, birth := trait(contract.RoleNIR), trait(contract.RoleOwnerNIR), trait(contract.RoleTwinRank), trait(contract.RoleBirthName)
	used, given, date := trait(contract.RoleUsedName), trait(contract.RoleGivenName), trait(contract.RoleBirthDate)
	sex, place, residence := trait(contract.RoleSex), trait(contract.RoleBirthPlace), trait(contract.RoleResidence)
	part, err := w.s.out.identityPart()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(part)
	enc.SetEscapeHTML(false)
	for _, row := range order {
		i := int(row)
		id := contract.Identity{Ticket: tickets[i][:], LocalID: local(i), NIR: nir(i), OwnerNIR: owner(i), TwinRank: twin(i), BirthName: birth(i),
			UsedName: used(i), GivenName: given(i), BirthDate: date(i), Sex: sex(i), BirthPlace: place(i), Residence: residence(i)}
		if err := enc.Encode(&id); err != nil {
			return errors.Join(err, part.abandon())
		}
	}
	return part.finish(int64(len(order)))
}

// write appends the payload columns, in the given order (nil: as they are), to the table's parts.
func (w *tableWriter) write(b *batch, tickets []ticket, order []int32) error {
	var columns []arrow.Array
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	var indices arrow.Array
	if order != nil {
		columns = append(columns, ticketArray(tickets, order))
		ib := array.NewInt32Builder(memory.DefaultAllocator)
		defer ib.Release()
		ib.AppendValues(order, nil)
		indices = ib.NewArray()
		defer indices.Release()
	}
	for _, i := range w.payload {
		a := b.columns[i]
		if order == nil {
			a.Retain()
		} else {
			var err error
			if a, err = compute.TakeArrayOpts(context.Background(), a, indices, compute.TakeOptions{BoundsCheck: false}); err != nil {
				return err
			}
		}
		columns = append(columns, a)
	}
	rec := array.NewRecordBatch(w.schema, columns, int64(b.rows))
	defer rec.Release()
	return w.parts.write(rec)
}

func ticketArray(tickets []ticket, order []int32) arrow.Array {
	raw := make([]byte, 0, len(order)*contract.TicketSize)
	for _, i := range order {
		raw = append(raw, tickets[i][:]...)
	}
	data := array.NewData(extensions.NewUUIDType(), len(order), []*memory.Buffer{nil, memory.NewBufferBytes(raw)}, nil, 0, 0)
	defer data.Release()
	return array.MakeFromData(data)
}
