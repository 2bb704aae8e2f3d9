package provision

// OnStage calls f at the named stages of a run; an error ends it there.
func OnStage(r *Run, f func(stage string) error) { r.fault = f }
