package contract

import (
	"fmt"
	"time"
)

// ColumnType is the type of a column on the wire and in the lake.
type ColumnType string

const (
	TypeString  ColumnType = "string"
	TypeInteger ColumnType = "integer" // 64 bits
	TypeNumber  ColumnType = "number"  // 64-bit float
	TypeDate    ColumnType = "date"    // YYYY-MM-DD in CSV
	TypeTime    ColumnType = "datetime"
)

// ColumnRole says where a column's values go when a record is split at the holder.
type ColumnRole string

const (
	RolePayload   ColumnRole = ""           // to engine
	RolePersonKey ColumnRole = "person_key" // stays at the holder; replaced by the ticket
	// Identity traits go to trust only.
	RoleNIR        ColumnRole = "nir"
	RoleBirthName  ColumnRole = "birth_name"
	RoleUsedName   ColumnRole = "used_name"
	RoleGivenName  ColumnRole = "given_name"
	RoleBirthDate  ColumnRole = "birth_date"
	RoleSex        ColumnRole = "sex"         // "1" or "2"
	RoleBirthPlace ColumnRole = "birth_place" // INSEE code
	RoleResidence  ColumnRole = "residence"
	RoleOwnerNIR   ColumnRole = "owner_nir" // NIR of the opener of rights, when it is not the person's own
	RoleTwinRank   ColumnRole = "twin_rank"
)

// Identity reports whether the role is an identity trait, which only trust may see.
func (r ColumnRole) Identity() bool { return r != RolePayload && r != RolePersonKey }

// Column describes one variable.
type Column struct {
	Name     string            `json:"name"`
	Type     ColumnType        `json:"type"`
	Role     ColumnRole        `json:"role,omitempty"`
	Required bool              `json:"required,omitempty"`
	Title    map[string]string `json:"title,omitempty"`     // by language
	CodeList string            `json:"code_list,omitempty"` // "icd10", "atc", …
}

// Table describes one table. A table with identity traits and a person key is a person table; tables
// with only a person key refer to it; a table with traits and no key carries identity in each row; a
// table with neither is a reference table.
type Table struct {
	Name    string            `json:"name"`
	Title   map[string]string `json:"title,omitempty"`
	Columns []Column          `json:"columns"`
	// EventDate names the column that places a row in time; "" when the table has none.
	EventDate string `json:"event_date,omitempty"`
}

// Column returns the column called name.
func (t *Table) Column(name string) (Column, bool) {
	for _, c := range t.Columns {
		if c.Name == name {
			return c, true
		}
	}
	return Column{}, false
}

// PersonKey returns the name of the person-key column, or "".
func (t *Table) PersonKey() string {
	for _, c := range t.Columns {
		if c.Role == RolePersonKey {
			return c.Name
		}
	}
	return ""
}

// HasIdentity reports whether the table carries identity traits.
func (t *Table) HasIdentity() bool {
	for _, c := range t.Columns {
		if c.Role.Identity() {
			return true
		}
	}
	return false
}

// DatasetSchema is the structure of a dataset that catalogue, agent, trust and engine agree on.
type DatasetSchema struct {
	Holder  string  `json:"holder"`
	Dataset string  `json:"dataset"`
	Version int     `json:"version"`
	Tables  []Table `json:"tables"`
}

// Table returns the table called name.
func (s *DatasetSchema) Table(name string) (*Table, bool) {
	for i := range s.Tables {
		if s.Tables[i].Name == name {
			return &s.Tables[i], true
		}
	}
	return nil, false
}

// Validate checks names, types, roles and references.
func (s *DatasetSchema) Validate() error {
	if !ValidName(s.Holder) || !ValidName(s.Dataset) || s.Version < 1 || len(s.Tables) == 0 {
		return invalid("schema", "holder %q, dataset %q, version %d, %d tables", s.Holder, s.Dataset, s.Version, len(s.Tables))
	}
	seen := map[string]bool{}
	for _, t := range s.Tables {
		if !ValidName(t.Name) || seen[t.Name] || len(t.Columns) == 0 {
			return invalid("tables", "table %q: bad or repeated name, or no columns", t.Name)
		}
		seen[t.Name] = true
		cols := map[string]bool{}
		keys := 0
		for _, c := range t.Columns {
			if !ValidName(c.Name) || cols[c.Name] {
				return invalid("columns", "%s.%s: bad or repeated name", t.Name, c.Name)
			}
			cols[c.Name] = true
			switch c.Type {
			case TypeString, TypeInteger, TypeNumber, TypeDate, TypeTime:
			default:
				return invalid("columns", "%s.%s: unknown type %q", t.Name, c.Name, c.Type)
			}
			switch c.Role {
			case RolePersonKey:
				keys++
			case RolePayload, RoleNIR, RoleBirthName, RoleUsedName, RoleGivenName, RoleBirthDate, RoleSex,
				RoleBirthPlace, RoleResidence, RoleOwnerNIR, RoleTwinRank:
			default:
				return invalid("columns", "%s.%s: unknown role %q", t.Name, c.Name, c.Role)
			}
		}
		if keys > 1 {
			return invalid("columns", "table %s has %d person keys", t.Name, keys)
		}
		if t.EventDate != "" {
			c, ok := t.Column(t.EventDate)
			if !ok || c.Role != RolePayload || (c.Type != TypeDate && c.Type != TypeTime) {
				return invalid("event_date", "%s.%s is not a date in the payload", t.Name, t.EventDate)
			}
		}
	}
	return nil
}

