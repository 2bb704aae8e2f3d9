package catalogue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/query"
	"golang.org/x/text/unicode/norm"
)

// Search is what somebody looks for. Empty filters do not filter.
type Search struct {
	Text     string
	Lang     string // the reader's: texts in it weigh more
	Category string // letter of Art. 51(1)
	Holder   string
	System   string // coding system
	From, To int    // years that the dataset must overlap; 0 for open
	Page     int    // from 1
	PerPage  int    // 10 unless set
}

// Span is a piece of a text; Match marks what was looked for.
type Span struct {
	Text  string
	Match bool
}

// VariableHit is a variable that fits.
type VariableHit struct {
	Holder, Dataset, Table, Name string
	Title                        []Span
	CodeList                     string
	score                        float64
}

// DatasetHit is a dataset that fits, itself or by its variables.
type DatasetHit struct {
	Entry     *Entry
	Title     []Span
	Variables []VariableHit // the best, at most 5
	Matching  int           // number of variables that fit
	score     float64
}

// CodeHit is a code whose label fits.
type CodeHit struct {
	List, Code string
	Label      []Span
}

// FacetCount is one choice of a filter and how many datasets it would leave.
type FacetCount struct {
	Value string
	Count int
}

// Results of a search.
type Results struct {
	Total     int // datasets
	Variables int // variables in them that fit
	Datasets  []DatasetHit
	Codes     []CodeHit
	Loose     bool // not all words were found together; these fit some of them
	Facets    map[string][]FacetCount
	Page      int
	Pages     int
}

const (
	maxQuery        = 200
	maxWords        = 10
	variablesShown  = 5
	variablesLooked = 120
	codesShown      = 8
)

// Search finds datasets by their own texts and by those of their variables.
func (c *Catalogue) Search(ctx context.Context, s Search) (*Results, error) {
	if s.PerPage <= 0 || s.PerPage > 100 {
		s.PerPage = 10
	}
	s.Page = max(s.Page, 1)
	words := queryWords(s.Text)
	res, err := c.find(ctx, s, words, false)
	if err == nil && res.Total == 0 && len(words) > 1 {
		res, err = c.find(ctx, s, words, true)
		if err == nil {
			res.Loose = res.Total > 0
		}
	}
	return res, err
}

func (c *Catalogue) find(ctx context.Context, s Search, words []string, loose bool) (*Results, error) {
	res := &Results{Facets: map[string][]FacetCount{}, Page: s.Page}
	hits := map[string]*DatasetHit{}
	own, err := c.run(ctx, kindDataset, s.Lang, words, loose, 10_000)
	if err != nil {
		return nil, err
	}
	for _, h := range own.Hits {
		id := fmt.Sprint(h.Fields["dataset"])
		hits[id] = &DatasetHit{score: 2 * h.Score, Title: highlight(h, s.Lang)}
	}
	if len(words) > 0 {
		vars, err := c.run(ctx, kindVariable, s.Lang, words, loose, variablesLooked)
		if err != nil {
			return nil, err
		}
		for _, f := range vars.Facets["dataset"].Terms.Terms() {
			h := hits[f.Term]
			if h == nil {
				h = &DatasetHit{}
				hits[f.Term] = h
			}
			h.Matching = f.Count
		}
		for _, v := range vars.Hits {
			h := hits[fmt.Sprint(v.Fields["dataset"])]
			if h == nil || len(h.Variables) >= variablesShown {
				continue
			}
			holder, dataset, _ := strings.Cut(fmt.Sprint(v.Fields["dataset"]), "/")
			vh := VariableHit{Holder: holder, Dataset: dataset, Table: fmt.Sprint(v.Fields["table"]), Name: fmt.Sprint(v.Fields["name"]), Title: highlight(v, s.Lang), score: v.Score}
			if l, ok := v.Fields["list"].(string); ok {
				vh.CodeList = l
			}
			if len(h.Variables) == 0 {
				h.score += v.Score
			}
			h.Variables = append(h.Variables, vh)
		}
		if err := c.findCodes(ctx, s, words, loose, res); err != nil {
			return nil, err
		}
	}
	published, err := c.recentEntries(ctx, recentFor)
	if err == nil && slices.ContainsFunc(slices.Collect(mapKeys(hits)), func(id string) bool { return published[id] == nil }) {
		published, err = c.recentEntries(ctx, 0) // the index knows something newer
	}
	if err != nil {
		return nil, err
	}
	addUsers(hits, published, res.Codes, s.Lang)
	list := make([]DatasetHit, 0, len(hits))
	for id, h := range hits {
		if h.Entry = published[id]; h.Entry != nil { // else withdrawn a moment ago: the index follows
			list = append(list, *h)
		}
	}
	for _, facet := range []string{"category", "holder", "system"} {
		res.Facets[facet] = countFacet(list, s, facet)
	}
	list = slices.DeleteFunc(list, func(h DatasetHit) bool { return !s.admits(h.Entry, "") })
	slices.SortFunc(list, func(a, b DatasetHit) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.Entry.Identifier(), b.Entry.Identifier()))
	})
	for _, h := range list {
		res.Variables += h.Matching
	}
	res.Total = len(list)
	res.Pages = (len(list) + s.PerPage - 1) / s.PerPage
	from := min((s.Page-1)*s.PerPage, len(list))
	res.Datasets = list[from:min(from+s.PerPage, len(list))]
	return res, nil
}

