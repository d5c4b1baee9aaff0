package command

import (
	"context"
	"fmt"
	"strconv"
)

// Pool is a back-end that consists of three programs. Each gets WEIR_SERVERS in its environment: how many there are to be, or, for Count,
// nothing.
type Pool struct {
	Count Command // prints how many servers answer their health checks
	Up    Command // ends with status 0 once WEIR_SERVERS of them do
	Down  Command // ends with status 0 once there are WEIR_SERVERS
}

// Size asks Count.
func (p Pool) Size(ctx context.Context) (int, error) {
	out, err := p.Count.Run(ctx)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(out)
	if err != nil || n < 0 || n > maxCount {
		return 0, fmt.Errorf("%s printed %.80q: want a number of servers alone", p.Count.Argv[0], out)
	}
	return n, nil
}

const maxCount = 1_000_000

// Resize runs Up or Down, and believes neither without asking Count.
func (p Pool) Resize(ctx context.Context, to int) (string, error) {
	from, err := p.Size(ctx)
	if err != nil {
		return "", err
	}
	program := p.Down // with the number reached, too: what Up has left half done doesn't count
	if to > from {
		program = p.Up
	}
	said, err := program.Run(ctx, "WEIR_SERVERS="+strconv.Itoa(to), "WEIR_SERVERS_BEFORE="+strconv.Itoa(from))
	if err != nil {
		return "", err
	}
	switch now, err := p.Size(ctx); {
	case err != nil:
		return "", err
	case now != to:
		return "", fmt.Errorf("%s ended with status 0, but %s counts %d servers instead of %d", program.Argv[0], p.Count.Argv[0], now, to)
	}
	if said == "" {
		said = program.Argv[0] + " has done it"
	}
	return said, nil
}
