// Package web embeds what the pages are made of: templates, messages and the built styles and scripts.
// Portal and enclave render from it through kit/page. It holds no logic.
package web

import (
	"embed"
	"io/fs"
	"time"
	_ "time/tzdata" // dates are shown in the hub's time zone on machines without a zone database

	"github.com/mitral-health/mitral/internal/kit/i18n"
)

//go:embed components portal enclave demo
var templates embed.FS

//go:embed messages
var messages embed.FS

// dist is written by "npm run build"; a fresh clone has only its .gitkeep, so that Go builds without
// Node. Pages then come without style.
//
//go:embed all:dist
var dist embed.FS

// Templates is the file system that kit/page reads.
func Templates() fs.FS { return templates }

// Assets are the built files.
func Assets() fs.FS {
	sub, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	return sub
}

// Messages loads the texts of all rooms; dates are shown in location.
func Messages(location *time.Location) (*i18n.Bundle, error) {
	return i18n.Load(messages, "messages", location)
}