// addUsers adds the variables that are coded with a list in which a code fits: who looks for "diabetes"
// means the datasets with diagnoses as well.
func addUsers(hits map[string]*DatasetHit, published map[string]*Entry, codes []CodeHit, lang string) {
	lists := map[string]bool{}
	for _, c := range codes {
		lists[c.List] = true
		for common, origin := range commonLists {
			if c.List == origin {
				lists[common] = true
			}
		}
	}
	if len(lists) == 0 {
		return
	}
	for id, e := range published {
		h := hits[id]
		for _, t := range e.Tables {
			for _, v := range t.Variables {
				if !lists[v.CodeList] {
					continue
				}
				if h == nil {
					h = &DatasetHit{} // score 0: after those that say it themselves
					hits[id] = h
				}
				known := slices.ContainsFunc(h.Variables, func(x VariableHit) bool { return x.Table == t.Name && x.Name == v.Name })
				if known || len(h.Variables) >= variablesShown {
					continue
				}
				title, _ := v.Title.In(lang)
				h.Variables = append(h.Variables, VariableHit{Holder: e.Holder, Dataset: e.Dataset, Table: t.Name, Name: v.Name, Title: []Span{{Text: title}}, CodeList: v.CodeList})
				h.Matching = max(h.Matching, len(h.Variables))
			}
		}
	}
}

// admits applies the filters but the one called except, so that a facet counts what each of its
// choices would give.
func (s Search) admits(e *Entry, except string) bool {
	d := e.Description
	from, to := e.Years()
	return (s.Category == "" || except == "category" || slices.Contains(d.Categories, s.Category)) &&
		(s.Holder == "" || except == "holder" || d.Holder == s.Holder) &&
		(s.System == "" || except == "system" || slices.Contains(d.CodingSystems, s.System)) &&
		(s.From == 0 || to >= s.From) && (s.To == 0 || (from > 0 && from <= s.To))
}

func countFacet(list []DatasetHit, s Search, facet string) []FacetCount {
	counts := map[string]int{}
	for _, h := range list {
		if !s.admits(h.Entry, facet) {
			continue
		}
		var values []string
		switch facet {
		case "category":
			values = h.Entry.Description.Categories
		case "holder":
			values = []string{h.Entry.Description.Holder}
		case "system":
			values = h.Entry.Description.CodingSystems
		}
		for _, v := range values {
			counts[v]++
		}
	}
	var out []FacetCount
	for v, n := range counts {
		out = append(out, FacetCount{v, n})
	}
	slices.SortFunc(out, func(a, b FacetCount) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value)) })
	return out
}

func (c *Catalogue) findCodes(ctx context.Context, s Search, words []string, loose bool, res *Results) error {
	codes, err := c.run(ctx, kindCode, s.Lang, words, loose, codesShown)
	if err != nil {
		return err
	}
	for _, h := range codes.Hits {
		res.Codes = append(res.Codes, CodeHit{List: fmt.Sprint(h.Fields["list"]), Code: fmt.Sprint(h.Fields["name"]), Label: highlight(h, "fr")})
	}
	return nil
}

