package scaler

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var errInterrupted = errors.New("the controller ended while it was under way")

// Tend tells how many servers there are at first, after it has finished or undone what a controller that was killed has begun, and
// retries what couldn't be undone. It returns when ctx ends.
func (s *Scaler) Tend(ctx context.Context, tell func(Outcome)) {
	if out, ok := s.resume(ctx); ok {
		tell(out)
	}
	for {
		var again <-chan time.Time
		if s.pending() != nil {
			again = time.After(retryWait)
		}
		select {
		case <-s.kick:
			continue
		case <-again:
		case <-ctx.Done():
			return
		}
		if out, ok := s.retry(ctx); ok {
			tell(out)
		}
	}
}

// resume begins with what is there.
func (s *Scaler) resume(ctx context.Context) (Outcome, bool) {
	p := s.pending()
	if p == nil {
		return s.look(ctx)
	}
	if s.take(time.Now(), &p.Order) != nil {
		return Outcome{}, false
	}
	defer s.release()
	return s.settle(ctx, p, errInterrupted), ctx.Err() == nil
}

// look counts without keeping a command waiting. If there was one meanwhile its status tells what is true, and the number may not.
func (s *Scaler) look(ctx context.Context) (Outcome, bool) {
	changed := s.changed()
	running, err := s.count(ctx)
	s.mu.Lock()
	if s.busy != nil || s.state.Pending != nil || !s.state.Changed.Equal(changed) {
		s.mu.Unlock()
		return Outcome{}, false
	}
	if err == nil {
		s.counted(running)
	}
	s.mu.Unlock()
	return s.outcome(nil, running, servers(running)+" found", err), ctx.Err() == nil
}

// retry tells when nothing is left to undo.
func (s *Scaler) retry(ctx context.Context) (Outcome, bool) {
	p := s.pending()
	if p == nil || s.take(time.Now(), &p.Order) != nil {
		return Outcome{}, false
	}
	defer s.release()
	cause := errInterrupted
	if p.Trouble != "" {
		cause = errors.New(p.Trouble)
	}
	out := s.settle(ctx, p, cause)
	return out, s.pending() == nil
}

// settle finishes or undoes what was begun.
func (s *Scaler) settle(ctx context.Context, p *pending, cause error) Outcome {
	running, err := s.size(ctx)
	switch {
	case err != nil:
		return s.outcome(&p.Order, 0, "", fmt.Errorf("%w; it is looked at again, for %w", cause, err))
	case running < min(p.From, p.To) || running > max(p.From, p.To):
		return s.leaveAt(running, p, cause)
	case p.Undo:
		return s.undo(ctx, p, cause)
	}
	return s.attempt(ctx, p)
}

// leave is for when somebody has scaled meanwhile, so that neither number is right any more.
func (s *Scaler) leave(ctx context.Context, p *pending, cause error) Outcome {
	running, err := s.size(ctx)
	if err != nil {
		s.note(func(st *state) { st.Pending = nil })
		return s.outcome(&p.Order, 0, "", fmt.Errorf("%w; left as it is: %w", cause, err))
	}
	return s.leaveAt(running, p, cause)
}

func (s *Scaler) leaveAt(running int, p *pending, cause error) Outcome {
	s.note(func(st *state) { st.Pending = nil })
	s.log.Warn("somebody else has scaled: it is left so", "from", p.From, "to", p.To, "found", running, "id", p.ID, "err", cause)
	return s.outcome(&p.Order, running, "", fmt.Errorf("%w; %s found, and left as they are", cause, servers(running)))
}
