package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/keys"
	"github.com/weir-sensor/weir/pkg/trust"
)

// identity is what weir keys has issued for one component. It changes when it is read again.
type identity struct {
	dir   string
	trust string // path of the trust file; "" for the one in dir
	now   atomic.Pointer[keys.Identity]

	mu      sync.Mutex
	clients []*bus.Client // that are to be known by it
}

// identities are those that were read, by component.
type identities struct {
	mu     sync.Mutex
	all    map[string]*identity
	broker *identity // of weir up's own broker; nil for others
}

// identity reads a component's, and reads it again on SIGHUP; it is nil if there is none. weir up has a directory of them.
func (s setup) identity(component string) (*identity, error) {
	dir := s.cfg.Broker.Identity
	if dir == "" {
		return nil, nil
	}
	s.who.mu.Lock()
	defer s.who.mu.Unlock()
	if id := s.who.all[component]; id != nil {
		return id, nil
	}
	if s.command == "up" {
		dir = filepath.Join(dir, component)
	}
	id := &identity{dir: dir, trust: s.cfg.Broker.Trust}
	k, err := keys.Load(dir, id.trust)
	if err != nil {
		return nil, err
	}
	id.now.Store(k)
	log := s.log.With("component", component)
	remind(log, k)
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	go id.reload(again, time.NewTicker(remindEvery).C, log)
	if s.who.all == nil {
		s.who.all = map[string]*identity{}
	}
	s.who.all[component] = id
	return id, nil
}

// ending says in a component's statuses that its identity ends soon, or has; nil if it has none.
func (s setup) ending(component string) func() string {
	id, err := s.identity(component)
	if err != nil || id == nil {
		return nil
	}
	return func() string { return endsSoon(id.now.Load().Identity, time.Now()) }
}

// endings are what people should be told of a component's identity, and of all others of its site that it knows: who has none to say it by
// a status, like the broker, is told of, too.
func (s setup) endings(component string) func() []string {
	id, err := s.identity(component)
	if err != nil || id == nil {
		return nil
	}
	return func() []string {
		now, k := time.Now(), id.now.Load()
		var texts []string
		if text := endsSoon(k.Identity, now); text != "" {
			texts = append(texts, text)
		}
		for _, other := range k.Trust.Ending(now, warnBefore, k.Org, k.Site) {
			if other.Name != k.Name {
				texts = append(texts, endsSoon(other, now))
			}
		}
		return texts
	}
}

// endsSoon is "" for an identity that has more than two weeks.
func endsSoon(id trust.Identity, now time.Time) string {
	if err := id.Valid(now); err != nil {
		return err.Error()
	}
	if left := id.NotAfter.Sub(now); left < warnBefore {
		return fmt.Sprintf("%s ends in %d days: weir keys rotate %s", id.Name, int(left.Hours()/24), id.Name)
	}
	return ""
}

// remindEvery is how often the log of a component that runs for months is told that its identity ends.
const remindEvery = 24 * time.Hour

// remind tells early enough that an identity ends.
func remind(log *slog.Logger, k *keys.Identity) {
	if text := endsSoon(k.Identity, time.Now()); text != "" {
		log.Warn("the identity needs a successor", "why", text)
	}
}

// reload lasts as long as the process. What can't be read leaves the old identity in use.
func (id *identity) reload(again <-chan os.Signal, daily <-chan time.Time, log *slog.Logger) {
	for {
		select {
		case <-daily:
			remind(log, id.now.Load())
			continue
		case <-again:
		}
		k, err := keys.Load(id.dir, id.trust)
		if err != nil {
			log.Error("the identity can't be read again: the old one stays", "err", err)
			continue
		}
		old := id.now.Swap(k)
		log.Info("identity read again", "name", k.Name, "until", k.NotAfter)
		remind(log, k)
		if old.Name == k.Name {
			continue
		}
		id.mu.Lock()
		for _, c := range id.clients {
			c.Renew()
		}
		id.mu.Unlock()
	}
}

// renews has a client connect anew when the identity has a successor.
func (id *identity) renews(c *bus.Client) {
	id.mu.Lock()
	defer id.mu.Unlock()
	id.clients = append(id.clients, c)
}

// credentials are those to connect with next. A broker of weir up's own is known by a name of its certificate, whatever address it is reached
// by.
func (id *identity) credentials(broker *identity, tls12 bool) bus.Credentials {
	k := id.now.Load()
	c := &tls.Config{Certificates: []tls.Certificate{k.Certificate}, RootCAs: k.Roots, MinVersion: tls.VersionTLS13}
	if tls12 {
		c.MinVersion = tls.VersionTLS12
	}
	if broker != nil {
		leaf := broker.now.Load().Certificate.Leaf
		for _, ip := range leaf.IPAddresses {
			c.ServerName = ip.String()
		}
		for _, name := range leaf.DNSNames {
			c.ServerName = name
		}
	}
	return bus.Credentials{TLS: c, Username: k.Name, Password: k.Password}
}
