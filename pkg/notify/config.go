package notify

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/weir-sensor/weir/pkg/secretfile"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Config says whom to notify.
type Config struct {
	Root wire.Root // of the server that the alerts are about

	Alertmanager []string // http[s]://[user@]host[:port][/prefix]
	PasswordFile string   // of that user
	Webhook      []string // http[s]://…
	KeyFile      string   // that webhooks are signed with
	Syslog       []string // unix:///path, or udp, tcp or tls://host[:port]
}

// minKey is what a webhook's key has at least, in bytes: what is shorter can be guessed from a message and its signature.
const minKey = 16

func (c Config) outlets() ([]outlet, error) {
	var all []outlet
	var errs []error
	refuse := func(key string, err error) { errs = append(errs, fmt.Errorf("%s: %w", key, err)) }
	password := ""
	if c.PasswordFile != "" {
		text, err := secretfile.ReadLine(c.PasswordFile)
		if err != nil {
			refuse("notify.alertmanager-password-file", err)
		}
		password = string(text)
	}
	for _, text := range c.Alertmanager {
		u, err := parse(text, "http", "https")
		if err == nil && (u.User.Username() == "") != (c.PasswordFile == "") {
			err = errors.New("give both a user in its address, http://USER@host, and notify.alertmanager-password-file, or neither")
		}
		if err != nil {
			refuse("notify.alertmanager", err)
			continue
		}
		all = append(all, newAlertmanager(u, password))
	}
	key, err := c.webhookKey()
	if err != nil {
		errs = append(errs, err)
	}
	for i, text := range c.Webhook {
		u, err := parse(text, "http", "https")
		if err != nil {
			refuse("notify.webhook", err)
			continue
		}
		w := newWebhook(u, key)
		if i > 0 { // of several on one host the paths aren't told
			w.label += fmt.Sprintf(" (%d)", i+1)
		}
		all = append(all, w)
	}
	for _, text := range c.Syslog {
		u, err := parse(text, "unix", "udp", "tcp", "tls")
		if err != nil {
			refuse("notify.syslog", err)
			continue
		}
		all = append(all, newSyslog(u))
	}
	for i, o := range all {
		if slices.ContainsFunc(all[:i], func(other outlet) bool { return other.name() == o.name() }) {
			errs = append(errs, fmt.Errorf("notify: %s is there twice: once is enough", o.name()))
		}
	}
	return all, errors.Join(errs...)
}

// Validate names what is wrong, one line each. It reads the files.
func (c Config) Validate() error {
	_, err := c.outlets()
	return err
}

func (c Config) webhookKey() ([]byte, error) {
	switch {
	case len(c.Webhook) == 0:
		return nil, nil
	case c.KeyFile == "":
		return nil, errors.New("notify.webhook needs notify.webhook-key-file, by which the receiver knows that it is weir: head -c 32 /dev/urandom | base64 > FILE")
	}
	key, err := secretfile.ReadLine(c.KeyFile)
	if err == nil && len(key) < minKey {
		err = fmt.Errorf("%s holds %d bytes: give %d at least", c.KeyFile, len(key), minKey)
	}
	if err != nil {
		return nil, fmt.Errorf("notify.webhook-key-file: %w", err)
	}
	return key, nil
}

// parse doesn't repeat an address that may hold a secret.
func parse(text string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Scheme != "unix" && u.Hostname() == "" || u.Scheme == "unix" && (u.Host != "" || u.Path == "") {
		example := schemes[0] + "://host[:port]"
		if schemes[0] == "unix" {
			example = "unix:///dev/log, udp://host or tcp://host:601"
		}
		return nil, fmt.Errorf("give an address like %s, one of %v", example, schemes)
	}
	if _, there := u.User.Password(); there {
		return nil, fmt.Errorf("%s: leave the password out of the address, which everybody can read", u.Host)
	}
	return u, nil
}
