package catalogue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/custom"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/keyword"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/simple"
	"github.com/blevesearch/bleve/v2/analysis/char/asciifolding"
	"github.com/blevesearch/bleve/v2/analysis/lang/en"
	"github.com/blevesearch/bleve/v2/analysis/lang/fi"
	"github.com/blevesearch/bleve/v2/analysis/lang/fr"
	"github.com/blevesearch/bleve/v2/analysis/token/lowercase"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/single"
	bleveunicode "github.com/blevesearch/bleve/v2/analysis/tokenizer/unicode"
	"github.com/blevesearch/bleve/v2/mapping"

	"github.com/mitral-health/mitral/internal/kit/i18n"
)

// languages that texts are analysed in.
var languages = []string{"en", "fr", "fi"}

// Kinds of document in the index.
const (
	kindDataset  = "dataset"
	kindVariable = "variable"
	kindCode     = "code"
)

// indexVersion changes when the mapping does; an index of another version is built again.
const indexVersion = "2"

// Analysers of our own: a name as a whole, and words as they are written but without case and accents,
// for typing errors and beginnings of words.
const (
	exactName  = "exact_name"
	plainWords = "plain_words"
)

// indexMapping describes one document type with the fields of all three kinds. Texts are analysed in
// their own language; locations are kept so that matches can be shown.
func indexMapping() (mapping.IndexMapping, error) {
	m := bleve.NewIndexMapping()
	if err := m.AddCustomAnalyzer(exactName, map[string]any{
		"type": custom.Name, "tokenizer": single.Name, "token_filters": []string{lowercase.Name},
	}); err != nil {
		return nil, err
	}
	if err := m.AddCustomAnalyzer(plainWords, map[string]any{
		"type": custom.Name, "char_filters": []string{asciifolding.Name}, "tokenizer": bleveunicode.Name, "token_filters": []string{lowercase.Name},
	}); err != nil {
		return nil, err
	}
	d := bleve.NewDocumentStaticMapping()
	d.AddSubDocumentMapping("_all", bleve.NewDocumentDisabledMapping()) // each query names its fields
	field := func(name, analyzer string, store, vectors bool) {
		f := bleve.NewTextFieldMapping()
		f.Analyzer, f.Store, f.IncludeTermVectors, f.IncludeInAll, f.DocValues = analyzer, store, vectors, false, false
		d.AddFieldMappingsAt(name, f)
	}
	for _, name := range []string{"kind", "dataset", "holder", "table", "list", "category", "system"} {
		f := bleve.NewKeywordFieldMapping()
		f.Analyzer, f.IncludeInAll = keyword.Name, false
		d.AddFieldMappingsAt(name, f)
	}
	for _, name := range []string{"from", "to"} {
		f := bleve.NewNumericFieldMapping()
		f.IncludeInAll = false
		d.AddFieldMappingsAt(name, f)
	}
	field("name", exactName, true, true)
	field("parts", simple.Name, false, false)
	field("words", plainWords, false, false)
	for lang, analyzer := range map[string]string{"en": en.AnalyzerName, "fr": fr.AnalyzerName, "fi": fi.AnalyzerName} {
		field("title_"+lang, analyzer, true, true)
		field("text_"+lang, analyzer, false, false)
	}
	m.DefaultMapping = d
	return m, nil
}

// openIndex opens the index in dir, or makes an empty one; fresh says that it has to be filled.
func openIndex(dir string) (ix bleve.Index, fresh bool, err error) {
	ix, err = bleve.Open(dir)
	if err == nil {
		v, verr := ix.GetInternal([]byte("version"))
		if verr == nil && string(v) == indexVersion {
			return ix, false, nil
		}
		ix.Close()
	}
	// The index can be rebuilt from the store at any time, so one that does not open is thrown away.
	if err := os.RemoveAll(dir); err != nil {
		return nil, false, fmt.Errorf("search index: %w", err)
	}
	m, err := indexMapping()
	if err != nil {
		return nil, false, fmt.Errorf("search index: %w", err)
	}
	ix, err = bleve.New(dir, m)
	if err != nil {
		return nil, false, fmt.Errorf("search index: %w", err)
	}
	return ix, true, nil
}

type document map[string]any

func (d document) text(prefix string, t Text) {
	for l := range t {
		words, _ := d["words"].(string)
		d["words"] = words + "\n" + t[l]
	}
	for _, l := range languages {
		if t[l] != "" {
			d[prefix+"_"+l] = t[l]
		}
	}
	// Other languages are found through the English analyser's plain words.
	for l, s := range t {
		if s != "" && l != "en" && l != "fr" && l != "fi" && t["en"] == "" {
			d[prefix+"_en"] = s
		}
	}
}

// indexDataset replaces all documents of one dataset by those of its published version, or removes
// them when it is not visible. Doing it twice changes nothing.
func (c *Catalogue) indexDataset(ctx context.Context, holder, dataset string) error {
	id := holder + "/" + dataset
	old, err := c.documentsOf(ctx, id)
	if err != nil {
		return err
	}
	docs := map[string]document{}
	e, err := c.Published(ctx, holder, dataset)
	switch {
	case err == nil:
		docs = c.documents(e)
	case !errors.Is(err, ErrUnknown):
		return err
	}
	b := c.index.NewBatch()
	for _, o := range old {
		if _, stays := docs[o]; !stays {
			b.Delete(o)
		}
	}
	for key, d := range docs {
		if err := b.Index(key, d); err != nil {
			return fmt.Errorf("index %s: %w", id, err)
		}
		if b.Size() >= batchSize {
			if err := c.index.Batch(b); err != nil {
				return fmt.Errorf("index %s: %w", id, err)
			}
			b.Reset()
		}
	}
	if err := c.index.Batch(b); err != nil {
		return fmt.Errorf("index %s: %w", id, err)
	}
	return nil
}

