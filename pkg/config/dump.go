package config

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Dump writes a configuration as YAML with every key explained. It can be loaded again and gives the same; secrets are
// left out and only told to be set or not.
func Dump(w io.Writer, c *Config) error {
	var b bytes.Buffer
	b.WriteString("# weir's settings in effect. A flag comes before its variable, a variable before this file.\n")
	section := ""
	for i := range Settings {
		s := &Settings[i]
		parent, name, nested := strings.Cut(s.Key, ".")
		indent := ""
		if nested {
			indent = "  "
		} else {
			parent, name = "", s.Key
		}
		b.WriteString("\n")
		if parent != section {
			section = parent
			fmt.Fprintf(&b, "%s:\n", section)
		}
		fmt.Fprintf(&b, "%s# %s\n%s# %s\n", indent, s.Help, indent, s.describe())
		b.WriteString(indent)
		if s.Type == Secret {
			fmt.Fprintf(&b, "# %s: %s", name, s.shown(c))
		} else {
			fmt.Fprintf(&b, "%s: %s", name, s.shown(c))
		}
		if from := c.given[s.Key]; from != "" {
			fmt.Fprintf(&b, "  # from %s", from)
		}
		b.WriteString("\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}

// describe is the part of a key's explanation that the table gives by itself.
func (s *Setting) describe() string {
	names := s.Env
	if s.Flag != "" {
		names = "--" + s.Flag + ", " + names
	}
	if s.Type == Secret {
		return fmt.Sprintf("%s; %s", s.Type, names)
	}
	return fmt.Sprintf("%s, default %s; %s", s.Type, s.quote(s.Default), names)
}

func (s *Setting) shown(c *Config) string {
	text := format(s.field(c))
	switch {
	case s.Type == Secret && text == "":
		return "not set"
	case s.Type == Secret:
		return "set, not shown"
	}
	return s.quote(text)
}

// quote keeps YAML from taking a name for something else.
func (s *Setting) quote(text string) string {
	if s.Type != String && s.Type != List {
		return text
	}
	out, err := yaml.Marshal(&yaml.Node{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle, Value: text})
	if err != nil {
		return `""` // text that can't be printed was refused when it was read
	}
	return strings.TrimSuffix(string(out), "\n")
}
