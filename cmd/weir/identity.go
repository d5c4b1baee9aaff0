package main

import (
	"crypto/tls"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-sensor/weir/pkg/bus"
	"github.com/weir-sensor/weir/pkg/keys"
)

// identity is what weir keys has issued for one component. It changes when it is read again.
type identity struct {
	dir   string
	trust string // path of the trust file; "" for the one in dir
	now   atomic.Pointer[keys.Identity]
}

// identity reads a component's, and reads it again on SIGHUP; it is nil if there is none. weir up has a directory of them.
func (s setup) identity(component string) (*identity, error) {
	dir := s.cfg.Broker.Identity
	if dir == "" {
		return nil, nil
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
	complain(log, k)
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	go id.reload(again, log)
	return id, nil
}

// complain tells early enough that an identity ends.
func complain(log *slog.Logger, k *keys.Identity) {
	now := time.Now()
	if err := k.Valid(now); err != nil {
		log.Error("nobody will believe this identity", "err", err)
	} else if left := k.NotAfter.Sub(now); left < warnBefore {
		log.Warn("the identity ends soon: weir keys rotate", "name", k.Name, "until", k.NotAfter)
	}
}

// reload lasts as long as the process. What can't be read leaves the old identity in use.
func (id *identity) reload(again <-chan os.Signal, log *slog.Logger) {
	for range again {
		k, err := keys.Load(id.dir, id.trust)
		if err != nil {
			log.Error("the identity can't be read again: the old one stays", "err", err)
			continue
		}
		id.now.Store(k)
		log.Info("identity read again", "name", k.Name, "until", k.NotAfter)
		complain(log, k)
	}
}

// credentials are those to connect with next.
func (id *identity) credentials(tls12 bool) bus.Credentials {
	k := id.now.Load()
	c := &tls.Config{Certificates: []tls.Certificate{k.Certificate}, RootCAs: k.Roots, MinVersion: tls.VersionTLS13}
	if tls12 {
		c.MinVersion = tls.VersionTLS12
	}
	return bus.Credentials{TLS: c, Username: k.Name, Password: k.Password}
}
