package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// yamlParser is a koanf.Parser that knows the settings, so that it can say which line is wrong. It takes the text of
// values as it is written: `org: 0123` is the name "0123".
type yamlParser struct {
	path          string
	values        map[string]any // what Unmarshal returned
	lines         map[string]int // where those stand
	seen          map[string]int // lines of all keys, sections included
	holdsPassword bool
}

// Marshal is there because koanf asks for it; see Dump.
func (p *yamlParser) Marshal(map[string]any) ([]byte, error) {
	return nil, errors.New("the file is only read")
}

// Unmarshal returns values by their whole keys.
func (p *yamlParser) Unmarshal(text []byte) (map[string]any, error) {
	p.values, p.lines, p.seen = map[string]any{}, map[string]int{}, map[string]int{}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // a byte order mark, from an editor on Windows
	if err := p.checkText(text); err != nil {
		return nil, err
	}
	documents := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := documents.Decode(&doc); errors.Is(err, io.EOF) {
		return p.values, nil
	} else if err != nil {
		return nil, p.explain(text, err)
	}
	var second yaml.Node
	if err := documents.Decode(&second); err == nil {
		return nil, p.at(&second, "a second document begins: keep one, without ---")
	} else if !errors.Is(err, io.EOF) {
		return nil, p.explain(text, err)
	}
	return p.values, p.section("", doc.Content[0])
}

// checkText refuses what isn't text, before YAML's reader says so without a line.
func (p *yamlParser) checkText(text []byte) error {
	line := 1
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return fmt.Errorf("%s:%d: holds the byte %#02x: want a text file in UTF-8", p.path, line, text[0])
		}
		if r == '\n' {
			line++
		}
		text = text[n:]
	}
	return nil
}

// section reads the keys of a mapping; prefix is "" or ends with a dot.
func (p *yamlParser) section(prefix string, n *yaml.Node) error {
	name := strings.TrimSuffix(prefix, ".")
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		return nil // a section with all of its keys commented out
	case n.Kind == yaml.AliasNode:
		return p.at(n, "%s: write the value instead of an alias", name)
	case n.Kind != yaml.MappingNode && name == "":
		return p.at(n, "want settings as `key: value`, not %s", kind(n))
	case n.Kind != yaml.MappingNode:
		return p.at(n, "%s: want keys under it, not %s", name, kind(n))
	}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			return p.at(key, "want a key, not %s", kind(key))
		}
		whole := prefix + key.Value
		if line, twice := p.seen[whole]; twice {
			return p.at(key, "%s is given twice, first in line %d: remove one", whole, line)
		}
		p.seen[whole] = key.Line
		var err error
		if s := index[whole]; s != nil {
			err = p.setting(s, value)
		} else if isSection(whole) {
			err = p.section(whole+".", value)
		} else {
			err = unknown(fmt.Sprintf("%s:%d", p.path, key.Line), whole, func(s *Setting) string { return s.Key })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *yamlParser) setting(s *Setting, n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode:
		return p.at(n, "%s: write the value instead of an alias", s.Key)
	case n.Kind == yaml.SequenceNode && s.Type == List:
		joined, err := p.join(s, n)
		if err != nil {
			return err
		}
		return p.setting(s, joined)
	case n.Kind != yaml.ScalarNode:
		return p.at(n, "%s: want one value (%s), not %s", s.Key, s.Type, kind(n))
	case n.ShortTag() == "!!null":
		return p.at(n, `%s has no value: give one ("" for empty) or remove the line`, s.Key)
	case n.Style&yaml.TaggedStyle != 0:
		return p.at(n, "%s: leave out the tag %.50q", s.Key, n.Tag)
	}
	value, err := s.parse(n.Value)
	if err != nil {
		return s.refuse(fmt.Sprintf("%s:%d: %s", p.path, n.Line, s.Key), n.Value, err)
	}
	p.values[s.Key], p.lines[s.Key] = value, n.Line
	if s.Type == Secret && n.Value != "" || s.Key == "broker" && holdsPassword(n.Value) {
		p.holdsPassword = true
	}
	return nil
}

// join makes one value of a list's, as it may also be written.
func (p *yamlParser) join(s *Setting, n *yaml.Node) (*yaml.Node, error) {
	var items []string
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode || item.ShortTag() == "!!null" || strings.Contains(item.Value, ",") {
			return nil, p.at(item, "%s: want one value in each place of the list", s.Key)
		}
		items = append(items, item.Value)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.Join(items, ","), Line: n.Line}, nil
}

func isSection(name string) bool {
	for i := range Settings {
		if strings.HasPrefix(Settings[i].Key, name+".") {
			return true
		}
	}
	return false
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a section"
	}
	return "a single value"
}

func (p *yamlParser) at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.path, n.Line, fmt.Sprintf(format, args...))
}

var (
	yamlLine  = regexp.MustCompile(`^yaml: line (\d+): (.*)`)
	tabIndent = regexp.MustCompile(`(?m)^ *\t`)
)

// explain puts the library's complaint into the form of ours.
func (p *yamlParser) explain(text []byte, err error) error {
	if at := tabIndent.FindIndex(text); at != nil {
		return fmt.Errorf("%s:%d: indent with spaces, YAML takes no tabs", p.path, 1+bytes.Count(text[:at[0]], []byte("\n")))
	}
	message, _, _ := strings.Cut(err.Error(), "\n")
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ := strconv.Atoi(m[1])
		return fmt.Errorf("%s:%d: not YAML: %s", p.path, line, m[2])
	}
	return fmt.Errorf("%s: not YAML: %s", p.path, strings.TrimPrefix(message, "yaml: "))
}
