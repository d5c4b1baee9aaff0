package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-sensor/weir/pkg/access"
	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/seal"
	"github.com/weir-sensor/weir/pkg/trust"
	"github.com/weir-sensor/weir/pkg/wire"
)

func newSign() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign TOPIC [PAYLOAD]",
		Short: "Sign a message that is to be published by another program, like MQTTX",
		Long: `Sign a message that is to be published by another program, like MQTTX, with the key of the identity. The payload is an argument or
standard input. A command is good for 30 seconds, once, and on this topic only:

  weir sign --identity /etc/weir/alice '<103795587>/bank_server/control/command' '{"command": "enable_rate_limiting"}'`,
		Args: messageArgs("sign"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, id, payload, err := message(cmd, args)
			if err != nil {
				return err
			}
			var o bus.Options
			if err := s.guard("sign", id, &o); err != nil {
				return err
			}
			k := id.now.Load()
			if o.Sign == nil {
				return fmt.Errorf("a %s has no key to sign with", k.Role)
			}
			if err := access.May(k.Identity, access.Publish, args[0]); err != nil {
				return fmt.Errorf("nobody would believe it: %w", err)
			}
			signed, err := o.Sign(args[0], payload)
			if err != nil {
				return err
			}
			return say(cmd, "%s\n", signed)
		},
	}
	return settledAs(cmd, "ctl")
}

func newVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify TOPIC [PAYLOAD]",
		Short: "Tell who has signed a message, and whether he may",
		Long: `Tell who has signed a message, and whether he may say that on this topic, by the trust file of the identity. The payload is an
argument or standard input. Whether it is a replay can't be told: that only who receives all messages knows.`,
		Args: messageArgs("verify"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, id, payload, err := message(cmd, args)
			if err != nil {
				return err
			}
			now := time.Now()
			r, err := seal.NewReceiver(now, func() *trust.File { return id.now.Load().Trust }, mayPublish, "")
			if err != nil {
				return err
			}
			v, err := r.Check(now, args[0], payload, false)
			if err != nil {
				return err
			}
			fresh := "fresh enough for a command"
			if v.Skew < -seal.Fresh || v.Skew > seal.Fresh {
				fresh = "too old or too new for a command"
			}
			return say(cmd, "signed by %s, number %d, %v from now: %s\n", v.Identity.Name, v.Seal.Seq, v.Skew, fresh)
		},
	}
	return settledAs(cmd, "ctl")
}

func mayPublish(who trust.Identity, topic string) error {
	return access.May(who, access.Publish, topic)
}

func messageArgs(verb string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < 1 || len(args) > 2 {
			return fmt.Errorf("%s: give a topic, and a payload unless it is on standard input", verb)
		}
		return nil
	}
}

// message reads what sign and verify are about.
func message(cmd *cobra.Command, args []string) (setup, *identity, []byte, error) {
	s, err := newSetup(cmd)
	if err != nil {
		return s, nil, nil, err
	}
	id, err := s.identity(cmd.Name())
	if err == nil && id == nil {
		err = errors.New("no identity: name its directory by --identity, or a configuration that does by --config")
	}
	if err != nil {
		return s, nil, nil, err
	}
	if len(args) == 2 {
		return s, id, []byte(args[1]), nil
	}
	text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), wire.MaxPayload+1))
	return s, id, bytes.TrimSpace(text), err
}

// public tells topics that anybody writes on, and nobody acts on.
func public(topic string) bool { return topic == "public" || strings.HasPrefix(topic, "public/") }
