package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"
)

// Register adds the flags of the settings that apply to a command: all for "config".
func Register(fs *pflag.FlagSet, command string) {
	for i := range Settings {
		s := &Settings[i]
		if s.Flag == "" || !s.appliesTo(command) {
			continue
		}
		f := fs.VarPF(&flagValue{setting: s, text: s.Default}, s.Flag, "", s.Help)
		if s.Type == Bool {
			f.NoOptDefVal = "true"
		}
	}
}

// flagValue is a pflag.Value that parses as the other layers do.
type flagValue struct {
	setting *Setting
	text    string
	value   any // nil unless set
}

func (v *flagValue) String() string { return v.text }
func (v *flagValue) Type() string   { return string(v.setting.Type) }

// Set is called by pflag, which puts the flag's name and the text before an error.
func (v *flagValue) Set(text string) error {
	if v.setting.Type == List && v.value != nil {
		text = v.text + "," + text
	}
	value, err := v.setting.parse(text)
	if err != nil {
		return err
	}
	v.text, v.value = text, value
	return nil
}

// flagOf returns a flag's setting, nil for one that isn't ours, as --help.
func flagOf(f *pflag.Flag) *flagValue {
	v, _ := f.Value.(*flagValue)
	return v
}

// MayHoldSecret tells whether a value mustn't be repeated in errors and logs.
func (s *Setting) MayHoldSecret() bool {
	return s.Type == Secret || slices.Contains([]string{"broker", "notify.webhook", "scaling.health", "scaling.exec.env"}, s.Key)
}

// Misused explains an error of pflag's, which repeats the value, where that may hold a secret. Others it returns as they are.
func Misused(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	if v := flagOf(invalid.GetFlag()); v != nil && v.setting.MayHoldSecret() {
		return fmt.Errorf("invalid argument for --%s: %w", v.setting.Flag, errors.Unwrap(invalid))
	}
	return err
}

// refuse says what is wrong with a value, and where it stands; a secret isn't repeated.
func (s *Setting) refuse(where, text string, err error) error {
	if s.MayHoldSecret() {
		return fmt.Errorf("%s: %w", where, err)
	}
	return fmt.Errorf("%s %.100q: %w", where, text, err)
}
