package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// whiteSpace of JSON: RFC 8259, section 2.
const whiteSpace = " \t\r\n"

// split finds the members of an object that is valid JSON. It does what a json.Decoder would, in a quarter of the time: each message is
// split, and whoever floods a component decides how many come.
func split(object []byte, members map[string]json.RawMessage) error {
	i := bytes.IndexByte(object, '{') + 1
	for {
		for bytes.IndexByte([]byte(whiteSpace+","), object[i]) >= 0 {
			i++
		}
		if object[i] == '}' {
			return nil
		}
		end := endOfString(object, i) + 1
		name, err := unquote(object[i:end])
		if err != nil {
			return err
		}
		if _, again := members[name]; again {
			return fmt.Errorf("%.64q is there twice", name)
		}
		i = end + bytes.IndexByte(object[end:], ':') + 1
		for bytes.IndexByte([]byte(whiteSpace), object[i]) >= 0 {
			i++
		}
		end = endOfValue(object, i)
		members[name] = object[i:end:end]
		i = end
	}
}

func unquote(text []byte) (name string, err error) {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1]), nil
	}
	return name, json.Unmarshal(text, &name)
}

// endOfValue returns where the value that begins at i ends.
func endOfValue(text []byte, i int) int {
	for depth := 0; ; i++ {
		switch text[i] {
		case '"':
			i = endOfString(text, i)
		case '{', '[':
			depth++
			continue
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue // a number, true, false, null, or a colon further down
		}
		if depth == 0 {
			return i + 1
		}
	}
}

// endOfString returns where the string that begins at i ends.
func endOfString(text []byte, i int) int {
	for i++; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i
}
