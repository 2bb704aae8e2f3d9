package enclave

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"

	"github.com/mitral-health/mitral/internal/contract/contracttest"
)

// passkey signs in as a browser with a security key does.
func passkey(b *browser, key *contracttest.Officer, spoil func(map[string]any)) (int, string) {
	b.t.Helper()
	var options struct {
		PublicKey struct{ Challenge, RpID string } `json:"publicKey"`
	}
	if status, body := b.call("POST", "/api/v1/sign-in/options", nil, &options); status != 200 {
		b.t.Fatalf("options: %d %s", status, body)
	}
	return answer(b, key, options.PublicKey.Challenge, spoil)
}

func answer(b *browser, key *contracttest.Officer, challenge string, spoil func(map[string]any)) (int, string) {
	b.t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(challenge)
	if err != nil {
		b.t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(virtualwebauthn.CreateAssertionResponse(key.RP, key.Authenticator, key.Credential,
		virtualwebauthn.AssertionOptions{Challenge: raw, RelyingPartyID: key.RP.ID})), &v); err != nil {
		b.t.Fatal(err)
	}
	if spoil != nil {
		spoil(v)
	}
	return b.call("POST", "/api/v1/sign-in", v, nil)
}

func TestPasskeySignIn(t *testing.T) {
	h := newHub(t)
	h.cfg.Demo = false
	_, base, ws, _ := h.opened()

	b := newBrowser(t, base)
	if status, _ := b.call("POST", "/demo/sign-in", map[string]string{"id": "p1"}, nil); status != 404 {
		t.Errorf("the demonstration's sign-in exists outside a demonstration: %d", status)
	}
	if status, body := passkey(b, h.person, nil); status != 200 {
		t.Fatalf("sign in: %d %s", status, body)
	}
	if status, _ := b.call("GET", "/api/v1/workspaces/"+ws, nil, nil); status != 200 {
		t.Errorf("her workspace: %d", status)
	}
	if status, _ := b.call("GET", "/api/v1/reviews", nil, nil); status != 403 {
		t.Errorf("a researcher sees the review desk: %d", status)
	}
	r := newBrowser(t, base)
	if status, body := passkey(r, h.reviewer[0], nil); status != 200 {
		t.Fatalf("reviewer: %d %s", status, body)
	}
	if status, _ := r.call("GET", "/api/v1/workspaces/"+ws, nil, nil); status != 404 {
		t.Errorf("a reviewer sees the workspace: %d", status)
	}
	for name, f := range map[string]func(b *browser) (int, string){
		"a key that nobody knows": func(b *browser) (int, string) { return passkey(b, contracttest.NewOfficer(t, "p1"), nil) },
		"the officer's key":       func(b *browser) (int, string) { return passkey(b, h.officer, nil) },
		"another origin": func(b *browser) (int, string) {
			elsewhere := *h.person
			elsewhere.RP.Origin = "https://evil.example"
			return passkey(b, &elsewhere, nil)
		},
		"another relying party": func(b *browser) (int, string) {
			elsewhere := *h.person
			elsewhere.RP.ID = "evil.example"
			return passkey(b, &elsewhere, nil)
		},
		"a changed signature": func(b *browser) (int, string) {
			return passkey(b, h.person, func(v map[string]any) {
				v["response"].(map[string]any)["signature"] = base64.RawURLEncoding.EncodeToString([]byte("nonsense"))
			})
		},
		"a challenge of its own making": func(b *browser) (int, string) {
			return answer(b, h.person, base64.RawURLEncoding.EncodeToString(make([]byte, 32)), nil)
		},
		"a challenge used twice": func(b *browser) (int, string) {
			var o struct {
				PublicKey struct{ Challenge string } `json:"publicKey"`
			}
			b.call("POST", "/api/v1/sign-in/options", nil, &o)
			cookies := b.http.Jar.Cookies(mustURL(t, base))
			if status, body := answer(b, h.person, o.PublicKey.Challenge, nil); status != 200 {
				t.Fatal(status, body)
			}
			again := newBrowser(t, base)
			again.http.Jar.SetCookies(mustURL(t, base), cookies)
			return answer(again, h.person, o.PublicKey.Challenge, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if status, body := f(newBrowser(t, base)); status != 403 {
				t.Errorf("signed in: %d %s", status, body)
			}
		})
	}
	t.Run("sign out ends the session", func(t *testing.T) {
		cookies := b.http.Jar.Cookies(mustURL(t, base))
		if status, body := b.call("POST", "/api/v1/sign-out", nil, nil); status != 200 {
			t.Fatal(status, body)
		}
		b.http.Jar.SetCookies(mustURL(t, base), cookies) // a thief has kept them
		if status, _ := b.call("GET", "/api/v1/me", nil, nil); status != 401 {
			t.Errorf("the session lives on: %d", status)
		}
	})
	t.Run("another site cannot post", func(t *testing.T) {
		req, _ := http.NewRequest("POST", base+"/sign-out", nil)
		req.Header.Set("Origin", "https://evil.example")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if status, _ := r.send(req, nil); status != 403 {
			t.Errorf("cross-site: %d", status)
		}
	})
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Every route: who may, who may not, and what does not exist. The table of the program and this one must
// name the same routes.
func TestRoutes(t *testing.T) {
	h := newHub(t)
	m, base, ws, _ := h.opened()
	author, colleague, reviewer, nobody := h.as(base, "p1"), h.as(base, "p2"), h.as(base, "rev-1"), newBrowser(t, base)
	done := author.job(ws, "sql", goodSQL)
	ready := author.export(ws, done.ID)
	if status, body := author.call("POST", "/api/v1/workspaces/"+ws+"/exports/"+ready.ID+"/submit", nil, nil); status != 200 {
		t.Fatal(status, body)
	}
	fresh := func() string { return author.export(ws, done.ID).ID }
	job, file := done.ID, "result.csv"
	code := url.Values{"kind": {"sql"}, "title": {"T"}, "code": {goodSQL}}.Encode()
	ask := url.Values{"title": {"T"}, "context": {"c"}, "files": {file}}.Encode()
	verdict := url.Values{"verdict": {"approve"}, "files_digest": {string(ready.FilesDigest)}}.Encode()
	jobJSON := map[string]string{"kind": "sql", "title": "T", "code": goodSQL}
	askJSON := map[string]any{"job": job, "title": "T", "context": "c", "files": []string{file}}

	type try struct {
		who  *browser
		path string // with real ids
		body any    // a string is a form, else JSON
		want int
	}
	none := "/workspaces/ws-none"
	tested := map[string]bool{}
	for pattern, tries := range map[string][]try{
		"GET /{$}":                                               {{author, "/", nil, 303}, {nobody, "/", nil, 303}},
		"GET /sign-in":                                           {{nobody, "/sign-in", nil, 200}, {nobody, "/sign-in?next=//evil.example", nil, 200}},
		"POST /sign-out":                                         {{nobody, "/sign-out", "", 401}},
		"POST /demo/sign-in":                                     {{newBrowser(t, base), "/demo/sign-in", "id=p2", 303}, {nobody, "/demo/sign-in", "id=stranger", 403}, {nobody, "/demo/sign-in", map[string]string{"id": "officer-1"}, 403}},
		"GET /healthz":                                           {{nobody, "/healthz", nil, 200}},
		"GET /workspaces":                                        {{author, "/workspaces", nil, 200}, {nobody, "/workspaces", nil, 303}},
		"GET /workspaces/{ws}":                                   {{author, "/workspaces/" + ws, nil, 200}, {colleague, "/workspaces/" + ws, nil, 200}, {reviewer, "/workspaces/" + ws, nil, 404}, {nobody, "/workspaces/" + ws, nil, 303}, {author, none, nil, 404}},
		"GET /workspaces/{ws}/jobs/new":                          {{author, "/workspaces/" + ws + "/jobs/new", nil, 200}, {reviewer, "/workspaces/" + ws + "/jobs/new", nil, 404}, {nobody, "/workspaces/" + ws + "/jobs/new", nil, 303}, {author, none + "/jobs/new", nil, 404}},
		"POST /workspaces/{ws}/jobs":                             {{colleague, "/workspaces/" + ws + "/jobs", code, 303}, {author, "/workspaces/" + ws + "/jobs", "kind=sh", 400}, {reviewer, "/workspaces/" + ws + "/jobs", code, 404}, {nobody, "/workspaces/" + ws + "/jobs", code, 401}, {author, none + "/jobs", code, 404}},
		"GET /workspaces/{ws}/jobs/{job}":                        {{author, "/workspaces/" + ws + "/jobs/" + job, nil, 200}, {reviewer, "/workspaces/" + ws + "/jobs/" + job, nil, 404}, {nobody, "/workspaces/" + ws + "/jobs/" + job, nil, 303}, {author, "/workspaces/" + ws + "/jobs/job-none", nil, 404}},
		"POST /workspaces/{ws}/jobs/{job}/cancel":                {{author, "/workspaces/" + ws + "/jobs/" + job + "/cancel", "", 409}, {reviewer, "/workspaces/" + ws + "/jobs/" + job + "/cancel", "", 404}, {nobody, "/workspaces/" + ws + "/jobs/" + job + "/cancel", "", 401}, {author, "/workspaces/" + ws + "/jobs/job-none/cancel", "", 404}},
		"GET /workspaces/{ws}/jobs/{job}/outputs/{name}":         {{author, "/workspaces/" + ws + "/jobs/" + job + "/outputs/" + file, nil, 200}, {reviewer, "/workspaces/" + ws + "/jobs/" + job + "/outputs/" + file, nil, 404}, {nobody, "/workspaces/" + ws + "/jobs/" + job + "/outputs/" + file, nil, 303}, {author, "/workspaces/" + ws + "/jobs/" + job + "/outputs/..%2f..%2flog", nil, 404}},
		"GET /workspaces/{ws}/jobs/{job}/export":                 {{author, "/workspaces/" + ws + "/jobs/" + job + "/export", nil, 200}, {reviewer, "/workspaces/" + ws + "/jobs/" + job + "/export", nil, 404}, {nobody, "/workspaces/" + ws + "/jobs/" + job + "/export", nil, 303}, {author, "/workspaces/" + ws + "/jobs/job-none/export", nil, 404}},
		"POST /workspaces/{ws}/jobs/{job}/export":                {{author, "/workspaces/" + ws + "/jobs/" + job + "/export", ask, 303}, {author, "/workspaces/" + ws + "/jobs/" + job + "/export", "title=T&context=c&files=..%2flog.age", 400}, {reviewer, "/workspaces/" + ws + "/jobs/" + job + "/export", ask, 404}, {nobody, "/workspaces/" + ws + "/jobs/" + job + "/export", ask, 401}, {author, "/workspaces/" + ws + "/jobs/job-none/export", ask, 404}},
		"GET /workspaces/{ws}/exports/{export}":                  {{colleague, "/workspaces/" + ws + "/exports/" + ready.ID, nil, 200}, {reviewer, "/workspaces/" + ws + "/exports/" + ready.ID, nil, 404}, {nobody, "/workspaces/" + ws + "/exports/" + ready.ID, nil, 303}, {author, "/workspaces/" + ws + "/exports/export-none", nil, 404}},
		"POST /workspaces/{ws}/exports/{export}/submit":          {{author, "/workspaces/" + ws + "/exports/" + fresh() + "/submit", "", 303}, {colleague, "/workspaces/" + ws + "/exports/" + fresh() + "/submit", "", 403}, {reviewer, "/workspaces/" + ws + "/exports/" + ready.ID + "/submit", "", 404}, {nobody, "/workspaces/" + ws + "/exports/" + ready.ID + "/submit", "", 401}, {author, "/workspaces/" + ws + "/exports/export-none/submit", "", 404}},
		"POST /workspaces/{ws}/exports/{export}/withdraw":        {{author, "/workspaces/" + ws + "/exports/" + fresh() + "/withdraw", "", 303}, {colleague, "/workspaces/" + ws + "/exports/" + fresh() + "/withdraw", "", 403}, {reviewer, "/workspaces/" + ws + "/exports/" + ready.ID + "/withdraw", "", 404}, {nobody, "/workspaces/" + ws + "/exports/" + ready.ID + "/withdraw", "", 401}, {author, "/workspaces/" + ws + "/exports/export-none/withdraw", "", 404}},
		"GET /reviews":                                           {{reviewer, "/reviews", nil, 200}, {author, "/reviews", nil, 403}, {nobody, "/reviews", nil, 303}},
		"GET /reviews/{export}":                                  {{reviewer, "/reviews/" + ready.ID, nil, 200}, {author, "/reviews/" + ready.ID, nil, 403}, {nobody, "/reviews/" + ready.ID, nil, 303}, {reviewer, "/reviews/export-none", nil, 404}},
		"GET /reviews/{export}/files/{name}":                     {{reviewer, "/reviews/" + ready.ID + "/files/" + file, nil, 200}, {author, "/reviews/" + ready.ID + "/files/" + file, nil, 403}, {nobody, "/reviews/" + ready.ID + "/files/" + file, nil, 303}, {reviewer, "/reviews/" + ready.ID + "/files/0.age", nil, 404}},
		"POST /reviews/{export}":                                 {{reviewer, "/reviews/" + ready.ID, "verdict=reject&files_digest=" + string(ready.FilesDigest), 400}, {author, "/reviews/" + ready.ID, verdict, 403}, {nobody, "/reviews/" + ready.ID, verdict, 401}, {reviewer, "/reviews/export-none", verdict, 404}, {reviewer, "/reviews/" + ready.ID, verdict, 303}},
		"POST /api/v1/sign-in/options":                           {{newBrowser(t, base), "/api/v1/sign-in/options", nil, 200}},
		"POST /api/v1/sign-in":                                   {{newBrowser(t, base), "/api/v1/sign-in", map[string]any{"id": "x"}, 403}, {newBrowser(t, base), "/api/v1/sign-in", map[string]any{"password": "x"}, 400}},
		"POST /api/v1/sign-out":                                  {{nobody, "/api/v1/sign-out", nil, 401}},
		"GET /api/v1/me":                                         {{author, "/api/v1/me", nil, 200}, {nobody, "/api/v1/me", nil, 401}},
		"GET /api/v1/workspaces":                                 {{author, "/api/v1/workspaces", nil, 200}, {nobody, "/api/v1/workspaces", nil, 401}},
		"GET /api/v1/workspaces/{ws}":                            {{author, "/api/v1/workspaces/" + ws, nil, 200}, {reviewer, "/api/v1/workspaces/" + ws, nil, 404}, {nobody, "/api/v1/workspaces/" + ws, nil, 401}, {author, "/api/v1/workspaces/ws-none", nil, 404}},
		"GET /api/v1/workspaces/{ws}/jobs":                       {{author, "/api/v1/workspaces/" + ws + "/jobs", nil, 200}, {reviewer, "/api/v1/workspaces/" + ws + "/jobs", nil, 404}, {nobody, "/api/v1/workspaces/" + ws + "/jobs", nil, 401}, {author, "/api/v1/workspaces/ws-none/jobs", nil, 404}},
		"POST /api/v1/workspaces/{ws}/jobs":                      {{author, "/api/v1/workspaces/" + ws + "/jobs", jobJSON, 201}, {author, "/api/v1/workspaces/" + ws + "/jobs", map[string]string{"kind": "sh", "title": "T", "code": "ls"}, 400}, {reviewer, "/api/v1/workspaces/" + ws + "/jobs", jobJSON, 404}, {nobody, "/api/v1/workspaces/" + ws + "/jobs", jobJSON, 401}, {author, "/api/v1/workspaces/ws-none/jobs", jobJSON, 404}},
		"GET /api/v1/workspaces/{ws}/jobs/{job}":                 {{author, "/api/v1/workspaces/" + ws + "/jobs/" + job, nil, 200}, {reviewer, "/api/v1/workspaces/" + ws + "/jobs/" + job, nil, 404}, {nobody, "/api/v1/workspaces/" + ws + "/jobs/" + job, nil, 401}, {author, "/api/v1/workspaces/" + ws + "/jobs/job-none", nil, 404}},
		"POST /api/v1/workspaces/{ws}/jobs/{job}/cancel":         {{author, "/api/v1/workspaces/" + ws + "/jobs/" + job + "/cancel", nil, 409}, {reviewer, "/api/v1/workspaces/" + ws + "/jobs/" + job + "/cancel", nil, 404}, {nobody, "/api/v1/workspaces/" + ws + "/jobs/" + job + "/cancel", nil, 401}, {author, "/api/v1/workspaces/" + ws + "/jobs/job-none/cancel", nil, 404}},
		"GET /api/v1/workspaces/{ws}/exports":                    {{author, "/api/v1/workspaces/" + ws + "/exports", nil, 200}, {reviewer, "/api/v1/workspaces/" + ws + "/exports", nil, 404}, {nobody, "/api/v1/workspaces/" + ws + "/exports", nil, 401}, {author, "/api/v1/workspaces/ws-none/exports", nil, 404}},
		"POST /api/v1/workspaces/{ws}/exports":                   {{author, "/api/v1/workspaces/" + ws + "/exports", askJSON, 201}, {reviewer, "/api/v1/workspaces/" + ws + "/exports", askJSON, 404}, {nobody, "/api/v1/workspaces/" + ws + "/exports", askJSON, 401}, {author, "/api/v1/workspaces/ws-none/exports", askJSON, 404}},
		"GET /api/v1/workspaces/{ws}/exports/{export}":           {{author, "/api/v1/workspaces/" + ws + "/exports/" + ready.ID, nil, 200}, {reviewer, "/api/v1/workspaces/" + ws + "/exports/" + ready.ID, nil, 404}, {nobody, "/api/v1/workspaces/" + ws + "/exports/" + ready.ID, nil, 401}, {author, "/api/v1/workspaces/" + ws + "/exports/export-none", nil, 404}},
		"POST /api/v1/workspaces/{ws}/exports/{export}/submit":   {{author, "/api/v1/workspaces/" + ws + "/exports/" + fresh() + "/submit", nil, 200}, {colleague, "/api/v1/workspaces/" + ws + "/exports/" + fresh() + "/submit", nil, 403}, {nobody, "/api/v1/workspaces/" + ws + "/exports/" + ready.ID + "/submit", nil, 401}, {author, "/api/v1/workspaces/" + ws + "/exports/export-none/submit", nil, 404}},
		"POST /api/v1/workspaces/{ws}/exports/{export}/withdraw": {{author, "/api/v1/workspaces/" + ws + "/exports/" + fresh() + "/withdraw", nil, 200}, {colleague, "/api/v1/workspaces/" + ws + "/exports/" + fresh() + "/withdraw", nil, 403}, {nobody, "/api/v1/workspaces/" + ws + "/exports/" + ready.ID + "/withdraw", nil, 401}, {author, "/api/v1/workspaces/" + ws + "/exports/export-none/withdraw", nil, 404}},
		"GET /api/v1/reviews":                                    {{reviewer, "/api/v1/reviews", nil, 200}, {author, "/api/v1/reviews", nil, 403}, {nobody, "/api/v1/reviews", nil, 401}},
		"GET /api/v1/reviews/{export}":                           {{reviewer, "/api/v1/reviews/" + ready.ID, nil, 200}, {author, "/api/v1/reviews/" + ready.ID, nil, 403}, {nobody, "/api/v1/reviews/" + ready.ID, nil, 401}, {reviewer, "/api/v1/reviews/export-none", nil, 404}},
		"POST /api/v1/reviews/{export}":                          {{reviewer, "/api/v1/reviews/" + ready.ID, map[string]any{"approve": true, "files_digest": "sha256:0"}, 409}, {author, "/api/v1/reviews/" + ready.ID, map[string]any{"approve": true}, 403}, {nobody, "/api/v1/reviews/" + ready.ID, map[string]any{"approve": true}, 401}, {reviewer, "/api/v1/reviews/export-none", map[string]any{"approve": true}, 404}},
	} {
		method, _, _ := strings.Cut(pattern, " ")
		for _, c := range tries {
			var status int
			var body string
			if form, ok := c.body.(string); ok {
				status, body = c.who.form(c.path, form)
			} else {
				status, body = c.who.call(method, c.path, c.body, nil)
			}
			if status != c.want {
				t.Errorf("%s %s: %d, want %d: %.300s", method, c.path, status, c.want, body)
			}
			if strings.HasPrefix(c.path, "/api/") && status >= 400 && !strings.Contains(body, `"code"`) {
				t.Errorf("%s %s: no problem document: %s", method, c.path, body)
			}
		}
		tested[pattern] = true
	}
	for _, rt := range m.door.table() {
		if !tested[rt.pattern] {
			t.Errorf("%s is not tested", rt.pattern)
		}
	}
	if status, _ := author.call("GET", "/api/v1/none", nil, nil); status != 404 {
		t.Errorf("an unknown route is %d", status)
	}
	if status, body := author.call("GET", "/none", nil, nil); status != 404 || !strings.Contains(body, "Page not found") {
		t.Errorf("an unknown page is %d", status)
	}
	if status, _ := author.call("DELETE", "/api/v1/workspaces/"+ws, nil, nil); status == 200 {
		t.Error("DELETE worked")
	}
}

// Every page in every language, and none shows a message key.
func TestPages(t *testing.T) {
	h := newHub(t)
	_, base, ws, _ := h.opened()
	author, reviewer := h.as(base, "p1"), h.as(base, "rev-1")
	bad := author.job(ws, "sql", `SELECT PRS_NAT_REF AS code, count(*) AS n, avg(year) AS mean_year FROM ER_PRS_F GROUP BY 1`)
	failed := author.export(ws, bad.ID)
	good := author.job(ws, "sql", goodSQL)
	sent := author.export(ws, good.ID)
	author.call("POST", "/api/v1/workspaces/"+ws+"/exports/"+sent.ID+"/submit", nil, nil)
	for _, lang := range []string{"en", "fr", "fi"} {
		for path, c := range map[string]struct {
			who  *browser
			want map[string]string
		}{
			"/sign-in":                              {newBrowser(t, base), map[string]string{"en": "Sign in to the secure environment", "fr": "Se connecter", "fi": "Kirjaudu"}},
			"/workspaces":                           {author, map[string]string{"en": "My workspaces", "fr": "Mes espaces", "fi": "Työtilani"}},
			"/workspaces/" + ws:                     {author, map[string]string{"en": "snds.ER_PRS_F (58 rows)", "fr": "58 lignes", "fi": "58 riviä"}},
			"/workspaces/" + ws + "/jobs/new":       {author, map[string]string{"en": "Run a program", "fr": "Lancer un programme", "fi": "Aja ohjelma"}},
			"/workspaces/" + ws + "/jobs/" + bad.ID: {author, map[string]string{"en": "result.csv", "fr": "result.csv", "fi": "result.csv"}},
			"/workspaces/" + ws + "/jobs/" + bad.ID + "/outputs/result.csv": {author, map[string]string{"en": "mean_year", "fr": "mean_year", "fi": "mean_year"}},
			"/workspaces/" + ws + "/jobs/" + bad.ID + "/export":             {author, map[string]string{"en": "no count under 11 persons", "fr": "inférieur à 11", "fi": "alle 11"}},
			"/workspaces/" + ws + "/exports/" + failed.ID:                   {author, map[string]string{"en": "A count of 3 is under the threshold of 11", "fr": "Un effectif de 3", "fi": "Lukumäärä 3"}},
			"/workspaces/" + ws + "/exports/" + sent.ID:                     {author, map[string]string{"en": "2 reviewers must judge", "fr": "2 relecteurs", "fi": "2 tarkastajan"}},
			"/reviews":            {reviewer, map[string]string{"en": "1 export waits", "fr": "1 sortie vous attend", "fi": "1 vienti odottaa"}},
			"/reviews/" + sent.ID: {reviewer, map[string]string{"en": "May these files leave?", "fr": "Ces fichiers peuvent-ils sortir", "fi": "Saako nämä tiedostot viedä"}},
		} {
			status, body := c.who.call("GET", path+"?lang="+lang, nil, nil)
			text := strings.NewReplacer("\u00a0", " ", "\u202f", " ").Replace(body)
			if status != 200 || !strings.Contains(text, c.want[lang]) {
				t.Errorf("%s in %s: %d, lacks %q", path, lang, status, c.want[lang])
			}
			if strings.Contains(body, ">enclave.") || strings.Contains(body, ">kit.") || strings.Contains(body, "%!") {
				t.Errorf("%s in %s shows a message key or a formatting fault", path, lang)
			}
			ids := map[string]bool{}
			for _, m := range regexp.MustCompile(`\sid="([^"]*)"`).FindAllStringSubmatch(body, -1) {
				if ids[m[1]] {
					t.Errorf("%s in %s: id %s stands twice", path, lang, m[1])
				}
				ids[m[1]] = true
			}
			for _, m := range regexp.MustCompile(`\s(?:for|aria-labelledby|aria-describedby)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
				for _, id := range strings.Fields(m[1]) {
					if !ids[id] {
						t.Errorf("%s in %s: nothing has the id %s", path, lang, id)
					}
				}
			}
			if strings.Count(body, "<h1") != 1 || !strings.Contains(body, `lang="`+lang+`"`) {
				t.Errorf("%s in %s: %d headings of level 1", path, lang, strings.Count(body, "<h1"))
			}
		}
	}
	// A form with faults says which, and keeps what was entered.
	status, body := author.form("/workspaces/"+ws+"/jobs?lang=en", url.Values{"kind": {"sql"}, "title": {""}, "code": {"SELECT 42"}}.Encode())
	if status != 400 || !strings.Contains(body, "There is a problem") || !strings.Contains(body, "#f-title") || !strings.Contains(body, "SELECT 42") {
		t.Errorf("form: %d %s", status, body)
	}
}
