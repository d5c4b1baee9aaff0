package scaler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/weir-sensor/weir/pkg/atomicfile"
)

// state is what a restart must not forget.
type state struct {
	Pending *pending       `json:"pending,omitempty"`
	Added   map[string]int `json:"added,omitempty"` // by origin
	Changed time.Time      `json:"changed"`         // the last success
	Short   time.Time      `json:"short,omitzero"`  // since when too few are counted for Added; zero for not now
}

// pending is an order that was begun. It isn't changed once it is noted.
type pending struct {
	Order
	From    int    `json:"from"`
	To      int    `json:"to"`
	Undo    bool   `json:"undo,omitempty"`
	Trouble string `json:"trouble,omitempty"`
}

func (s *Scaler) pending() *pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Pending
}

func (s *Scaler) changed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Changed
}

// note changes the state, on disk too. A disk that is full keeps nobody from scaling.
func (s *Scaler) note(change func(*state)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
	if s.cfg.File == "" {
		return
	}
	if err := writeState(s.cfg.File, s.state); err != nil {
		s.log.Warn("what is scaled can't be noted: were weir killed now, the next one wouldn't undo it", "err", err)
	}
}

func (st *state) copyAdded() map[string]int { return maps.Clone(st.Added) }

// credit keeps account of whose the added servers are. Who takes servers away takes his own first, then others'.
func credit(added map[string]int, origin string, by int) map[string]int {
	added = maps.Clone(added)
	if added == nil {
		added = map[string]int{}
	}
	if by > 0 {
		added[origin] += by
		return added
	}
	for _, whose := range append([]string{origin}, slices.Sorted(maps.Keys(added))...) {
		n := min(added[whose], -by)
		by += n
		if added[whose] -= n; added[whose] <= 0 {
			delete(added, whose)
		}
	}
	return added
}

// goneAfter is how long too few servers must be counted until they count as gone. Some back-ends count those that are well, and others
// may restart: whose they are mustn't be lost by that.
const goneAfter = 5 * time.Minute

// counted notes a number that was found at some time: of those added there can't be more than most.
func (st *state) counted(now time.Time, most int) {
	switch fewer := trim(st.Added, most); {
	case maps.Equal(fewer, st.Added):
		st.Short = time.Time{}
	case st.Short.IsZero() || st.Short.After(now):
		st.Short = now
	case now.Sub(st.Short) >= goneAfter:
		st.Added, st.Short = fewer, time.Time{}
	}
}

// trim forgets servers that have gone by themselves: beyond the least there can't be more of them than most.
func trim(added map[string]int, most int) map[string]int {
	sum := 0
	for _, n := range added {
		sum += n
	}
	if sum <= max(0, most) {
		return added
	}
	return credit(added, "", max(0, most)-sum)
}

// readState returns an empty state if there is no file. One that is broken is put aside.
func readState(file string) (state, error) {
	if file == "" {
		return state{}, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	st, err := parseState(text)
	if err != nil {
		return state{}, errors.Join(fmt.Errorf("%s: %w", file, err), os.Rename(file, file+".broken"))
	}
	return st, nil
}

func parseState(text []byte) (state, error) {
	var st state
	if err := json.Unmarshal(text, &st); err != nil {
		return state{}, errors.New("not what weir has written")
	}
	if p := st.Pending; p != nil && (p.From < 0 || p.To < 1 || p.By == 0) {
		return state{}, fmt.Errorf("a change from %d to %d servers", p.From, p.To)
	}
	for origin, n := range st.Added {
		if n < 1 || n > MaxServers {
			return state{}, fmt.Errorf("%d servers added by %.64q", n, origin)
		}
	}
	return st, nil
}

// writeState replaces the file whole.
func writeState(file string, st state) error {
	text, err := json.Marshal(st)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(file, text, 0o600)
}
