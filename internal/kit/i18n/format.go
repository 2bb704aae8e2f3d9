package i18n

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/text/collate"
	"golang.org/x/text/message"
	"golang.org/x/text/number"
)

// months in the case that a date needs: Finnish writes the partitive.
var months = map[string][12]string{
	"en": {"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"},
	"fr": {"janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"},
	"fi": {"tammikuuta", "helmikuuta", "maaliskuuta", "huhtikuuta", "toukokuuta", "kesäkuuta", "heinäkuuta", "elokuuta", "syyskuuta", "lokakuuta", "marraskuuta", "joulukuuta"},
}

// Date writes a day in words: "14 March 2026", "1er mars 2026", "14. maaliskuuta 2026". The zero time
// is written as "–".
func (b *Bundle) Date(lang string, t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	t = t.In(b.Location)
	names, ok := months[lang]
	if !ok {
		lang, names = "en", months["en"]
	}
	day := fmt.Sprint(t.Day())
	switch {
	case lang == "fr" && t.Day() == 1:
		day = "1er"
	case lang == "fi":
		day += "."
	}
	return fmt.Sprintf("%s\u00a0%s %d", day, names[t.Month()-1], t.Year())
}

// DateTime writes day and minute: "14 March 2026, 10:05", "14 mars 2026 à 10:05", "14. maaliskuuta 2026 klo 10.05".
func (b *Bundle) DateTime(lang string, t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	local := t.In(b.Location)
	switch lang {
	case "fr":
		return b.Date(lang, t) + " à " + local.Format("15:04")
	case "fi":
		return b.Date(lang, t) + " klo " + local.Format("15.04")
	}
	return b.Date(lang, t) + ", " + local.Format("15:04")
}

// Number writes an integer or a fraction (at most three decimals) with the language's separators.
func (b *Bundle) Number(lang string, v any) string {
	return message.NewPrinter(tags[lang]).Sprint(number.Decimal(v, number.MaxFractionDigits(3)))
}

// SortFunc sorts items in the alphabetical order of a language by the text that name gives.
func SortFunc[E any](lang string, items []E, name func(E) string) {
	c := collate.New(tags[lang], collate.IgnoreCase) // a Collator keeps buffers: one per call
	slices.SortStableFunc(items, func(a, b E) int { return c.CompareString(name(a), name(b)) })
}
