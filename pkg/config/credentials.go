package config

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
)

// splitCredentials takes a name and a password out of the broker's address, which is logged and shown. A name that is set
// by itself comes first, and then the address's password belongs to somebody else.
func (b *Broker) splitCredentials() {
	u, err := url.Parse(b.URL)
	if err != nil || u.User == nil { // checkBroker has seen to errors
		return
	}
	if b.Username == "" {
		b.Username = u.User.Username()
		if password, ok := u.User.Password(); ok && b.Password == "" && b.PasswordFile == "" {
			b.Password = password
		}
	}
	u.User = nil
	b.URL = u.String()
}

func holdsPassword(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return false
	}
	password, _ := u.User.Password()
	return password != ""
}

// readPassword takes the password from its file, without the newline that editors put at the end.
func (b *Broker) readPassword() error {
	if b.PasswordFile == "" {
		return nil
	}
	if b.Password != "" {
		return errors.New("both password and password-file are given: leave one out")
	}
	text, _, err := readFile(b.PasswordFile, maxPassword)
	if err != nil {
		return fmt.Errorf("password-file %w", err)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 || bytes.ContainsAny(text, "\n\r\x00") {
		return fmt.Errorf("password-file %s: want one line, the password", b.PasswordFile)
	}
	b.Password = string(text)
	return nil
}
