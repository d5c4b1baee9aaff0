package controller

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/weir-sensor/weir/pkg/datapath"
	"github.com/weir-sensor/weir/pkg/wire"
)

// claim is what the kernel doesn't keep of a limit, noted for the next controller: the status that is retained dies with the broker.
type claim struct {
	Owner    string        `json:"owner"`
	Rate     uint64        `json:"rate"`
	Burst    uint64        `json:"burst"`
	FixedEnd bool          `json:"fixed_end,omitempty"`
	End      time.Duration `json:"end"` // of the lease, in nanoseconds since the boot: other clocks are set
}

// claimSlack is for what passes between the kernel's reading of its clock and ours.
const claimSlack = 5 * time.Second

// fits tells whether it speaks of the limit that was found, and not of one of another time.
func (c claim) fits(s State, uptime time.Duration) bool {
	off := uptime + s.Lease - c.End
	return s.Limit.Rate == c.Rate &&
		s.Limit.Burst <= c.Burst && // tc holds less of a long one
		off >= -claimSlack &&
		(off <= claimSlack || !c.FixedEnd) // who was killed may have renewed once more
}

// uptime is the time since the boot.
func uptime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) // documented to fail only for clocks that don't exist
	return time.Duration(t.Nano())
}

// noteClaim notes whose limit is in force, or that none is known to be anybody's. A disk that is full keeps nothing from being limited.
func (c *Controller) noteClaim(now time.Time) {
	if c.cfg.File == "" {
		return
	}
	var err error
	if l := c.lease; l.On && l.Owner != "" {
		err = writeClaim(c.cfg.File, claim{Owner: l.Owner, Rate: l.Limit.Rate, Burst: l.Limit.Burst, FixedEnd: l.Fixed, End: c.cfg.Uptime() + l.End.Sub(now)})
	} else if err = os.Remove(c.cfg.File); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		c.warnings.Warn(now, "whose limit is on can't be noted: were weir restarted, it might take an operator's limit for nobody's", "err", err)
	}
}

// recall learns what the controller before has noted.
func (c *Controller) recall(now time.Time, s State) bool {
	if c.cfg.File == "" {
		return false
	}
	was, err := readClaim(c.cfg.File)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	if err != nil {
		c.warnings.Warn(now, "whose limit is on isn't known: the note can't be read", "err", err)
		return false
	}
	if !was.fits(s, c.cfg.Uptime()) {
		return false
	}
	c.inherit(now, was.Owner, was.FixedEnd)
	return true
}

func readClaim(file string) (claim, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return claim{}, err
	}
	was, err := parseClaim(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return was, err
}

func parseClaim(text []byte) (claim, error) {
	var c claim
	if err := json.Unmarshal(text, &c); err != nil {
		return claim{}, errors.New("not what weir has written")
	}
	if c.Owner == "" || len(c.Owner) > wire.MaxIDBytes || strings.ContainsFunc(c.Owner, unicode.IsControl) {
		return claim{}, errors.New("not an owner that weir has written")
	}
	if limit := (datapath.Limit{Rate: c.Rate, Burst: c.Burst}); c.End < 0 || limit.Validate() != nil {
		return claim{}, errors.New("not a limit that weir has written")
	}
	return c, nil
}

// writeClaim replaces the file whole. It waits for no disk: a crash of the machine takes the limit, too.
func writeClaim(file string, c claim) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
