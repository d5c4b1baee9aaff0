package export

import (
	"fmt"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/weir-sensor/weir/pkg/access"
	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/trust"
)

// grace is for what should not come, once all has come that should.
const grace = 300 * time.Millisecond

// matrix compares what a broker does with the policy, cell by cell.
type matrix struct {
	*testing.T
	*world
	kind
	address string
	gaps    map[Gap]int // how often each was found
	cells   int
}

func TestMatrix(t *testing.T) {
	w := newWorld(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			m := &matrix{T: t, world: w, kind: k, address: k.start(t, w), gaps: map[Gap]int{}}
			for _, qos := range k.qos {
				m.publishing(qos)
			}
			m.retaining()
			m.leavingWills()
			m.subscribing()
			m.filtering()
			for _, g := range Gaps {
				if g.Broker == k.name && m.gaps[g] == 0 {
					t.Errorf("%s doesn't let %s pass any more: take it out of Gaps", g.Broker, g.Do)
				}
			}
			t.Logf("%d cells, gaps %v", m.cells, m.gaps)
		})
	}
}

// cell judges one: is what the broker has done what the policy says, or a gap that is known?
func (m *matrix) cell(who *te.Member, do access.Action, topic string, done bool) {
	m.Helper()
	m.cells++
	err := access.May(who.Identity, do, topic)
	if done == (err == nil) {
		return
	}
	g := Gap{m.name, do}
	for _, known := range Gaps {
		if done && known == g && access.May(who.Identity, access.Publish, topic) == nil {
			m.gaps[g]++
			return
		}
	}
	m.Errorf("%s: %s of %q/%q: %s %s: done %v, policy: %v", m.name, who.Role, who.Site, who.Server, do, topic, done, err)
}

// observers read all that can be read: a viewer of each site.
type observers []*session

func (m *matrix) observe() observers {
	m.Helper()
	var all observers
	for _, v := range m.all {
		if v.Role != trust.Viewer {
			continue
		}
		s := m.session(m.T, m.address, v)
		for _, f := range access.RulesFor(v.Identity).Read {
			wait(m.T, s.Subscribe(f, 1, nil))
		}
		all = append(all, s)
	}
	return all
}

func (o observers) saw(topic, payload string) bool {
	for _, s := range o {
		if s.has(topic, payload) {
			return true
		}
	}
	return false
}

func (o observers) end() {
	for _, s := range o {
		s.Disconnect(0)
	}
}

// settle waits for all that should be seen, and a little for what should not.
func (m *matrix) settle(seen func() bool) {
	for deadline := time.Now().Add(20 * time.Second); !seen() && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
	}
	time.Sleep(grace)
}

func label(do access.Action, who *te.Member, topic string) string {
	return fmt.Sprintf("%s %s %s", do, who.Name, topic)
}

// complete tells whether the observers saw everything that subjects may do.
func (m *matrix) complete(o observers, do access.Action, subjects ...*te.Member) func() bool {
	return func() bool {
		for _, who := range subjects {
			for _, topic := range topics() {
				if access.May(who.Identity, do, topic) == nil && !o.saw(topic, label(do, who, topic)) {
					return false
				}
			}
		}
		return true
	}
}

func (m *matrix) judge(o observers, do access.Action, subjects ...*te.Member) {
	m.Helper()
	m.settle(m.complete(o, do, subjects...))
	for _, who := range subjects {
		for _, topic := range topics() {
			m.cell(who, do, topic, o.saw(topic, label(do, who, topic)))
		}
	}
}

func (m *matrix) publishing(qos byte) {
	m.Helper()
	o, subjects := m.observe(), m.subjects(m.T)
	defer o.end()
	for _, who := range subjects {
		s := m.session(m.T, m.address, who)
		for _, topic := range topics() {
			wait(m.T, s.Publish(topic, qos, false, label(access.Publish, who, topic)))
		}
		wait(m.T, s.Unsubscribe("x")) // all before it has been read
	}
	m.judge(o, access.Publish, subjects...)
}

// retaining looks, after each subject, at what a newcomer is given.
func (m *matrix) retaining() {
	m.Helper()
	for _, who := range m.subjects(m.T) {
		s := m.session(m.T, m.address, who)
		for _, topic := range topics() {
			wait(m.T, s.Publish(topic, 0, true, label(access.PublishRetained, who, topic)))
		}
		wait(m.T, s.Unsubscribe("x"))
		s.Disconnect(0)
		var o observers
		// Some brokers keep a message a little later than they have read it.
		for deadline := time.Now().Add(20 * time.Second); ; {
			o = m.observe()
			seen := m.complete(o, access.PublishRetained, who)
			time.Sleep(50 * time.Millisecond)
			if seen() || time.Now().After(deadline) {
				break
			}
			o.end()
		}
		m.judge(o, access.PublishRetained, who)
		o.end()
	}
}

func (m *matrix) leavingWills() {
	m.Helper()
	o, subjects := m.observe(), m.subjects(m.T)
	defer o.end()
	var each sync.WaitGroup
	for _, who := range subjects {
		each.Go(func() {
			for _, topic := range topics() {
				s := m.connect(m.address, who, func(o *mqtt.ClientOptions) { o.SetWill(topic, label(access.Will, who, topic), 0, false) })
				if s != nil {
					_ = s.conn.Close()
				}
			}
		})
	}
	each.Wait()
	m.judge(o, access.Will, subjects...)
}

// publishers publish what is theirs, on each topic that is somebody's.
func (m *matrix) publishers(payload string) {
	m.Helper()
	for _, who := range m.all {
		if who.Role == trust.Broker {
			continue
		}
		var s *session
		for _, topic := range topics() {
			if access.May(who.Identity, access.Publish, topic) != nil {
				continue
			}
			if s == nil {
				s = m.session(m.T, m.address, who)
			}
			wait(m.T, s.Publish(topic, 1, false, payload))
		}
		if s != nil {
			s.Disconnect(100)
		}
	}
}

// published is what publishers publish.
func (m *matrix) published() []string {
	var all []string
	for _, topic := range topics() {
		for _, who := range m.all {
			if access.May(who.Identity, access.Publish, topic) == nil {
				all = append(all, topic)
				break
			}
		}
	}
	return all
}

// subscribing subscribes to each topic by name.
func (m *matrix) subscribing() {
	m.Helper()
	all, subjects := map[*te.Member]*session{}, m.subjects(m.T)
	for _, who := range subjects {
		s := m.session(m.T, m.address, who)
		for _, topic := range topics() {
			s.Subscribe(topic, 1, nil).WaitTimeout(10 * time.Second) // brokers differ in how they refuse
		}
		all[who] = s
	}
	m.publishers("live")
	published := m.published()
	m.settle(func() bool {
		for _, who := range subjects {
			for _, topic := range published {
				if access.May(who.Identity, access.Subscribe, topic) == nil && !all[who].has(topic, "live") {
					return false
				}
			}
		}
		return true
	})
	for _, who := range subjects {
		for _, topic := range published {
			m.cell(who, access.Subscribe, topic, all[who].has(topic, "live"))
		}
	}
}
