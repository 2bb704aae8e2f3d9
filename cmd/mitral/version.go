package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
)

type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

func (c *versionCmd) Run() error {
	v := struct {
		Version  string `json:"version"`
		Revision string `json:"revision"`
		Time     string `json:"time"`
		Modified bool   `json:"modified"`
		Go       string `json:"go"`
	}{Version: "0.1.0-dev"}
	if b, ok := debug.ReadBuildInfo(); ok {
		v.Go = b.GoVersion
		for _, s := range b.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.time":
				v.Time = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(v)
	}
	fmt.Printf("mitral %s %.12s %s %s\n", v.Version, v.Revision, v.Time, v.Go)
	return nil
}
