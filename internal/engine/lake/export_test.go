package lake

import "errors"

// FailAt makes the lake stop at a stage of publishing, as if the process had died there; "" ends it.
func (l *Lake) FailAt(stage string) {
	l.fault = func(s string) error {
		if s == stage {
			return errors.New("fault at " + stage)
		}
		return nil
	}
}
