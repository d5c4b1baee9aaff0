package broker

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
)

const (
	pulseEvery = time.Second
	probeTopic = "$SYS/weir" // nobody is told of it
)

// Broker is the embedded broker, already listening.
type Broker struct {
	server *mochi.Server
	guard  *guard
	log    *slog.Logger
	tcp    net.Listener
	ws     net.Listener // nil for none
}

// New opens the broker's addresses. What it returns must be run, which closes them.
func New(cfg Config, log *slog.Logger) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	b := &Broker{log: log}
	var who *members
	var err error
	if cfg.Trust != nil {
		if who, err = newMembers(cfg.Trust); err != nil {
			return nil, err
		}
	}
	if b.tcp, err = listen("listen", cfg.Listen); err != nil {
		return nil, err
	}
	if cfg.ListenWS != "" {
		if b.ws, err = listen("listen-ws", cfg.ListenWS); err != nil {
			return nil, errors.Join(err, b.tcp.Close())
		}
	}
	b.server = mochi.New(&mochi.Options{
		Capabilities: capabilities(),
		// Its warnings are about single clients' packets: anybody could fill the log with them.
		Logger:                 slog.New(slog.DiscardHandler),
		SysTopicResendInterval: 10,
	})
	b.guard = newGuard(b.server, who, log)
	err = b.server.AddHook(b.guard, nil)
	if err == nil {
		err = b.server.AddListener(newTCP(guarded(b.tcp, b.guard), b))
	}
	if err == nil && b.ws != nil {
		err = b.server.AddListener(newWebSocket(guarded(b.ws, b.guard), b))
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// guarded puts a listener's connections behind the door, and TLS.
func guarded(l net.Listener, g *guard) net.Listener {
	return secure(stallListener{g.door.Guard(l), g.warn}, g.members)
}

// fault ends one client whose packet met a mistake in the broker, so that it isn't everybody's end, as one in a goroutine of mochi's own
// still is. The client's session goes as well, for it may be what is wrong, and its will isn't sent: mochi does that in what was cut short.
func (b *Broker) fault(conn net.Conn, what any) {
	b.guard.complaints.Error(time.Now(), "a client was disconnected by a mistake in the broker: report this", "remote", conn.RemoteAddr(), "err", what,
		"stack", string(debug.Stack()))
	for _, cl := range b.server.Clients.GetAll() {
		if cl.Net.Conn == conn {
			b.guard.OnDisconnect(cl, nil, false)
			b.guard.drop(cl)
		}
	}
}

func capabilities() *mochi.Capabilities {
	c := mochi.NewDefaultServerCapabilities()
	c.MaximumPacketSize = maxPacketBytes
	c.MaximumClientWritesPending = maxPending
	c.MaximumInflight = maxInflight
	c.MaximumMessageExpiryInterval = retainedDays * 24 * 3600
	c.MaximumSessionExpiryInterval = maxSessionHours * 3600
	c.MaximumClients = maxClients
	c.TopicAliasMaximum = 64
	return c
}

func (b *Broker) close() error {
	err := b.tcp.Close()
	if b.ws != nil {
		err = errors.Join(err, b.ws.Close())
	}
	return err
}

// Addr is the address for MQTT over TCP, with the port that was given for port 0.
func (b *Broker) Addr() string { return b.tcp.Addr().String() }

// AddrWS is the address for MQTT over WebSocket, empty for none.
func (b *Broker) AddrWS() string {
	if b.ws == nil {
		return ""
	}
	return b.ws.Addr().String()
}

// Run serves until ctx ends. It calls alive once it serves, and then each second that it gets hold of what each client and each message
// needs.
func (b *Broker) Run(ctx context.Context, alive func()) error {
	if err := b.server.Serve(); err != nil {
		return errors.Join(err, b.close())
	}
	b.log.Info("broker listens", "address", b.Addr(), "websocket", b.AddrWS(), "tls", b.guard.members != nil)
	alive()
	var sweeping sync.WaitGroup
	if b.guard.members != nil {
		sweeping.Go(func() { b.guard.sweepUntil(ctx) })
	}
	b.pulse(ctx, alive)
	sweeping.Wait()
	return b.server.Close()
}

func (b *Broker) pulse(ctx context.Context, alive func()) {
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.server.Clients.Len()
			b.server.Topics.Subscribers(probeTopic)
			b.guard.probe()
			alive()
		case <-ctx.Done():
			return
		}
	}
}
