package history

import (
	"context"
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
			batch = s.gather(append(batch, *r))
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
			batch = append(batch, *r)
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
	insert, err := tx.Prepare("INSERT INTO messages (at, root, kind, topic, payload, refused, height) VALUES (?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, r := range batch {
		payload := r.Payload
		if payload == nil {
			payload = []byte{}
		}
		if _, err := insert.Exec(r.At.UnixMilli(), r.Root, r.Kind, r.Topic, payload, r.Refused, r.Height); err != nil {
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
