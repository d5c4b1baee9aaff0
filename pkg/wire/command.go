package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"

	"github.com/weir-sensor/weir/pkg/prefixlist"
)

// The bounds of a command's members.
const (
	MaxCommandBytes = 64
	MaxIDBytes      = 128
	MaxReasonBytes  = 512
	MaxRate         = 100_000   // SYNs per second and source
	MaxBurst        = 1_000_000 // SYNs
	MaxTTLSeconds   = 86_400
	MaxDrainSeconds = 3_600 // burst / rate
	MaxSourceBytes  = 64
	MaxCount        = 100 // servers
)

// DecodeCommand reads control/command. It is strict, since a command changes what a kernel drops: no duplicate member, no
// other spelling of a known one, no wrong type, nothing out of bounds. Unknown members are allowed, and so are unknown
// commands, which are the reader's to refuse. With an error it returns command, ID and origin as far as they are readable,
// for the answer.
func DecodeCommand(b []byte) (Command, error) {
	var c Command
	members, err := parseObject(b)
	errs := []error{
		err,
		text(members, "command", &c.Command, MaxCommandBytes),
		text(members, "id", &c.ID, MaxIDBytes),
		text(members, "origin", &c.Origin, MaxIDBytes),
		text(members, "reason", &c.Reason, MaxReasonBytes),
		whole(members, "rate", &c.Rate, MaxRate),
		whole(members, "burst", &c.Burst, MaxBurst),
		seconds(members, "ttl_seconds", &c.TTLSeconds, 1, MaxTTLSeconds),
		seconds(members, "timestamp", &c.Timestamp, 0, math.MaxInt64),
		source(members, &c.Source),
		whole(members, "count", &c.Count, MaxCount),
		spelling(members),
	}
	if err == nil && c.Command == "" && errs[1] == nil {
		errs = append(errs, errors.New(`no "command"`))
	}
	if listed := IsListCommand(c.Command); listed && members["source"] == nil {
		errs = append(errs, errors.New(`no "source": give an address or a prefix`))
	} else if !listed && c.Source != "" && c.Command != "" {
		errs = append(errs, fmt.Errorf("source: only the list commands take one, like %s", BlockSource))
	}
	if members["count"] != nil && !IsScaleCommand(c.Command) && c.Command != "" {
		errs = append(errs, fmt.Errorf("count: only %s and %s take one", ScaleUpServers, ScaleDownServers))
	}
	if c.Rate > 0 && c.Burst/c.Rate >= MaxDrainSeconds {
		errs = append(errs, fmt.Errorf("burst %d at rate %d takes over an hour to refill", c.Burst, c.Rate))
	}
	for _, err := range errs {
		if err != nil {
			return Command{Command: c.Command, ID: c.ID, Origin: c.Origin}, err
		}
	}
	return c, nil
}

var commandMembers = []string{"command", "id", "origin", "rate", "burst", "ttl_seconds", "reason", "timestamp", "source", "count",
	memberKeyID, memberSeq, memberSignature}

// spelling refuses "Rate" for "rate": ignoring it would do something else than was meant.
func spelling(members map[string]json.RawMessage) error {
	for name := range members {
		for _, known := range commandMembers {
			if name != known && strings.EqualFold(name, known) {
				return fmt.Errorf("%.64q: write %q", name, known)
			}
		}
	}
	return nil
}

func text(members map[string]json.RawMessage, name string, to *string, most int) error {
	raw, ok := members[name]
	if !ok {
		return nil
	}
	var s string
	if string(raw) == "null" || json.Unmarshal(raw, &s) != nil {
		return fmt.Errorf("%s: give a string", name)
	}
	if len(s) > most {
		return fmt.Errorf("%s: give %d bytes at most", name, most)
	}
	if strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%s holds control characters", name)
	}
	*to = s
	return nil
}

// IsListCommand tells the commands that name a source.
func IsListCommand(command string) bool {
	switch command {
	case BlockSource, UnblockSource, AllowSource, UnallowSource:
		return true
	}
	return false
}

// IsScaleCommand tells the commands that change how many servers there are.
func IsScaleCommand(command string) bool {
	return command == ScaleUpServers || command == ScaleDownServers
}

// Servers are how many it adds or takes away; 0 for other commands.
func (c Command) Servers() int {
	if !IsScaleCommand(c.Command) {
		return 0
	}
	return int(max(c.Count, 1))
}

func source(members map[string]json.RawMessage, to *string) error {
	var s string
	if err := text(members, "source", &s, MaxSourceBytes); err != nil {
		return err
	}
	if _, there := members["source"]; there {
		if _, err := prefixlist.Parse(s); err != nil {
			return fmt.Errorf("source %w", err)
		}
	}
	*to = s
	return nil
}

func whole(members map[string]json.RawMessage, name string, to *uint64, most uint64) error {
	raw, ok := members[name]
	if !ok {
		return nil
	}
	var n uint64
	if err := json.Unmarshal(raw, &n); err != nil || n < 1 || n > most {
		return fmt.Errorf("%s: give a whole number from 1 to %d", name, most)
	}
	*to = n
	return nil
}

func seconds(members map[string]json.RawMessage, name string, to *float64, least, most float64) error {
	raw, ok := members[name]
	if !ok {
		return nil
	}
	var x float64
	if err := json.Unmarshal(raw, &x); string(raw) == "null" || err != nil || x < least || x > most {
		return fmt.Errorf("%s: give a number of seconds from %g to %g", name, least, most)
	}
	*to = x
	return nil
}
