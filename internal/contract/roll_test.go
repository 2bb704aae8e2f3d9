package contract_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/contract/contracttest"
)

func TestRollFile(t *testing.T) {
	dir := t.TempDir()
	file := contract.NewRollFile(filepath.Join(dir, "officers.json"))
	o := contracttest.NewOfficer(t, "officer-1")
	signed := o.Sign(t, contracttest.Permit(now))
	verify := func() error {
		t.Helper()
		roll, err := file.Roll()
		if err != nil {
			return err
		}
		_, err = contract.VerifyPermit(signed, roll, now)
		return err
	}

	wantCode(t, verify(), "unknown_officer") // no file: nobody is enrolled

	contracttest.WriteRoll(t, dir, contracttest.Roll(o))
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	first, _ := file.Roll()
	second, _ := file.Roll()
	if first != second {
		t.Error("read again although nothing changed")
	}

	revoked := contracttest.Roll(o)
	when := now.AddDate(0, 0, -1)
	revoked.Enrolments[0].RevokedAt = &when
	contracttest.WriteRoll(t, dir, revoked)
	wantCode(t, verify(), "unknown_officer")

	if err := os.WriteFile(filepath.Join(dir, "officers.json"), []byte(`{"enrolments":[`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify(); err == nil {
		t.Error("a damaged file must stop everything")
	}

	contracttest.WriteRoll(t, dir, contracttest.Roll(o))
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "officers.json")); err != nil {
		t.Fatal(err)
	}
	wantCode(t, verify(), "unknown_officer")
}

