package haproxy

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Health is what a server must answer before HAProxy is told of it.
type Health interface {
	Await(ctx context.Context, n int) error
	Ask(ctx context.Context, n int) error
}

// Launcher starts and stops the servers' processes by their numbers, which are their ports. Both succeed if it is so already.
type Launcher interface {
	Start(ctx context.Context, n int) error
	Stop(ctx context.Context, n int) error
}

// Config of a Pool.
type Config struct {
	Socket      string // path
	Backend     string
	Prefix      string // of the names of servers that are weir's
	Address     string
	Options     string // of a server that is added
	First, Last int    // ports
}

// Pool is a backend. The servers that are weir's are the slots of a server-template, PREFIX1 to PREFIXn, if there are any, else such as it
// adds, PREFIX-PORT. Others it leaves alone.
type Pool struct {
	Config
	cli      cli
	health   Health
	launcher Launcher
	slot     *regexp.Regexp
	added    *regexp.Regexp
}

// New returns a Pool.
func New(c Config, h Health, l Launcher) *Pool {
	name := "^" + regexp.QuoteMeta(c.Prefix)
	return &Pool{
		Config: c, cli: cli(c.Socket), health: h, launcher: l,
		slot: regexp.MustCompile(name + `[0-9]+$`), added: regexp.MustCompile(name + `-[0-9]+$`),
	}
}

// look is how often HAProxy is asked whether what is waited for is so.
const look = 100 * time.Millisecond

func (p *Pool) own(s server) bool { return p.slot.MatchString(s.name) || p.added.MatchString(s.name) }

func (p *Pool) full(s server) string { return p.Backend + "/" + s.name }

// Size counts the servers that are on, whoever's they are, backups left out.
func (p *Pool) Size(ctx context.Context) (int, error) {
	all, err := p.servers(ctx)
	return count(all), err
}

func count(all []server) (n int) {
	for _, s := range all {
		if s.there() {
			n++
		}
	}
	return n
}

// Resize first finishes what was left half done: servers that are drained serve again if more are needed, and go else.
func (p *Pool) Resize(ctx context.Context, to int) (string, error) {
	all, err := p.servers(ctx)
	if err != nil {
		return "", err
	}
	need := to - count(all)
	var back, gone []server
	for _, s := range all {
		switch {
		case p.own(s) && !s.maint() && s.port == 0: // its process would be taken for a forgotten one's
			return "", fmt.Errorf("haproxy doesn't tell the port of %s: give weir's socket `level admin` in HAProxy's configuration", p.full(s))
		case !p.own(s) || s.there():
		case s.draining() && need > len(back) && p.health.Ask(ctx, s.port) == nil:
			back = append(back, s)
		default:
			gone = append(gone, s)
		}
	}
	if err := p.clear(ctx, all, gone); err != nil {
		return "", err
	}
	if err := p.ready(ctx, back); err != nil {
		return "", err
	}
	switch need -= len(back); {
	case need > 0:
		added, err := p.grow(ctx, need)
		return "added " + names(append(back, added...)), err
	case need < 0:
		return p.shrink(ctx, all, -need)
	case len(back) > 0:
		return "serving again: " + names(back), nil
	}
	return "nothing to change", nil
}

// clear takes away what was left half done, and stops every process of a number that no server has: a slot's that isn't on, or one that
// HAProxy has forgotten by a reload.
func (p *Pool) clear(ctx context.Context, all, gone []server) error {
	settled := map[int]bool{}
	for _, s := range gone {
		if s.draining() || p.added.MatchString(s.name) {
			if err := p.remove(ctx, s); err != nil {
				return err
			}
			settled[s.port] = true
		}
	}
	for _, s := range all {
		if !slices.Contains(gone, s) {
			settled[s.port] = true
		}
	}
	for port := p.First; port <= p.Last; port++ {
		if settled[port] {
			continue
		}
		if err := p.stop(ctx, port); err != nil {
			return err
		}
	}
	return nil
}

// place takes a slot, or adds a server, in maintenance: from then on HAProxy knows that its port may have a process.
func (p *Pool) place(ctx context.Context, all []server, weight int) (server, error) {
	port := p.First
	for slices.ContainsFunc(all, func(s server) bool { return s.port == port && !(s.maint() && p.own(s)) }) {
		port++
	}
	if port > p.Last {
		return server{}, fmt.Errorf("all ports from %d to %d are taken: see scaling.instances", p.First, p.Last)
	}
	slots := 0
	for _, s := range all {
		if !p.slot.MatchString(s.name) {
			continue
		}
		if slots++; !s.maint() {
			continue
		}
		s.host, s.port, s.weight, s.status = p.Address, port, weight, placed
		command := fmt.Sprintf("set server %s addr %s port %d", p.full(s), p.Address, port)
		if err := p.cli.do(ctx, command, "IP changed", "port changed", "no need to change"); err != nil {
			return s, err
		}
		return s, p.cli.do(ctx, fmt.Sprintf("set server %s weight %d", p.full(s), weight))
	}
	if slots > 0 {
		return server{}, fmt.Errorf("all %d slots of the server-template %s are taken", slots, p.Prefix)
	}
	s := server{name: fmt.Sprintf("%s-%d", p.Prefix, port), host: p.Address, port: port, weight: weight, status: placed}
	command := fmt.Sprintf("add server %s %s:%d %s weight %d", p.full(s), hostPart(p.Address), port, p.Options, weight)
	return s, p.cli.do(ctx, command, "New server registered.")
}

// placed is the status of a server that has a place but perhaps no process. HAProxy calls it MAINT.
const placed = "placed"

// hostPart writes an IPv6 address as HAProxy takes it before a port.
func hostPart(address string) string {
	if strings.Contains(address, ":") && !strings.HasPrefix(address, "[") {
		return "[" + address + "]"
	}
	return address
}

func names(all []server) string {
	var out []string
	for _, s := range all {
		out = append(out, fmt.Sprintf("%s (port %d)", s.name, s.port))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
