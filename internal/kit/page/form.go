package page

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Message is a message key with its arguments; templates show it with msg.
type Message struct {
	Key  string
	Args []any
}

// M builds a Message.
func M(key string, args ...any) *Message { return &Message{Key: key, Args: args} }

// FieldError is what is wrong with one field.
type FieldError struct {
	Field string
	Message
}

// Errors are the faults of a form in the order of its fields.
type Errors []FieldError

// Add notes a fault of a field: key is the message that says how to mend it.
func (e *Errors) Add(field, key string, args ...any) {
	*e = append(*e, FieldError{field, Message{key, args}})
}

// Of returns the first fault of a field, or nil.
func (e Errors) Of(field string) *Message {
	for i := range e {
		if e[i].Field == field {
			return &e[i].Message
		}
	}
	return nil
}

// Form is what a form shows again: the values as sent, and their faults. Embed it in a page's data; the
// layout then shows the error summary. Components take it as "form".
type Form struct {
	Values url.Values
	Errors Errors
}

// FormErrors lets the renderer find the errors of embedding data.
func (f Form) FormErrors() Errors { return f.Errors }

// Value is the first value of a field.
func (f Form) Value(field string) string { return f.Values.Get(field) }

// Has reports whether a field (checkbox, radio) holds value.
func (f Form) Has(field, value string) bool { return slices.Contains(f.Values[field], value) }

// Error is the first fault of a field, or nil.
func (f Form) Error(field string) *Message { return f.Errors.Of(field) }

// Bad notes a fault; see Errors.Add.
func (f *Form) Bad(field, key string, args ...any) { f.Errors.Add(field, key, args...) }

// fieldID is the id attribute of a field; the error summary links to it.
func fieldID(name string) string {
	return "f-" + strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || (r >= '0' && r <= '9') || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') {
			return r
		}
		return '-'
	}, name)
}

func (p *Renderer) text(lang string, m any) string {
	switch x := m.(type) {
	case nil:
		return ""
	case Message:
		return p.bundle.T(lang, x.Key, x.Args...)
	case *Message:
		if x == nil {
			return ""
		}
		return p.bundle.T(lang, x.Key, x.Args...)
	case FieldError:
		return p.bundle.T(lang, x.Key, x.Args...)
	}
	return fmt.Sprint(m)
}
