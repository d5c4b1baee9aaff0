// Package contract holds what goes over the wire against docs/asyncapi.yaml. Only tests import it.
package contract

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/weir-sensor/weir/pkg/wire"
)

// Document is docs/asyncapi.yaml.
type Document struct {
	tree     map[string]any
	payloads map[string]*jsonschema.Schema // by name of the channel; nil where a payload may be anything
	address  map[string]string             // of the channels
}

// Path is where the document lies.
func Path() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "..", "..", "..", "docs", "asyncapi.yaml")
}

// Load reads the document. Its schemas are taken more strictly than it says: a member that isn't documented is an error.
func Load() (*Document, error) {
	text, err := os.ReadFile(Path())
	if err != nil {
		return nil, err
	}
	d := &Document{payloads: map[string]*jsonschema.Schema{}, address: map[string]string{}}
	if err := yaml.Unmarshal(text, &d.tree); err != nil {
		return nil, err
	}
	for name, schema := range d.at("components", "schemas") {
		if !payloadSchemas[name] {
			closeObjects(schema)
		}
	}
	for name := range payloadSchemas {
		for _, member := range d.at("components", "schemas", name, "properties") {
			closeObjects(member)
		}
	}
	return d, d.compile()
}

// payloadSchemas are those that payloads are made of by allOf, so that one of them mustn't refuse the other's members.
var payloadSchemas = map[string]bool{
	"CPU": true, "RAM": true, "Network": true, "Alert": true, "Command": true, "Status": true, "Presence": true, "seal": true,
}

// closeObjects lets no object have members that aren't documented.
func closeObjects(v any) {
	schema, ok := v.(map[string]any)
	if !ok {
		return
	}
	if schema["properties"] != nil {
		schema["additionalProperties"] = false
	}
	for _, part := range schema {
		closeObjects(part)
	}
}

func (d *Document) compile() error {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020) // for unevaluatedProperties; the document's own keywords mean the same in draft 7
	tree, err := plain(d.tree)
	if err == nil {
		err = c.AddResource("asyncapi.yaml", tree)
	}
	if err != nil {
		return err
	}
	for name, v := range d.at("channels") {
		channel := v.(map[string]any)
		d.address[name], _ = channel["address"].(string)
		for message := range channel["messages"].(map[string]any) {
			at := "#/components/messages/" + message + "/payload"
			if message == "public" {
				d.payloads[name] = nil
				continue
			}
			wrapper := map[string]any{"$ref": "asyncapi.yaml" + at, "unevaluatedProperties": false}
			if err := c.AddResource(message+".json", wrapper); err != nil && !errors.As(err, new(*jsonschema.ResourceExistsError)) {
				return err
			}
			if d.payloads[name], err = c.Compile(message + ".json"); err != nil {
				return err
			}
		}
	}
	return nil
}

// plain turns what YAML gives into what JSON gives, numbers included.
func plain(v any) (any, error) {
	text, err := wire.Encode(v)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(bytes.NewReader(text))
}

// at is a map within the document, nil if there is none.
func (d *Document) at(path ...string) map[string]any {
	tree := d.tree
	for _, p := range path {
		tree, _ = tree[p].(map[string]any)
	}
	return tree
}

// Channel is the name of the channel that a topic belongs to, "" if there is none.
func (d *Document) Channel(root wire.Root, topic string) string {
	for name, address := range d.address {
		prefix, parameter, _ := strings.Cut(address, "{")
		if strings.HasPrefix(parameter, "root}") && topic == root.String()+strings.TrimPrefix(parameter, "root}") {
			return name
		}
		if prefix != "" && strings.HasPrefix(topic, prefix) {
			return name
		}
	}
	return ""
}

// Channels are the names of all channels.
func (d *Document) Channels() []string {
	var names []string
	for name := range d.payloads {
		names = append(names, name)
	}
	return names
}

// Check says what about a message isn't as documented.
func (d *Document) Check(root wire.Root, topic string, payload []byte) error {
	name := d.Channel(root, topic)
	schema, ok := d.payloads[name]
	switch {
	case !ok:
		return fmt.Errorf("%s is no documented topic", topic)
	case schema == nil:
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err == nil {
		err = schema.Validate(v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", topic, err, payload)
	}
	return nil
}
