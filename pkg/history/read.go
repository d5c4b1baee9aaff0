package history

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
)

// Query says which records to read.
type Query struct {
	Root   string
	Kinds  []string
	Since  time.Time // zero: from the first on
	Until  time.Time // exclusive; zero: to the last
	Before int64     // of IDs; 0 for any
	Limit  int       // the newest so many

	// Step leaves one of the records of a kind that fall into the same step since 1970: the highest. 0 leaves all.
	Step time.Duration
}

// Read returns records, oldest first.
func (s *Store) Read(ctx context.Context, q Query) ([]Record, error) {
	var all []Record
	err := s.Each(ctx, q, func(r Record) error {
		all = append(all, r)
		return nil
	})
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all, err
}

// Each hands records over, newest first, until one is refused.
func (s *Store) Each(ctx context.Context, q Query, f func(Record) error) error {
	if len(q.Kinds) == 0 {
		return errors.New("history: no kinds are asked for")
	}
	where, args := q.where()
	text := "SELECT id, at, root, kind, topic, payload, refused, height FROM messages WHERE "
	if step := q.Step.Milliseconds(); step > 0 {
		// Of a group SQLite takes the id from the row that has the maximum: https://www.sqlite.org/lang_select.html#bareagg
		text += "id IN (SELECT id FROM (SELECT id, max(height) FROM messages WHERE " + where + " GROUP BY kind, at / ?))"
		args = append(args, step)
	} else {
		text += where
	}
	if len(q.Kinds) == 1 {
		text += " ORDER BY at DESC, id DESC" // as the index has them
	} else {
		text += " ORDER BY id DESC"
	}
	if q.Limit > 0 {
		text, args = text+" LIMIT ?", append(args, q.Limit)
	}
	rows, err := s.db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	return errors.Join(each(rows, f), rows.Close())
}

func (q Query) where() (text string, args []any) {
	text, args = "root = ? AND kind IN (?"+strings.Repeat(", ?", len(q.Kinds)-1)+")", []any{q.Root}
	for _, kind := range q.Kinds {
		args = append(args, kind)
	}
	if !q.Since.IsZero() {
		text, args = text+" AND at >= ?", append(args, q.Since.UnixMilli())
	}
	if !q.Until.IsZero() {
		text, args = text+" AND at < ?", append(args, q.Until.UnixMilli())
	}
	if q.Before > 0 {
		text, args = text+" AND id < ?", append(args, q.Before)
	}
	return text, args
}

func each(rows *sql.Rows, f func(Record) error) error {
	for rows.Next() {
		var r Record
		var at int64
		if err := rows.Scan(&r.ID, &at, &r.Root, &r.Kind, &r.Topic, &r.Payload, &r.Refused, &r.Height); err != nil {
			return err
		}
		r.At = time.UnixMilli(at)
		if err := f(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Roots are the servers that there is something about since a time.
func (s *Store) Roots(ctx context.Context, since time.Time) ([]string, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT DISTINCT root FROM messages WHERE root != '' AND at >= ? ORDER BY root", since.UnixMilli())
	if err != nil {
		return nil, err
	}
	var all []string
	for rows.Next() {
		var root string
		if err := rows.Scan(&root); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		all = append(all, root)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}