func TestRollFileConcurrently(t *testing.T) {
	dir := t.TempDir()
	file := contract.NewRollFile(filepath.Join(dir, "officers.json"))
	o := contracttest.NewOfficer(t, "officer-1")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := file.Roll(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 20 {
		contracttest.WriteRoll(t, dir, contracttest.Roll(o))
	}
	wg.Wait()
}

func TestLoadRollRefuses(t *testing.T) {
	o := contracttest.NewOfficer(t, "officer-1")
	good, err := json.Marshal(contracttest.Roll(o))
	if err != nil {
		t.Fatal(err)
	}
	edited := func(change func(*contract.Enrolment)) string {
		r := contracttest.Roll(o)
		change(&r.Enrolments[0])
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct{ content, says string }{
		"misspelt revocation": {strings.Replace(string(good), `"enrolled_at"`, `"revoked":"2026-01-01T00:00:00Z","enrolled_at"`, 1), "revoked"},
		"bytes after":         {string(good) + "{}", "after the roll"},
		"empty":               {"", "EOF"},
		"no id":               {edited(func(e *contract.Enrolment) { e.ID = "" }), "enrolments[0].id"},
		"unknown role":        {edited(func(e *contract.Enrolment) { e.Role = "admin" }), "enrolments[0].role"},
		"no origin":           {edited(func(e *contract.Enrolment) { e.Origins = nil }), "enrolments[0].rp_id"},
		"no credential":       {edited(func(e *contract.Enrolment) { e.Key.CredentialID = nil }), "enrolments[0].key"},
		"no key":              {edited(func(e *contract.Enrolment) { e.Key.SPKI = []byte("x") }), "enrolments[0].key"},
		"no date":             {edited(func(e *contract.Enrolment) { e.EnrolledAt = time.Time{} }), "enrolments[0].enrolled_at"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "officers.json")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := contract.LoadRoll(path)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("want an error that names %q, got %v", c.says, err)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "officers.json")
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := contract.LoadRoll(path); err != nil || len(r.Enrolments) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
}

func TestSeal(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("a citizen's declaration")
	sealed, err := contract.Seal(id.Recipient().String(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contract.Open(id, sealed); err != nil || string(got) != string(secret) {
		t.Fatalf("%q, %v", got, err)
	}
	_, err = contract.Open(other, sealed)
	wantCode(t, err, "invalid")
	for _, i := range []int{0, len(sealed) / 2, len(sealed) - 1} {
		damaged := append([]byte{}, sealed...)
		damaged[i] ^= 1
		if _, err := contract.Open(id, damaged); err == nil {
			t.Errorf("opened although byte %d was changed", i)
		}
	}
	if _, err := contract.Open(id, sealed[:len(sealed)-1]); err == nil {
		t.Error("opened although cut short")
	}
	if _, err := contract.Seal("age1nonsense", secret); err == nil {
		t.Error("sealed to no one")
	}
}

func TestDeliveryValidate(t *testing.T) {
	good := func() contract.Delivery {
		return contract.Delivery{
			Schema: contract.DeliverySchema, ID: "delivery-1", CreatedAt: now, Tickets: 2,
			Dataset: contract.DatasetSchema{Holder: "cnam", Dataset: "snds", Version: 1, Tables: []contract.Table{
				{Name: "PERS", Columns: []contract.Column{{Name: "KEY", Type: contract.TypeString, Role: contract.RolePersonKey},
					{Name: "NIR", Type: contract.TypeString, Role: contract.RoleNIR}, {Name: "YEAR", Type: contract.TypeInteger}}},
				{Name: "ACTS", EventDate: "DAY", Columns: []contract.Column{{Name: "KEY", Type: contract.TypeString, Role: contract.RolePersonKey},
					{Name: "DAY", Type: contract.TypeDate}}},
			}},
			Parts: []contract.FilePart{{Table: "ACTS", Name: "part-0", Rows: 1, Bytes: 2, Digest: contract.DigestOf(nil)}},
		}
	}
	if d := good(); d.Validate() != nil {
		t.Fatal(d.Validate())
	}
	for name, change := range map[string]func(*contract.Delivery){
		"schema":            func(d *contract.Delivery) { d.Schema = "x" },
		"id":                func(d *contract.Delivery) { d.ID = "../x" },
		"tickets":           func(d *contract.Delivery) { d.Tickets = -1 },
		"holder":            func(d *contract.Delivery) { d.Dataset.Holder = "a/b" },
		"version":           func(d *contract.Delivery) { d.Dataset.Version = 0 },
		"no tables":         func(d *contract.Delivery) { d.Dataset.Tables = nil },
		"table twice":       func(d *contract.Delivery) { d.Dataset.Tables[1].Name = "PERS" },
		"column twice":      func(d *contract.Delivery) { d.Dataset.Tables[1].Columns[1].Name = "KEY" },
		"no columns":        func(d *contract.Delivery) { d.Dataset.Tables[0].Columns = nil },
		"type":              func(d *contract.Delivery) { d.Dataset.Tables[0].Columns[2].Type = "blob" },
		"role":              func(d *contract.Delivery) { d.Dataset.Tables[0].Columns[2].Role = "phone" },
		"two keys":          func(d *contract.Delivery) { d.Dataset.Tables[1].Columns[1].Role = contract.RolePersonKey },
		"event date absent": func(d *contract.Delivery) { d.Dataset.Tables[1].EventDate = "NO" },
		"event date type":   func(d *contract.Delivery) { d.Dataset.Tables[1].Columns[1].Type = contract.TypeString },
		"part name":         func(d *contract.Delivery) { d.Parts[0].Name = "../../etc" },
		"part table":        func(d *contract.Delivery) { d.Parts[0].Table = "NO" },
		"part digest":       func(d *contract.Delivery) { d.Parts[0].Digest = "md5:1" },
		"part rows":         func(d *contract.Delivery) { d.Parts[0].Rows = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			d := good()
			change(&d)
			wantCode(t, d.Validate(), "invalid")
		})
	}
	d := good()
	if k := d.Dataset.Tables[0].PersonKey(); k != "KEY" || !d.Dataset.Tables[0].HasIdentity() || d.Dataset.Tables[1].HasIdentity() {
		t.Errorf("key %q", k)
	}
}
