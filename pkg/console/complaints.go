package console

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Complaints logs warnings and errors that repeat, each at most once per Every, with the number left out as "more". Each message
// text is a complaint of its own: keep what varies in the arguments. Safe for concurrent use.
type Complaints struct {
	Log   *slog.Logger
	Every time.Duration

	mu    sync.Mutex
	folds map[string]*Fold
}

// Warn logs msg with its arguments, unless it did so less than Every before now.
func (c *Complaints) Warn(now time.Time, msg string, args ...any) {
	c.say(now, slog.LevelWarn, msg, args)
}

// Error is Warn for errors.
func (c *Complaints) Error(now time.Time, msg string, args ...any) {
	c.say(now, slog.LevelError, msg, args)
}

func (c *Complaints) say(now time.Time, level slog.Level, msg string, args []any) {
	c.mu.Lock()
	f := c.folds[msg]
	if f == nil {
		f = &Fold{Every: c.Every}
		if c.folds == nil {
			c.folds = map[string]*Fold{}
		}
		c.folds[msg] = f
	}
	folded, ok := f.Say(now)
	c.mu.Unlock()
	if !ok {
		return
	}
	if folded > 0 {
		args = append(args, "more", folded)
	}
	c.Log.Log(context.Background(), level, msg, args...)
}
