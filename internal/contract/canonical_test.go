package contract_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mitral-health/mitral/internal/contract"
)

// Examples printed in RFC 8785, sections 3.2.2 to 3.2.4 and appendix B.
func TestCanonicalExamplesOfRFC8785(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"3.2.3": {
			`{
			  "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
			  "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
			  "literals": [null, true, false]
			}`,
			`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		},
		"3.2.3 sorting by UTF-16": {
			`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}",
		},
		"B zero":          {`[0, -0]`, `[0,0]`},
		"B largest safe":  {`[9007199254740991, -9007199254740991]`, `[9007199254740991,-9007199254740991]`},
		"B powers":        {`[1e21, 1e20, 1e-6, 1e-7]`, `[1e+21,100000000000000000000,0.000001,1e-7]`},
		"B least double":  {`[5e-324]`, `[5e-324]`},
		"B biggest":       {`[1.7976931348623157e308]`, `[1.7976931348623157e+308]`},
		"empty":           {`{ "b" : { } , "a" : [ ] }`, `{"a":[],"b":{}}`},
		"html characters": {`{"a":"<b> & \u2028"}`, "{\"a\":\"<b> & \u2028\"}"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := contract.Canonical(json.RawMessage(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for name, v := range map[string]any{
		"not a number":  math.NaN(),
		"infinity":      math.Inf(1),
		"repeated name": json.RawMessage(`{"a":1,"a":2}`),
		"half a pair":   json.RawMessage(`"\ud800"`),
		"no JSON":       json.RawMessage(`{`),
		"function":      func() {},
	} {
		if out, err := contract.Canonical(v); err == nil {
			t.Errorf("%s: accepted as %s", name, out)
		}
	}
}

// anyJSON draws documents as contract documents are: objects, arrays, strings, safe integers, booleans.
func anyJSON(depth int) *rapid.Generator[any] {
	leaf := []*rapid.Generator[any]{
		rapid.Map(rapid.String(), func(s string) any { return strings.ToValidUTF8(s, "") }),
		rapid.Map(rapid.Int64Range(-1<<53, 1<<53), func(i int64) any { return float64(i) }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Just[any](nil),
	}
	if depth == 0 {
		return rapid.OneOf(leaf...)
	}
	return rapid.OneOf(append(leaf,
		rapid.Map(rapid.SliceOfN(anyJSON(depth-1), 0, 4), func(s []any) any { return append([]any{}, s...) }),
		rapid.Map(rapid.MapOfN(rapid.StringMatching(`[a-zA-Zé€😀"\\<]{0,4}`), anyJSON(depth-1), 0, 4), func(m map[string]any) any { return m }),
	)...)
}

func TestCanonicalProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyJSON(3).Draw(t, "document")
		a, err := contract.Canonical(v)
		if err != nil {
			t.Fatal(err)
		}
		var back any
		if err := json.Unmarshal(a, &back); err != nil {
			t.Fatalf("canonical form is not JSON: %v", err)
		}
		if !cmp.Equal(v, back) {
			t.Fatalf("canonical form says something else: %s", cmp.Diff(v, back))
		}
		again, err := contract.Canonical(json.RawMessage(a))
		if err != nil || !bytes.Equal(a, again) {
			t.Fatalf("not idempotent: %s then %s (%v)", a, again, err)
		}
		pretty, err := json.MarshalIndent(v, " ", "\t")
		if err != nil {
			t.Fatal(err)
		}
		fromPretty, err := contract.Canonical(json.RawMessage(pretty))
		if err != nil || !bytes.Equal(a, fromPretty) {
			t.Fatalf("white space or escapes matter: %s and %s (%v)", a, fromPretty, err)
		}
		// Two documents share a canonical form only when they say the same.
		w := anyJSON(3).Draw(t, "other document")
		b, err := contract.Canonical(w)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(a, b) != cmp.Equal(v, w) {
			t.Fatalf("%s and %s", a, b)
		}
	})
}

func TestDigest(t *testing.T) {
	d := contract.DigestOf([]byte("abc")) // FIPS 180-2 appendix B.1
	if d != "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Fatal(d)
	}
	if b, err := d.Bytes(); err != nil || len(b) != 32 {
		t.Fatalf("%x, %v", b, err)
	}
	for _, bad := range []contract.Digest{"", "sha256:", "sha1:00", "sha256:zz", contract.Digest(strings.ToUpper(string(d))), d + "00"} {
		if _, err := bad.Bytes(); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestNewID(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		id := contract.NewID("permit")
		if !contract.ValidName(id) || !strings.HasPrefix(id, "permit-") || len(id) != len("permit-")+16 {
			t.Fatalf("bad id %q", id)
		}
		if seen[id] {
			t.Fatalf("%q twice", id)
		}
		seen[id] = true
	}
}

func TestValidName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "ER_PRS_F": true, "sante-publique": true, "_x9": true, strings.Repeat("a", 64): true,
		"": false, "9a": false, "-a": false, ".": false, "..": false, "a/b": false, `a"b`: false, "a b": false,
		"é": false, "a\x00": false, "a.b": false, strings.Repeat("a", 65): false,
	} {
		if contract.ValidName(name) != want {
			t.Errorf("ValidName(%q) = %v", name, !want)
		}
	}
}
