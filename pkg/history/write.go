package history

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// write keeps what is queued, as much at a time as there is: a message alone is on disk at once.
func (s *Store) write(ctx context.Context) {
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	s.prune(time.Now())
	var batch []Record
	for {
		select {
		case r := <-s.queue:
			batch = s.gather(append(batch, r))
			batch = s.keep(ctx, batch)
		case now := <-prune.C:
			s.prune(now)
		case <-ctx.Done():
			for len(s.queue) > 0 {
				if batch = s.gather(batch); s.insert(batch) != nil {
					return
				}
				batch = batch[:0]
			}
			return
		}
	}
}

func (s *Store) gather(batch []Record) []Record {
	for len(batch) < batchLen {
		select {
		case r := <-s.queue:
			batch = append(batch, r)
		default:
			return batch
		}
	}
	return batch
}

// keep tries until it works or ctx ends. Meanwhile the queue gives up its oldest.
func (s *Store) keep(ctx context.Context, batch []Record) []Record {
	for {
		err := s.insert(batch)
		if err == nil {
			return batch[:0]
		}
		s.complain(err)
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
			return batch[:0]
		}
	}
}

func (s *Store) insert(batch []Record) (err error) {
	if len(batch) == 0 {
		return nil
	}
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	insert, err := tx.Prepare("INSERT INTO messages (at, root, kind, topic, payload, refused) VALUES (?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, r := range batch {
		payload := r.Payload
		if payload == nil {
			payload = []byte{}
		}
		if _, err := insert.Exec(r.At.UnixMilli(), r.Root, r.Kind, r.Topic, payload, r.Refused); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// prune keeps to the limits. A failure is logged; the next round may do.
func (s *Store) prune(now time.Time) {
	for kind, age := range s.limits.Age {
		if age <= 0 {
			continue
		}
		if _, err := s.db.Exec("DELETE FROM messages WHERE kind = ? AND at < ?", kind, now.Add(-age).UnixMilli()); err != nil {
			s.complain(err)
			return
		}
	}
	if err := s.shrink(); err != nil {
		s.complain(err)
	}
}

// shrink removes the oldest tenth of all messages until the file is within its bound, and gives the room back.
func (s *Store) shrink() error {
	for {
		size, err := s.size()
		if err != nil {
			return err
		}
		if s.limits.Bytes <= 0 || size <= s.limits.Bytes {
			break
		}
		done, err := s.db.Exec("DELETE FROM messages WHERE id <= (SELECT min(id) + (max(id) - min(id)) / 10 FROM messages)")
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil || n == 0 {
			return err
		}
	}
	_, err := s.db.Exec("PRAGMA incremental_vacuum")
	return err
}

// size is that of what is in use, in bytes.
func (s *Store) size() (int64, error) {
	var pages, free, size int64
	for pragma, to := range map[string]*int64{"page_count": &pages, "freelist_count": &free, "page_size": &size} {
		if err := s.db.QueryRow("PRAGMA " + pragma).Scan(to); err != nil {
			return 0, err
		}
	}
	return (pages - free) * size, nil
}

// Query says which records to read.
type Query struct {
	Root   string
	Kinds  []string
	Since  time.Time // zero: from the first on
	Until  time.Time // exclusive; zero: to the last
	Before int64     // of IDs; 0 for any
	Limit  int       // the newest so many
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
	text := "SELECT id, at, root, kind, topic, payload, refused FROM messages WHERE root = ? AND kind IN (?"
	args := []any{q.Root, q.Kinds[0]}
	for _, kind := range q.Kinds[1:] {
		text += ", ?"
		args = append(args, kind)
	}
	text += ")"
	if !q.Since.IsZero() {
		text, args = text+" AND at >= ?", append(args, q.Since.UnixMilli())
	}
	if !q.Until.IsZero() {
		text, args = text+" AND at < ?", append(args, q.Until.UnixMilli())
	}
	if q.Before > 0 {
		text, args = text+" AND id < ?", append(args, q.Before)
	}
	text += " ORDER BY id DESC"
	if q.Limit > 0 {
		text, args = text+" LIMIT ?", append(args, q.Limit)
	}
	rows, err := s.db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	return errors.Join(each(rows, f), rows.Close())
}

func each(rows *sql.Rows, f func(Record) error) error {
	for rows.Next() {
		var r Record
		var at int64
		if err := rows.Scan(&r.ID, &at, &r.Root, &r.Kind, &r.Topic, &r.Payload, &r.Refused); err != nil {
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
