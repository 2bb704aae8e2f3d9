// Package procedures carries the procedures that come with Mitral. They are data: what a key means is
// documented where it is read, in internal/portal/gateway.
package procedures

import "embed"

//go:embed *.yaml
var FS embed.FS