// TicketSize is the length of a ticket and of a hub pseudonym, in bytes (128 bits).
const TicketSize = 16

// Identity is one person record on its way from agent to trust. Trait values are as the holder wrote
// them. Ticket is random and means nothing outside this delivery.
type Identity struct {
	Ticket []byte `json:"ticket"`
	// LocalID is the holder's own number of the person (value of the person-key column), used by trust
	// only within this holder and only when nothing better links.
	LocalID    string `json:"local_id,omitempty"`
	NIR        string `json:"nir,omitempty"`
	OwnerNIR   string `json:"owner_nir,omitempty"`
	TwinRank   string `json:"twin_rank,omitempty"`
	BirthName  string `json:"birth_name,omitempty"`
	UsedName   string `json:"used_name,omitempty"`
	GivenName  string `json:"given_name,omitempty"`
	BirthDate  string `json:"birth_date,omitempty"`
	Sex        string `json:"sex,omitempty"`
	BirthPlace string `json:"birth_place,omitempty"`
	Residence  string `json:"residence,omitempty"`
}

// FilePart is one file of a delivery.
type FilePart struct {
	Table  string `json:"table"` // "" for the identities
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	Digest Digest `json:"digest"`
}

// DeliverySchema names the version of the delivery manifest.
const DeliverySchema = "mitral.delivery/1"

// Delivery is the manifest that closes a delivery. Trust and engine each get the manifest of what they
// received: identities to one, tables to the other.
type Delivery struct {
	Schema    string        `json:"schema"`
	ID        string        `json:"id"`
	Dataset   DatasetSchema `json:"dataset"`
	CreatedAt time.Time     `json:"created_at"`
	Parts     []FilePart    `json:"parts"`
	Tickets   int64         `json:"tickets"` // person records, the same number on both sides
}

// Validate checks the manifest in itself.
func (d *Delivery) Validate() error {
	if d.Schema != DeliverySchema || !ValidName(d.ID) || d.Tickets < 0 {
		return invalid("delivery", "schema %q, id %q", d.Schema, d.ID)
	}
	if err := d.Dataset.Validate(); err != nil {
		return err
	}
	for _, p := range d.Parts {
		if !ValidName(p.Name) || p.Rows < 0 || p.Bytes < 0 {
			return invalid("parts", "part %q", p.Name)
		}
		if _, err := p.Digest.Bytes(); err != nil {
			return invalid("parts", "part %q: %v", p.Name, err)
		}
		if p.Table != "" {
			if _, ok := d.Dataset.Table(p.Table); !ok {
				return invalid("parts", "part %q is of unknown table %q", p.Name, p.Table)
			}
		}
	}
	return nil
}

// TicketSheetHeader opens a ticket sheet: one JSON line, then Rows × 32 bytes (ticket, hub pseudonym),
// the whole sealed with age to engine's recipient.
type TicketSheetHeader struct {
	Schema   string `json:"schema"` // "mitral.sheet/1"
	Delivery string `json:"delivery"`
	Rows     int64  `json:"rows"`
	Epoch    int    `json:"epoch"` // epoch of trust's key
	// Report says how records were linked, in counts.
	Report LinkReport `json:"report"`
}

// LinkReport counts how the records of a delivery found their person.
type LinkReport struct {
	Records      int64            `json:"records"`
	ByRule       map[string]int64 `json:"by_rule"` // rule → records
	NewPersons   int64            `json:"new_persons"`
	InvalidNIR   int64            `json:"invalid_nir"`
	Unlinkable   int64            `json:"unlinkable"` // too little identity: own person each
	KnownPersons int64            `json:"known_persons"`
	// Ambiguous counts records that more than one person fits; each has a person of its own.
	Ambiguous int64 `json:"ambiguous,omitempty"`
	// ContestedNIR counts records whose valid NIR is already another person's.
	ContestedNIR int64 `json:"contested_nir,omitempty"`
}

// DeliveryNotice tells the catalogue that data arrived. Counts are of rows; persons are rounded to 10.
type DeliveryNotice struct {
	Delivery string           `json:"delivery"`
	Holder   string           `json:"holder"`
	Dataset  string           `json:"dataset"`
	Rows     map[string]int64 `json:"rows"` // by table
	Persons  int64            `json:"persons"`
	Years    map[string]int64 `json:"years,omitempty"` // rows by year of the event date; years under 11 rows left out
}

func (n DeliveryNotice) String() string {
	return fmt.Sprintf("%s/%s %s", n.Holder, n.Dataset, n.Delivery)
}
