package config

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Type is what a setting's value may be.
type Type string

// The types.
const (
	String   Type = "string"
	Bool     Type = "bool"
	Int      Type = "int"
	Float    Type = "float"
	Duration Type = "duration"
	Secret   Type = "secret" // a string that is never shown
	List     Type = "list"   // a string with commas; a flag may be repeated, and YAML's lists do too
)

func typeOf(field any) Type {
	switch field.(type) {
	case *bool:
		return Bool
	case *int, *uint64:
		return Int
	case *float64:
		return Float
	case *time.Duration:
		return Duration
	}
	return String
}

// parse turns text, of whatever layer, into the value for a setting's field. The error doesn't repeat the text.
func (s *Setting) parse(text string) (any, error) {
	switch s.field(&Config{}).(type) {
	case *bool:
		if text != "true" && text != "false" {
			return nil, errors.New("give true or false")
		}
		return text == "true", nil
	case *int:
		return parsed(strconv.Atoi(text))("give a whole number, like 10")
	case *uint64:
		return parsed(strconv.ParseUint(text, 10, 64))("give a whole number, like 100")
	case *float64:
		x, err := strconv.ParseFloat(text, 64)
		if math.IsNaN(x) || math.IsInf(x, 0) {
			err = strconv.ErrRange
		}
		return parsed(x, err)("give a number, like 80 or 0.8")
	case *time.Duration:
		return parsed(time.ParseDuration(text))("give a time with its unit, like 500ms, 5s or 10m")
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return nil, errors.New("leave out what can't be printed")
	}
	if s.check != nil {
		return text, s.check(text)
	}
	return text, nil
}

func parsed[T any](x T, err error) func(mend string) (any, error) {
	return func(mend string) (any, error) {
		if err != nil {
			return nil, errors.New(mend)
		}
		return x, nil
	}
}

// assign puts a parsed value into its field.
func (s *Setting) assign(c *Config, value any) {
	switch field := s.field(c).(type) {
	case *bool:
		*field = value.(bool)
	case *int:
		*field = value.(int)
	case *uint64:
		*field = value.(uint64)
	case *float64:
		*field = value.(float64)
	case *time.Duration:
		*field = value.(time.Duration)
	case *string:
		*field = value.(string)
	}
}

// format is the inverse of parse.
func format(field any) string {
	switch x := field.(type) {
	case *bool:
		return strconv.FormatBool(*x)
	case *int:
		return strconv.Itoa(*x)
	case *uint64:
		return strconv.FormatUint(*x, 10)
	case *float64:
		return strconv.FormatFloat(*x, 'g', -1, 64)
	case *time.Duration:
		return shortDuration(*x)
	}
	return *field.(*string)
}

// shortDuration writes 10m instead of 10m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func oneOf(words ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("give one of %s", strings.Join(words, ", "))
		}
		return nil
	}
}

// checkBroker refuses what splitCredentials wouldn't find a password in.
func checkBroker(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
		return errors.New("give scheme://[user@]host[:port], like tcp://127.0.0.1:1883 or tls://broker.example")
	}
	return nil
}