func (c *Catalogue) run(ctx context.Context, kind, lang string, words []string, loose bool, size int) (*bleve.SearchResult, error) {
	k := bleve.NewTermQuery(kind)
	k.SetField("kind")
	k.SetBoost(0)
	q := bleve.NewConjunctionQuery(k)
	if len(words) > 0 {
		var each []query.Query
		for i, w := range words {
			each = append(each, wordQuery(w, lang, i == len(words)-1))
		}
		if loose {
			q.AddQuery(bleve.NewDisjunctionQuery(each...))
		} else {
			q.AddQuery(each...)
		}
	}
	req := bleve.NewSearchRequestOptions(q, size, 0, false)
	req.Fields = []string{"dataset", "table", "name", "list", "title_en", "title_fr", "title_fi"}
	req.IncludeLocations = len(words) > 0
	if kind == kindVariable {
		req.AddFacet("dataset", bleve.NewFacetRequest("dataset", 1000))
	}
	res, err := c.index.SearchInContext(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return res, nil
}

// wordQuery finds one word: exactly by name, by stem in any language, with a typing error in longer
// words, and as the beginning of a name or, for the last word, of any word.
func wordQuery(w, lang string, last bool) query.Query {
	lower, n := strings.ToLower(w), utf8.RuneCountInString(w)
	var alternatives []query.Query
	add := func(q interface {
		query.Query
		SetField(string)
		SetBoost(float64)
	}, field string, boost float64) {
		q.SetField(field)
		q.SetBoost(boost)
		alternatives = append(alternatives, q)
	}
	add(bleve.NewTermQuery(lower), "name", 8)
	add(bleve.NewMatchQuery(w), "parts", 2)
	if n >= 2 {
		add(bleve.NewPrefixQuery(lower), "name", 2)
	}
	for _, l := range languages {
		weight := 1.0
		if l == lang {
			weight = 1.5
		}
		add(bleve.NewMatchQuery(w), "title_"+l, 4*weight)
		add(bleve.NewMatchQuery(w), "text_"+l, weight)
	}
	add(bleve.NewMatchQuery(w), "words", 1) // without accents
	if last && n >= 3 {
		add(bleve.NewPrefixQuery(fold(lower)), "words", 0.5)
	}
	if n >= 5 && !strings.ContainsFunc(w, unicode.IsDigit) {
		f := bleve.NewMatchQuery(w)
		f.SetPrefix(1)
		f.SetFuzziness(1)
		if n >= 8 {
			f.SetFuzziness(2)
		}
		add(f, "words", 0.3)
	}
	return bleve.NewDisjunctionQuery(alternatives...)
}

// fold takes the accents off, as the analyser of plain words does.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s))
}

// queryWords cuts what was typed into words; anything else than letters, digits and '_' separates, and
// words that mean nothing in a search are left out when others remain.
func queryWords(s string) []string {
	if len(s) > maxQuery {
		s = strings.ToValidUTF8(s[:maxQuery], "")
	}
	all := strings.FieldsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && !unicode.Is(unicode.M, r)
	})
	words := slices.DeleteFunc(slices.Clone(all), func(w string) bool { return stopWords[strings.ToLower(w)] })
	if len(words) == 0 {
		words = all
	}
	return words[:min(len(words), maxWords)]
}

// stopWords of the three languages that people type between the words they mean. The analysers drop
// them from the texts, so that asking for them would find nothing.
var stopWords = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`a an and at by for from in of on or the to with
		au aux avec d de des du en et l la le les ou par pour sur un une
		ja tai on ei että`) {
		m[w] = true
	}
	return m
}()

// highlight returns the title that matched, else the reader's, in spans.
func highlight(h *search.DocumentMatch, lang string) []Span {
	for _, l := range []string{lang, "en", "fr", "fi"} {
		title, ok := h.Fields["title_"+l].(string)
		if !ok {
			continue
		}
		if locations := h.Locations["title_"+l]; len(locations) > 0 {
			return spans(title, locations)
		}
	}
	for _, l := range []string{lang, "en", "fr", "fi"} {
		if title, ok := h.Fields["title_"+l].(string); ok && title != "" {
			return []Span{{Text: title}}
		}
	}
	return nil
}

func spans(text string, terms search.TermLocationMap) []Span {
	var marks [][2]int
	for _, locs := range terms {
		for _, l := range locs {
			if int(l.End) <= len(text) && l.Start < l.End {
				marks = append(marks, [2]int{int(l.Start), int(l.End)})
			}
		}
	}
	slices.SortFunc(marks, func(a, b [2]int) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(b[1], a[1])) })
	var out []Span
	at := 0
	for _, m := range marks {
		if m[0] < at {
			continue
		}
		if m[0] > at {
			out = append(out, Span{Text: text[at:m[0]]})
		}
		out = append(out, Span{Text: text[m[0]:m[1]], Match: true})
		at = m[1]
	}
	if at < len(text) {
		out = append(out, Span{Text: text[at:]})
	}
	return out
}
