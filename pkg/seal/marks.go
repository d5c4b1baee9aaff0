package seal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/weir-sensor/weir/pkg/atomicfile"
	"github.com/weir-sensor/weir/pkg/wire"
)

// marks are the highest numbers so far, by topic and key. It isn't safe for use side by side.
type marks struct {
	file string
	seen map[string]map[string]uint64
}

// maxTopics bounds what one receiver keeps. Keys are those of the trust file.
const maxTopics = 4096

// readMarks reads a file of them. One that is broken is put aside, which err tells; known is false if nothing is known of the past.
func readMarks(file string) (m *marks, known bool, err error) {
	m = &marks{file: file, seen: map[string]map[string]uint64{}}
	if file == "" {
		return m, false, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return m, false, nil
	}
	if err == nil {
		if m.seen, err = parseMarks(text); err == nil {
			return m, true, nil
		}
		m.seen = map[string]map[string]uint64{}
		err = errors.Join(err, os.Rename(file, file+".broken"))
	}
	return m, false, fmt.Errorf("%s: %w", file, err)
}

func parseMarks(text []byte) (map[string]map[string]uint64, error) {
	var seen map[string]map[string]uint64
	if json.Unmarshal(text, &seen) != nil || seen == nil {
		return nil, errors.New("no numbers of commands")
	}
	for _, keys := range seen {
		for id, seq := range keys {
			if seq > wire.MaxSeq {
				return nil, fmt.Errorf("%.64q has number %d", id, seq)
			}
		}
	}
	return seen, nil
}

// pass notes a number that is higher than those before.
func (m *marks) pass(keyID, topic string, seq uint64) error {
	keys := m.seen[topic]
	if last := keys[keyID]; seq <= last {
		return fmt.Errorf("%w: number %d of %s, after %d", ErrReplayed, seq, keyID, last)
	}
	if keys == nil {
		if len(m.seen) >= maxTopics {
			return errors.New("too many topics")
		}
		keys = map[string]uint64{}
		m.seen[topic] = keys
	}
	keys[keyID] = seq
	return nil
}

func (m *marks) isLast(keyID, topic string, seq uint64) bool { return m.seen[topic][keyID] == seq }

// save writes a topic's marks to disk.
func (m *marks) save(topic string) error {
	if m.file == "" {
		return nil
	}
	text, err := json.Marshal(map[string]map[string]uint64{topic: m.seen[topic]})
	if err != nil {
		return err
	}
	return atomicfile.Write(m.file, text, 0o600)
}
