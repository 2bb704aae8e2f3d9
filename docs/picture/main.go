// Command picture draws docs/architecture.svg: the zones, what each holds, and who may open a
// connection to whom. Run by "go generate ./docs/picture"; a test keeps the file up to date.
package main

import (
	"fmt"
	"html"
	"log"
	"os"
	"strings"
)

//go:generate go run . ../architecture.svg

type box struct {
	x, y, w, h int
	name, role string
	lines      []string
	class      string
}

type arrow struct {
	points string // SVG path
	label  string
	x, y   int
	dashed bool
}

var boxes = []box{
	{20, 40, 230, 96, "browser", "", []string{"applicants, holders, committee,", "officers, citizens: passkey or", "national identity"}, "outside"},
	{80, 420, 180, 112, "agent", "at each holder", []string{"checks and splits files:", "identities to trust,", "payload to engine"}, "outside"},
	{330, 40, 260, 112, "portal", "public", []string{"catalogue, applications, decisions,", "register, objections as filed (sealed),", "order book", "never: health data, identities"}, "public"},
	{330, 250, 260, 112, "trust", "trusted third party", []string{"identities, links, level-1 keys,", "objection roll", "never: health data,", "project pseudonyms"}, "inner"},
	{330, 420, 260, 112, "engine", "data", []string{"the lake, keyed by hub pseudonym;", "selects, minimises, delivers", "never: identities, project keys"}, "inner"},
	{680, 250, 240, 112, "vault", "keys", []string{"level-2 keys per permit,", "workspace keys", "never: identities, health data"}, "inner"},
	{680, 420, 240, 112, "enclave", "compute", []string{"project data, sandboxed jobs,", "results under review", "never: identities,", "hub pseudonyms"}, "inner"},
}

var arrows = []arrow{
	{"M250 88 H330", "HTTPS", 290, 80, false},
	{"M200 420 C200 350 250 306 330 306", "identities", 236, 352, false},
	{"M260 490 H330", "payload", 295, 482, false},
	{"M430 250 V152", "poll", 414, 205, false},
	{"M350 420 C310 400 300 180 350 152", "poll", 296, 240, false},
	{"M760 250 C740 200 660 130 590 120", "poll", 720, 190, false},
	{"M920 440 C980 300 900 90 590 80", "poll; released files", 850, 130, false},
	{"M460 420 V362", "sheet, roll", 500, 396, false},
	{"M590 440 C640 430 640 340 680 330", "pseudonyms", 640, 410, false},
	{"M800 420 V362", "workspace key", 852, 396, false},
	{"M590 490 H680", "sealed files", 635, 482, true},
	{"M50 136 V562 H800 V532", "named persons, through the enclave's own front door", 425, 557, false},
}

func draw() string {
	var b strings.Builder
	b.WriteString(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 600" role="img" aria-labelledby="t d">
<title id="t">Zones of Mitral and their connections</title>
<desc id="d">Inner zones dial out to the portal; nothing dials in to trust, vault or engine except agents and the zones named.</desc>
<style>
text{font:14px system-ui,sans-serif;fill:#1d2733}.name{font-weight:700;font-size:17px}.role{fill:#4a5a6a;font-size:13px;font-weight:400}
.never{fill:#8a2f2f;font-size:13px}.line{font-size:13px}.edge{font-size:12px;fill:#4a5a6a;text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:4px}
.outside{fill:#f4f5f7;stroke:#8693a0}.public{fill:#e6f2f0;stroke:#0f6b5c;stroke-width:2}.inner{fill:#fff;stroke:#0f6b5c;stroke-width:2}
path{fill:none;stroke:#33475b;stroke-width:1.5}.dash{stroke-dasharray:6 4}
</style>
<defs><marker id="a" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" style="fill:#33475b;stroke:none"/></marker></defs>
<rect width="960" height="600" fill="#fff"/>
`)
	for _, a := range arrows {
		class := ""
		if a.dashed {
			class = ` class="dash"`
		}
		fmt.Fprintf(&b, "<path d=\"%s\"%s marker-end=\"url(#a)\"/>\n", a.points, class)
	}
	for _, x := range boxes {
		fmt.Fprintf(&b, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n", x.class, x.x, x.y, x.w, x.h)
		fmt.Fprintf(&b, "<text class=\"name\" x=\"%d\" y=\"%d\">%s <tspan class=\"role\">%s</tspan></text>\n", x.x+12, x.y+24, html.EscapeString(x.name), html.EscapeString(x.role))
		never := false
		for i, l := range x.lines {
			never = never || strings.HasPrefix(l, "never:")
			class := "line"
			if never {
				class = "never"
			}
			fmt.Fprintf(&b, "<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", class, x.x+12, x.y+46+i*18, html.EscapeString(l))
		}
	}
	for _, a := range arrows {
		fmt.Fprintf(&b, "<text class=\"edge\" x=\"%d\" y=\"%d\">%s</text>\n", a.x, a.y, html.EscapeString(a.label))
	}
	b.WriteString("<text class=\"role\" x=\"20\" y=\"592\">Arrows: who opens the connection (mutual TLS between zones). Dashed: sealed files in a shared directory, no connection.</text>\n</svg>\n")
	return b.String()
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: picture FILE.svg")
	}
	if err := os.WriteFile(os.Args[1], []byte(draw()), 0o644); err != nil {
		log.Fatal(err)
	}
}
