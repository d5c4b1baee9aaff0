// Package scaler changes how many servers there are, one command at a time. A change succeeds when all new servers answer
// their health checks, or else is undone, also after the process that began it was killed.
package scaler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Backend is what has the servers. Errors tell an operator what to do.
type Backend interface {
	// Size is how many servers there are, those left out that an earlier Resize was about to add or to take away.
	Size(context.Context) (int, error)

	// Resize makes it so many, whatever an earlier Resize has left half done. What it adds answers its health check when it
	// returns; what it takes away was given time to finish its requests. With an error anything may be half done.
	Resize(ctx context.Context, to int) (detail string, err error)
}

// ErrUnwell is what Resize's errors wrap if it found the number right, and a server that isn't well.
var ErrUnwell = errors.New("the number is right")

// ErrOthers is what they wrap if somebody else has changed the number meanwhile. It is his then, and nothing is undone.
var ErrOthers = errors.New("somebody else scales it")

// Order is a command to scale.
type Order struct {
	By     int      `json:"by"` // servers to add, below 0 to take away
	Sender          // who has it carried out
	Others []Sender `json:"others,omitempty"` // who have sent the same before, where two people must
}

// Sender is whose command it is.
type Sender struct {
	ID       string `json:"id,omitempty"`
	Origin   string `json:"origin,omitempty"`
	SignedBy string `json:"signed_by,omitempty"`
}

// Command is its name on the wire.
func (o Order) Command() string {
	if o.By < 0 {
		return wire.ScaleDownServers
	}
	return wire.ScaleUpServers
}

// Outcome is what became of an order, or, with none, what was found.
type Outcome struct {
	Order   *Order
	Detail  string
	Err     error
	Servers wire.Servers
}

// Scaler is safe for concurrent use.
type Scaler struct {
	cfg     Config
	backend Backend
	log     *slog.Logger

	mu      sync.Mutex
	state   state
	busy    *Order // nil for nothing
	since   time.Time
	running int           // when they were counted last, 0 if they couldn't be
	kick    chan struct{} // 1 deep: something is left to undo

	complaints console.Complaints
}

const (
	countWait = 10 * time.Second // to count the servers
	endWait   = 3 * time.Second  // to undo, when the program ends
	retryWait = 10 * time.Second // between attempts to undo
)

// New returns a Scaler of a validated configuration, with what the one before it has noted.
func New(cfg Config, b Backend, log *slog.Logger) *Scaler {
	s := &Scaler{cfg: cfg, backend: b, log: log, kick: make(chan struct{}, 1), complaints: console.Complaints{Log: log, Every: time.Minute}}
	var err error
	if s.state, err = readState(cfg.File); err != nil {
		log.Warn("what was scaled before isn't known", "err", err)
	}
	return s
}

// Scale carries an order out. It takes scaling.within at most, and as long to undo it.
func (s *Scaler) Scale(ctx context.Context, o Order) Outcome {
	began := time.Now()
	if err := s.take(began, &o); err != nil {
		return s.outcome(&o, asBefore, "", err)
	}
	defer s.release()
	if p := s.pending(); p != nil {
		return s.outcome(&o, asBefore, "", fmt.Errorf("%s of before isn't undone yet: %s", p.Command(), p.Trouble))
	}
	from, err := s.size(ctx)
	if err != nil {
		return s.outcome(&o, 0, "", err)
	}
	to, err := s.cfg.decide(began, s.changed(), from, o.By)
	if err != nil {
		return s.outcome(&o, from, "", err)
	}
	p := &pending{Order: o, From: from, To: to}
	s.note(func(st *state) { st.Pending = p })
	s.log.Info("scaling", "from", from, "to", to, "origin", o.Origin, "id", o.ID)
	return s.attempt(ctx, p)
}

// attempt makes the change, or undoes it.
func (s *Scaler) attempt(ctx context.Context, p *pending) Outcome {
	within, cancel := context.WithTimeout(ctx, s.cfg.Within)
	detail, err := s.backend.Resize(within, p.To)
	cancel()
	if err == nil {
		s.note(func(st *state) {
			st.Pending, st.Changed = nil, time.Now()
			st.Added = trim(credit(st.Added, p.Origin, p.By), MaxServers) // scaling.max bounds those that are counted
		})
		s.log.Info("scaled", "from", p.From, "to", p.To, "origin", p.Origin, "id", p.ID, "detail", detail)
		return s.outcome(&p.Order, p.To, fmt.Sprintf("%s instead of %d: %s", servers(p.To), p.From, detail), nil)
	}
	if errors.Is(err, ErrOthers) {
		return s.leave(ctx, p, err)
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("not done within %v (scaling.within): %w", s.cfg.Within, err)
	}
	s.log.Warn("scaling went wrong: it is undone", "from", p.From, "to", p.To, "id", p.ID, "err", err)
	p = &pending{Order: p.Order, From: p.From, To: p.To, Undo: true, Trouble: err.Error()}
	s.note(func(st *state) { st.Pending = p })
	return s.undo(ctx, p, err)
}

// undo makes it as before. What it can't undo stays noted, for Tend.
func (s *Scaler) undo(ctx context.Context, p *pending, cause error) Outcome {
	wait := s.cfg.Within
	if ctx.Err() != nil {
		wait = endWait
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	_, err := s.backend.Resize(within, p.From)
	if errors.Is(err, ErrOthers) {
		return s.leave(ctx, p, fmt.Errorf("%w; %w", cause, err))
	}
	if err != nil && !errors.Is(err, ErrUnwell) {
		s.complaints.Warn(time.Now(), "scaling couldn't be undone: it is tried again", "to", p.From, "id", p.ID, "err", err)
		select {
		case s.kick <- struct{}{}:
		default:
		}
		return s.outcome(&p.Order, 0, "", fmt.Errorf("%w; undoing it went wrong, too, and is tried again: %w", cause, err))
	}
	if ctx.Err() == nil { // else nobody is there to tell it any more: the next controller does
		s.note(func(st *state) { st.Pending = nil })
	}
	return s.outcome(&p.Order, p.From, "", fmt.Errorf("%w; undone: %s as before", cause, servers(p.From)))
}

// size is for whoever has taken the turn.
func (s *Scaler) size(ctx context.Context) (int, error) {
	n, err := s.count(ctx)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counted(n)
	return n, nil
}

func (s *Scaler) count(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, countWait)
	defer cancel()
	n, err := s.backend.Size(ctx)
	if err != nil {
		return 0, fmt.Errorf("the servers can't be counted: %w", err)
	}
	return n, nil
}

// counted notes a number. The lock is held.
func (s *Scaler) counted(n int) {
	s.running = n
	s.state.counted(time.Now(), n-s.cfg.Min)
}

func (s *Scaler) take(now time.Time, o *Order) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy != nil {
		return fmt.Errorf("one at a time: %s is under way, for %v now", s.busy.Command(), now.Sub(s.since).Round(time.Second))
	}
	s.busy, s.since = o, now
	return nil
}

func (s *Scaler) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = nil
}

func (s *Scaler) outcome(o *Order, running int, detail string, err error) Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if running != asBefore {
		s.running = running
	}
	return Outcome{Order: o, Detail: detail, Err: err, Servers: wire.Servers{
		Running: s.running, Min: s.cfg.Min, Max: s.cfg.Max, Added: s.state.copyAdded(), TakesSeconds: s.cfg.takes().Seconds(),
	}}
}

const asBefore = -1 // the number of servers

func servers(n int) string {
	if n == 1 {
		return "1 server"
	}
	return fmt.Sprintf("%d servers", n)
}
