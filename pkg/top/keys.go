package top

import (
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/weir-sensor/weir/pkg/prefixlist"
	"github.com/weir-sensor/weir/pkg/wire"
)

// blockFor is a block's time, that of `weir ctl block` as well.
const blockFor = time.Hour

// key acts on a key by its name.
func (m *model) key(name string) tea.Cmd {
	switch {
	case name == "ctrl+c":
		return tea.Quit
	case name == "ctrl+z":
		return tea.Suspend
	case m.asked != nil:
		return m.reply(name)
	case m.help:
		m.help = false
		if name == "q" {
			return tea.Quit
		}
		return nil
	}
	switch name {
	case "q":
		return tea.Quit
	case "?", "h":
		m.help = true
	case "up", "k":
		m.move(-1)
	case "down", "j":
		m.move(1)
	case "tab":
		m.face, m.selected = (m.face+1)%len(m.picture.faces), ""
	case "e":
		m.ask(wire.Command{Command: wire.EnableRateLimiting})
	case "d":
		m.ask(wire.Command{Command: wire.DisableRateLimiting})
	case "b":
		m.askBlock()
	}
	return nil
}

func (m *model) askBlock() {
	all := m.seen().network.TopSources
	if len(all) == 0 {
		m.note = note{uneasy, "there is no source to block"}
		return
	}
	m.move(0) // from here on it is this source, even if another comes first
	if _, err := prefixlist.Parse(m.selected); err != nil {
		m.note = note{uneasy, fmt.Sprintf("can't block %s: it is no address", safe(m.selected))}
		return
	}
	m.ask(wire.Command{Command: wire.BlockSource, Source: m.selected, TTLSeconds: blockFor.Seconds()})
}

// ask has a command confirmed. There is one at a time: answers must not be mixed up by whoever reads them.
func (m *model) ask(c wire.Command) {
	if m.pending != "" {
		m.note = note{uneasy, m.pending + " has no answer yet: wait for it"}
		return
	}
	c.Origin, c.Reason = "top", "asked for in weir top"
	m.asked, m.note = &c, note{}
}

// reply takes y for yes. Whatever isn't clearly yes or no changes nothing.
func (m *model) reply(name string) tea.Cmd {
	switch name {
	case "y":
		c := *m.asked
		m.asked, m.pending = nil, c.Command
		return m.send(c)
	case "n", "q", "esc":
		m.note = note{plain, m.asked.Command + " was not sent"}
		m.asked = nil
	}
	return nil
}

func (m *model) send(c wire.Command) tea.Cmd {
	return func() tea.Msg {
		status, err := m.commander.Send(m.ctx, c)
		return answered{c.Command, status, err}
	}
}

// question says precisely what yes does.
func (m *model) question() string {
	c := m.asked
	what := ""
	switch c.Command {
	case wire.EnableRateLimiting:
		what = "enable rate limiting? packets over a limit or budget are dropped or challenged, for as long as the flood lasts"
	case wire.DisableRateLimiting:
		what = "disable rate limiting? nothing is dropped any more, but what comes from blocked sources"
	case wire.BlockSource:
		what = fmt.Sprintf("block %s for 1h? all its packets are dropped, but to management ports", safe(c.Source))
	}
	return fmt.Sprintf("on %s: %s", safe(m.cfg.Root.String()), what)
}

func noteOf(a answered) note {
	switch {
	case a.err != nil:
		return note{bad, oneLine(a.err.Error())}
	case a.status.ApprovalUntil > 0:
		return note{uneasy, statusText(a.status)}
	case a.status.Status != wire.Success:
		return note{bad, statusText(a.status)}
	}
	return note{good, statusText(a.status)}
}
