package top

import (
	"context"
	"errors"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/weir-sensor/weir/pkg/wire"
)

// model is the interactive program: a picture, what a person has chosen to see of it, and what he was asked.
type model struct {
	cfg       Config
	picture   *Picture
	commander Commander
	ctx       context.Context // of commands

	now           time.Time
	width, height int
	face          int
	selected      string // source; "" for the first
	help          bool

	asked   *wire.Command // to be confirmed
	pending string        // command without an answer yet
	note    note
}

// note is one line about what was done last.
type note struct {
	tone tone
	text string
}

// tick makes ages grow.
type tick time.Time

// answered is what became of a command.
type answered struct {
	command string
	status  wire.Status
	err     error
}

// ended is the end of the source.
type ended struct{ err error }

const tickEvery = 500 * time.Millisecond

func newModel(ctx context.Context, cfg Config, c Commander, now time.Time) *model {
	return &model{cfg: cfg, picture: NewPicture(cfg, now), commander: c, ctx: ctx, now: now, width: 80, height: 24}
}

// Init starts the clock.
func (m *model) Init() tea.Cmd { return ticking() }

func ticking() tea.Cmd {
	return tea.Tick(tickEvery, func(t time.Time) tea.Msg { return tick(t) })
}

// Update takes in what has happened.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tick:
		m.now = time.Time(msg)
		return m, ticking()
	case Event:
		m.now = latest(m.now, msg.At)
		m.picture.Apply(msg)
	case answered:
		m.pending = ""
		m.note = noteOf(msg)
	case ended:
		if msg.err != nil && !errors.Is(msg.err, context.Canceled) {
			m.note = note{bad, oneLine(msg.err.Error())}
		}
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return m, m.key(msg.String())
	}
	return m, nil
}

// View draws the whole screen.
func (m *model) View() tea.View {
	v := tea.NewView(m.screen())
	v.AltScreen = true
	v.WindowTitle = "weir top"
	return v
}

func (m *model) seen() *face { return m.picture.faces[m.face] }

// move selects another source by its place. The selection then stays with the source, wherever it goes.
func (m *model) move(by int) {
	all := m.seen().network.TopSources
	if len(all) == 0 {
		return
	}
	at := max(0, slices.IndexFunc(all, func(s wire.Source) bool { return s.Source == m.selected }))
	m.selected = all[min(max(at+by, 0), len(all)-1)].Source
}