func (c *Catalogue) documentsOf(ctx context.Context, id string) ([]string, error) {
	q := bleve.NewTermQuery(id)
	q.SetField("dataset")
	req := bleve.NewSearchRequestOptions(q, maxVariables+1, 0, false)
	req.Score = "none"
	res, err := c.index.SearchInContext(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", id, err)
	}
	ids := make([]string, len(res.Hits))
	for i, h := range res.Hits {
		ids[i] = h.ID
	}
	return ids, nil
}

// documents of one dataset: itself and each of its variables.
func (c *Catalogue) documents(e *Entry) map[string]document {
	d, id := e.Description, e.Identifier()
	docs := make(map[string]document, d.VariableCount()+1)
	ds := document{"kind": kindDataset, "dataset": id, "holder": d.Holder, "name": d.Dataset, "parts": d.Holder + " " + d.Dataset,
		"category": d.Categories, "system": d.CodingSystems}
	if y, err := strconv.Atoi(prefix(d.Period.From, 4)); err == nil {
		ds["from"] = y
		ds["to"] = 9999
	}
	if y, err := strconv.Atoi(prefix(d.Period.To, 4)); err == nil {
		ds["to"] = y
	}
	ds.text("title", d.Title)
	body := Text{}
	for _, lang := range languages {
		parts := append([]string{d.Description[lang], d.Purpose[lang], d.Population[lang], d.Publisher.Name[lang], strings.Join(d.CodingSystems, " ")}, d.Keywords[lang]...)
		for _, t := range d.Tables {
			parts = append(parts, t.Title[lang])
		}
		// The labels of closed lists carry a query across languages: "cancer" finds a dataset that is
		// described in Finnish only.
		for _, x := range d.Categories {
			parts = append(parts, c.label(lang, i18n.Key("catalogue.category.", x)))
		}
		for _, x := range d.Themes {
			parts = append(parts, c.label(lang, i18n.Key("catalogue.theme.", x)))
		}
		if d.Type != "" {
			parts = append(parts, c.label(lang, i18n.Key("catalogue.type.", d.Type)))
		}
		body[lang] = strings.Join(parts, "\n")
	}
	ds.text("text", body)
	docs["d:"+id] = ds
	for _, t := range d.Tables {
		for _, v := range t.Variables {
			vd := document{"kind": kindVariable, "dataset": id, "table": t.Name, "name": v.Name, "parts": t.Name + " " + v.Name}
			if v.CodeList != "" {
				vd["list"] = v.CodeList
			}
			vd.text("title", v.Title)
			vd.text("text", v.Description)
			docs["v:"+id+"/"+t.Name+"/"+v.Name] = vd
		}
	}
	return docs
}

// maxIndexedCodes is the longest code list whose entries are searched one by one; longer ones (dates,
// municipalities, tariffs) are looked up on the list's own page.
const maxIndexedCodes = 20_000

// batchSize is how many documents are added at once: more are faster, and need more memory.
const batchSize = 2000

// indexCodeLists replaces the documents of code lists.
func (c *Catalogue) indexCodeLists(ctx context.Context, names []string) error {
	b := c.index.NewBatch()
	for _, name := range names {
		l, err := c.CodeList(ctx, name)
		if err != nil {
			return err
		}
		if len(l.Codes) > maxIndexedCodes || !l.labelled() {
			continue
		}
		for i, code := range l.Codes {
			d := document{"kind": kindCode, "list": name, "name": code.Code}
			d.text("title", Text{"fr": code.Label})
			if err := b.Index("c:"+name+"/"+strconv.Itoa(i), d); err != nil {
				return fmt.Errorf("index code list %s: %w", name, err)
			}
			if b.Size() >= batchSize {
				if err := c.index.Batch(b); err != nil {
					return fmt.Errorf("index code list %s: %w", name, err)
				}
				b.Reset()
			}
		}
	}
	if err := c.index.Batch(b); err != nil {
		return fmt.Errorf("index code lists: %w", err)
	}
	debug.FreeOSMemory() // the one moment when the portal needs a lot; it is not needed again
	return nil
}

// rebuild fills an empty index from the store.
func (c *Catalogue) rebuild(ctx context.Context) error {
	records, err := selectRecords(ctx, c.db, "")
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Visible() {
			if err := c.indexDataset(ctx, r.Holder, r.Dataset); err != nil {
				return err
			}
		}
	}
	sizes, err := selectCodeListSizes(ctx, c.db)
	if err != nil {
		return err
	}
	if err := c.indexCodeLists(ctx, slices.Sorted(maps.Keys(sizes))); err != nil {
		return err
	}
	// Written last: an interrupted rebuild starts over.
	if err := c.index.SetInternal([]byte("version"), []byte(indexVersion)); err != nil {
		return fmt.Errorf("search index: %w", err)
	}
	return nil
}

func prefix(s string, n int) string { return s[:min(n, len(s))] }

// Reindex builds the whole index again from the store.
func (c *Catalogue) Reindex(ctx context.Context) error { return c.rebuild(ctx) }
