// Package policies embeds the Cedar policies of the portal, one file per role, so that the binary carries
// exactly what an auditor reads here.
package policies

import "embed"

// Files holds every *.cedar file.
//
//go:embed *.cedar
var Files embed.FS
