package engine

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mitral-health/mitral/internal/contract"
	"github.com/mitral-health/mitral/internal/engine/duck"
	"github.com/mitral-health/mitral/internal/engine/lake"
	"github.com/mitral-health/mitral/internal/kit/ledger"
	"github.com/mitral-health/mitral/internal/kit/store"
)

// auditDir holds statements of the data engineer until the zone has written them to its ledger.
const auditDir = "sql-audit"

// PersonKey is the column that stands for the person in the data engineer's views. It joins tables within
// one statement and means nothing outside it.
const PersonKey = "person"

// audited is one statement as it waits for the ledger.
type audited struct {
	At        time.Time       `json:"at"`
	User      string          `json:"user"`
	Statement contract.Digest `json:"statement"`
}

// SQL runs one SELECT of the data engineer over the lake's present snapshot and writes the result to w as a
// table, or as one JSON object for each row. Tables are called holder.dataset.table; hub pseudonyms are
// replaced by a number that is another one in each statement. The statement is noted for the ledger before
// it runs: the zone, when it runs, picks the note up.
func SQL(ctx context.Context, engineDir, query string, w io.Writer, asJSON bool) error {
	l, err := lake.Open(filepath.Join(engineDir, "lake"), filepath.Join(engineDir, "tmp"), lake.Options{})
	if err != nil {
		return err
	}
	snapshot, err := l.Snapshot()
	if err != nil {
		return err
	}
	salt := make([]byte, 16)
	rand.Read(salt)
	temp, err := os.MkdirTemp("", "mitral-sql-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	db, err := duck.Open(ctx, duck.Options{Dirs: []string{l.Dir()}, Temp: temp, Prepare: views(snapshot, hex.EncodeToString(salt))})
	if err != nil {
		return err
	}
	defer db.Close()
	if err := onlyViews(ctx, db, snapshot, query); err != nil {
		return err
	}
	if err := noteStatement(engineDir, query); err != nil {
		return fmt.Errorf("the statement was not run, because it could not be noted for the ledger: %w", err)
	}
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	if asJSON {
		return writeJSON(rows, w)
	}
	return writeTable(rows, w)
}

// views makes one view for each table: catalog of the holder, schema of the dataset.
func views(s *lake.Snapshot, salt string) []string {
	var out []string
	holders := map[string]bool{}
	for _, m := range s.Datasets() {
		if !holders[m.Holder] {
			holders[m.Holder] = true
			out = append(out, "ATTACH ':memory:' AS "+duck.Ident(m.Holder))
		}
		schema := duck.Ident(m.Holder) + "." + duck.Ident(m.Dataset)
		out = append(out, "CREATE SCHEMA "+schema)
		for i := range m.Tables {
			t := &m.Tables[i]
			var columns []string
			if t.Keyed {
				columns = append(columns, "hash("+lake.PersonColumn+", "+duck.Text(salt)+") AS "+PersonKey)
			}
			for _, c := range t.Columns {
				columns = append(columns, duck.Ident(c.Name))
			}
			out = append(out, "CREATE VIEW "+schema+"."+duck.Ident(t.Name)+" AS SELECT "+strings.Join(columns, ", ")+" FROM "+duck.Parquet(m.Files(t)))
		}
	}
	return out
}

// onlyViews refuses what is not one SELECT over the views: DuckDB's own parser turns the statement into a
// tree, in which no table function and no file may stand.
func onlyViews(ctx context.Context, db *duck.DB, s *lake.Snapshot, query string) error {
	var text string
	if err := db.QueryRowContext(ctx, "SELECT CAST(json_serialize_sql("+duck.Text(query)+"::VARCHAR) AS VARCHAR)").Scan(&text); err != nil {
		return fmt.Errorf("the statement cannot be read: %w", err)
	}
	var tree struct {
		Error        bool              `json:"error"`
		ErrorMessage string            `json:"error_message"`
		Statements   []json.RawMessage `json:"statements"`
	}
	if err := json.Unmarshal([]byte(text), &tree); err != nil {
		return err
	}
	if tree.Error {
		return contract.Refuse("invalid", "only SELECT statements are allowed: %s", tree.ErrorMessage)
	}
	if len(tree.Statements) != 1 {
		return contract.Refuse("invalid", "one statement at a time")
	}
	var node any
	if err := json.Unmarshal(tree.Statements[0], &node); err != nil {
		return err
	}
	allowed := map[string]bool{}
	for _, m := range s.Datasets() {
		for _, t := range m.Tables {
			allowed[strings.ToLower(m.Holder+"."+m.Dataset+"."+t.Name)] = true
		}
	}
	named := map[string]bool{}
	_ = walk(node, func(n map[string]any) error {
		if list, ok := n["cte_map"].(map[string]any); ok {
			entries, _ := list["map"].([]any)
			for _, e := range entries {
				if entry, ok := e.(map[string]any); ok {
					name, _ := entry["key"].(string)
					named[strings.ToLower(name)] = true
				}
			}
		}
		return nil
	})
	return walk(node, func(n map[string]any) error { return checkSource(n, allowed, named) })
}

// allowedTableFunctions read nothing.
var allowedTableFunctions = map[string]bool{"range": true, "generate_series": true, "unnest": true}

// checkSource refuses a source of rows that is neither a view (allowed) nor named by the statement's own
// WITH.
func checkSource(n map[string]any, allowed, named map[string]bool) error {
	switch n["type"] {
	case "TABLE_FUNCTION":
		f, _ := n["function"].(map[string]any)
		if name, _ := f["function_name"].(string); !allowedTableFunctions[strings.ToLower(name)] {
			return contract.Refuse("out_of_scope", "table function %q is not allowed: use the views holder.dataset.table", name)
		}
	case "BASE_TABLE":
		catalog, _ := n["catalog_name"].(string)
		schema, _ := n["schema_name"].(string)
		table, _ := n["table_name"].(string)
		if catalog == "" && schema == "" && named[strings.ToLower(table)] {
			return nil
		}
		if full := catalog + "." + schema + "." + table; !allowed[strings.ToLower(full)] {
			return contract.Refuse("out_of_scope", "%q is not a table of the lake: write holder.dataset.table", strings.TrimLeft(full, "."))
		}
	}
	return nil
}

// walk visits every object of a JSON tree.
func walk(node any, visit func(map[string]any) error) error {
	switch n := node.(type) {
	case []any:
		for _, child := range n {
			if err := walk(child, visit); err != nil {
				return err
			}
		}
	case map[string]any:
		if err := visit(n); err != nil {
			return err
		}
		for _, child := range n {
			if err := walk(child, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func noteStatement(engineDir, query string) error {
	dir := filepath.Join(engineDir, auditDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	user := os.Getenv("SUDO_USER")
	if user == "" {
		user = os.Getenv("USER")
	}
	b, err := json.Marshal(audited{At: time.Now().UTC(), User: user, Statement: contract.DigestOf([]byte(query))})
	if err != nil {
		return err
	}
	// The text itself stays here: it may name values, and the ledger is public.
	log, err := os.OpenFile(filepath.Join(engineDir, "sql.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	line, err := json.Marshal(map[string]string{"at": time.Now().UTC().Format(time.RFC3339), "user": user, "statement": query})
	if err == nil {
		_, err = log.Write(append(line, '\n'))
	}
	if err := errors.Join(err, log.Sync(), log.Close()); err != nil {
		return err
	}
	return lake.WriteFile(filepath.Join(dir, contract.NewID("sql")+".json"), b)
}

// collectAudit writes noted statements to the ledger.
func (m *Main) collectAudit(ctx context.Context) error {
	entries, err := os.ReadDir(m.cfg.audit())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || !contract.ValidName(id) {
			continue
		}
		path := filepath.Join(m.cfg.audit(), e.Name())
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var a audited
		outcome := "done"
		if err := json.Unmarshal(b, &a); err != nil {
			outcome = "unreadable"
		}
		err = m.db.InTx(ctx, func(tx *store.Tx) error {
			// The note's own id: should the process die before the file is removed, it is recorded once.
			return m.ledger.Record(ctx, tx, ledger.Entry{ID: id, Actor: "operator/" + a.User, Action: "sql.statement", Target: "lake", Outcome: outcome, At: a.At,
				Details: map[string]any{"statement": string(a.Statement)}})
		})
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// scanRow reads the current row; values are nil, string, number, bool or time.
func scanRow(rows *sql.Rows, n int) ([]any, error) {
	values, into := make([]any, n), make([]any, n)
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	for i, v := range values {
		switch x := v.(type) {
		case time.Time:
			values[i] = strings.TrimSuffix(x.UTC().Format(time.DateTime), " 00:00:00")
		case []byte:
			values[i] = hex.EncodeToString(x)
		}
	}
	return values, nil
}

func writeJSON(rows *sql.Rows, w io.Writer) error {
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	for rows.Next() {
		values, err := scanRow(rows, len(columns))
		if err != nil {
			return err
		}
		row := make(map[string]any, len(columns))
		for i, c := range columns {
			row[c] = values[i]
		}
		if err := enc.Encode(row); err != nil {
			return err
		}
	}
	return rows.Err()
}

func writeTable(rows *sql.Rows, w io.Writer) error {
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(columns, "\t"))
	for rows.Next() {
		values, err := scanRow(rows, len(columns))
		if err != nil {
			return err
		}
		text := make([]string, len(values))
		for i, v := range values {
			if v != nil {
				text[i] = strings.NewReplacer("\t", " ", "\n", " ").Replace(fmt.Sprint(v))
			}
		}
		fmt.Fprintln(tw, strings.Join(text, "\t"))
	}
	return errors.Join(rows.Err(), tw.Flush())
}
