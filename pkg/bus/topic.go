package bus

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/weir-sensor/weir/pkg/wire"
)

const maxTopicBytes = 1024 // the embedded broker's limit

// validateTopic refuses what a broker would answer by closing the connection (MQTT 3.1.1, section 4.7.3).
func validateTopic(topic string) error {
	if strings.ContainsAny(topic, "+#") {
		return fmt.Errorf("topic %.64q: a message can't go to a wildcard", topic)
	}
	return validateFilter(topic)
}

func validateFilter(filter string) error {
	switch {
	case filter == "":
		return fmt.Errorf("topic is empty")
	case len(filter) > maxTopicBytes:
		return fmt.Errorf("topic %.64q is longer than %d bytes", filter, maxTopicBytes)
	case strings.Contains(filter, "\x00") || !utf8.ValidString(filter):
		return fmt.Errorf("topic %.64q holds NUL or isn't UTF-8", filter)
	case strings.HasPrefix(filter, "$share/"):
		return fmt.Errorf("topic %.64q: shared subscriptions aren't supported", filter)
	}
	levels := strings.Split(filter, "/")
	for i, level := range levels {
		if len(level) > 1 && strings.ContainsAny(level, "+#") || level == "#" && i != len(levels)-1 {
			return fmt.Errorf("topic %.64q: '+' stands for a whole level, '#' for the last ones", filter)
		}
	}
	return nil
}

func tooLarge(topic string, size int) error {
	return fmt.Errorf("payload for %s has %d bytes, more than %d: leave something out", topic, size, wire.MaxPayload)
}

// matches tells whether a topic falls under a filter (MQTT 3.1.1, section 4.7.1).
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (filter[0] == '+' || filter[0] == '#') {
		return false
	}
	for {
		f, frest, fmore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, trest, tmore := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		if !tmore {
			return !fmore || frest == "#"
		}
		if !fmore {
			return false
		}
		filter, topic = frest, trest
	}
}
