package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/console"
	"github.com/weir-sensor/weir/pkg/seal"
	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

// What is acted on.
const (
	commandsAuto          = "auto"
	commandsOpen          = "open"
	commandsAuthenticated = "authenticated"
	commandsSigned        = "signed"
)

// guard makes a connection sign what it publishes and judge what it receives.
func (s setup) guard(component string, id *identity, o *bus.Options) error {
	policy, err := s.policy(id)
	if err != nil || id == nil {
		return err
	}
	dir := s.cfg.Broker.State
	if err := os.MkdirAll(dir, 0o700); err != nil && !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("state: %w", err)
	}
	seen := "" // who acts on commands must know after a restart which he has acted on
	if component == "controller" {
		seen = filepath.Join(dir, "seen-commands.json")
	}
	g := &guarded{
		signedOnly: policy == commandsSigned,
		complaints: console.Complaints{Log: s.log.With("component", component), Every: time.Minute},
	}
	g.receiver, err = seal.NewReceiver(time.Now(), func() *trust.File { return id.now.Load().Trust }, mayPublish, seen)
	if err != nil {
		s.log.Warn("what was carried out before isn't known: commands from before now are refused", "component", component, "err", err)
	}
	o.Check = g.check
	if !id.now.Load().Role.Signs() {
		return nil
	}
	who := func() (string, ed25519.PrivateKey) { k := id.now.Load(); return k.Name, k.SignKey }
	ahead := seal.Ahead
	if id.now.Load().Role == trust.Operator {
		ahead = 0
	}
	g.sender, err = seal.NewSender(who, filepath.Join(dir, id.now.Load().Name+".seq"), ahead)
	if errors.Is(err, fs.ErrPermission) { // somebody's own weir ctl: its clock will do
		g.sender, err = seal.NewSender(who, "", 0)
	}
	o.Sign = g.sign
	return err
}

// policy works out what is acted on.
func (s setup) policy(id *identity) (string, error) {
	policy := s.cfg.Broker.Commands
	local := bus.Local(s.cfg.Broker.URL)
	switch {
	case policy == commandsAuto && id != nil:
		return commandsSigned, nil
	case policy == commandsAuto && local:
		return commandsOpen, nil
	case policy == commandsAuto:
		return commandsAuthenticated, nil
	case policy == commandsSigned && id == nil:
		return "", errors.New("commands: signed needs an identity, which says whom to believe: weir keys issue, and name its directory in identity")
	case policy == commandsOpen && !local:
		return "", errors.New("commands: open is for a broker on loopback only: use signed, or authenticated if the broker knows who may publish")
	}
	return policy, nil
}

// approval is which commands two people must send, and how soon the second. Who they are is known by signatures only.
func (s setup) approval() (commands []string, within time.Duration, err error) {
	within = s.cfg.Approval.Within
	if s.cfg.Approval.Commands == "" {
		return nil, within, nil
	}
	id, err := s.identity("controller")
	if err != nil {
		return nil, within, err
	}
	policy, err := s.policy(id)
	if err == nil && policy != commandsSigned {
		err = errors.New("approval.commands needs commands: signed, which needs an identity: weir keys issue")
	}
	for name := range strings.SplitSeq(s.cfg.Approval.Commands, ",") {
		commands = append(commands, strings.TrimSpace(name))
	}
	return commands, within, err
}

// transport is what statuses say of the way to the broker.
func (s setup) transport() string {
	if bus.Encrypted(s.cfg.Broker.URL) || bus.Local(s.cfg.Broker.URL) {
		return ""
	}
	return wire.Plaintext
}

// guarded is one component's.
type guarded struct {
	receiver   *seal.Receiver
	sender     *seal.Sender // nil for roles that don't sign
	signedOnly bool
	complaints console.Complaints
}

func (g *guarded) sign(topic string, payload []byte) ([]byte, error) {
	if public(topic) {
		return payload, nil
	}
	now := time.Now()
	signed, err := g.sender.Sign(now, topic, payload)
	if signed != nil && err != nil {
		if !errors.Is(err, fs.ErrPermission) {
			g.complaints.Warn(now, "the numbers of messages can't be kept: after a restart with a clock that is set back others would refuse them", "err", err)
		}
		err = nil
	}
	return signed, err
}

// noticeable is the difference of clocks that is told of: half of what is refused.
const noticeable = seal.Fresh / 2

func (g *guarded) check(m *bus.Message) {
	if public(m.Topic) || m.Oversize > 0 {
		return
	}
	now := time.Now()
	var v seal.Verdict
	var err error
	if strings.HasSuffix(m.Topic, "/control/command") {
		v, err = g.receiver.CheckCommand(now, m.Topic, m.Payload)
	} else {
		v, err = g.receiver.Check(now, m.Topic, m.Payload, m.Retained)
	}
	if errors.Is(err, wire.ErrUnsigned) && !g.signedOnly {
		return
	}
	m.Refused, m.From = err, v.Identity.Name
	if v.Identity.Role == trust.Operator {
		m.Person = v.Identity.Label
	}
	if v.Unnoted != nil {
		g.complaints.Warn(now, "a command is carried out though its number can't be kept: see to the disk", slog.Any("err", v.Unnoted))
	}
	if !m.Retained && v.Identity.Name != "" && (v.Skew > noticeable || v.Skew < -noticeable) {
		g.complaints.Warn(now, "clocks differ: over 30 s commands are refused", "sender", v.Identity.Name, "ahead", v.Skew)
	}
}
