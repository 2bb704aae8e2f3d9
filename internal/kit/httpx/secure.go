package httpx

import (
	"net/http"
	"strings"
)

// Secure wraps a listener that browsers talk to: a content security policy that allows our own files
// only and nothing inline, the usual headers, and protection from forged cross-site requests
// (http.CrossOriginProtection). formTargets are further origins that a form may lead to, by redirect:
// browsers apply form-action to every hop, so the identity provider's origin belongs here when sign-in
// starts from a form.
func Secure(h http.Handler, formTargets ...string) http.Handler {
	csp := strings.Join([]string{
		"default-src 'self'", "base-uri 'none'", "object-src 'none'", "frame-ancestors 'none'",
		strings.Join(append([]string{"form-action 'self'"}, formTargets...), " "),
	}, "; ")
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Problem(w, r, http.StatusForbidden, "cross_origin", "This request came from another site and was refused. Open the page on this site and try again.")
	}))
	inner := cross.Handler(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hd := w.Header()
		hd.Set("Content-Security-Policy", csp)
		hd.Set("X-Content-Type-Options", "nosniff")
		hd.Set("X-Frame-Options", "DENY")
		hd.Set("Referrer-Policy", "same-origin")
		hd.Set("Cross-Origin-Opener-Policy", "same-origin")
		hd.Set("Cross-Origin-Resource-Policy", "same-origin")
		hd.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=(), browsing-topics=()")
		if r.TLS != nil {
			hd.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
		}
		inner.ServeHTTP(w, r)
	})
}
