package testenv

import (
	"bytes"
	"testing"
	"time"
)

func TestObserverSeesWhatIsPublished(t *testing.T) {
	n := NewNet(t)
	for _, h := range []*Host{Local(), n.Host("bank")} {
		t.Run(h.Name, func(t *testing.T) {
			broker := Mosquitto(t, h)
			const root = "<103795587>/bank_server/"
			Publish(t, h, broker, root+"status", []byte("kept"), "-r", "-q", "1")
			o := Observe(t, h, broker)
			start := time.Now()
			odd := []byte("{\"a\":\n\t1}\x00\xff")
			Publish(t, h, broker, root+"a b c", odd, "-q", "1")
			Publish(t, h, broker, root+"big", bytes.Repeat([]byte("x"), 100_000))
			Publish(t, h, broker, root+"empty", nil)

			kept := o.Await(t, 5*time.Second, "retained message", func(m Message) bool { return m.Topic == root+"status" })
			if !kept.Retained || string(kept.Payload) != "kept" || kept.QoS != 1 {
				t.Errorf("%+v", kept)
			}
			got := o.Await(t, 5*time.Second, "odd message", func(m Message) bool { return m.Topic == root+"a b c" })
			if got.Retained || !bytes.Equal(got.Payload, odd) || got.At.Sub(start).Abs() > 5*time.Second {
				t.Errorf("%+v", got)
			}
			o.Await(t, 5*time.Second, "big message", func(m Message) bool { return len(m.Payload) == 100_000 })
			o.Await(t, 5*time.Second, "empty message", func(m Message) bool { return m.Topic == root+"empty" && len(m.Payload) == 0 })
			if got := len(o.Messages()); got != 4 {
				t.Errorf("%d messages, want 4", got)
			}
		})
	}
}
