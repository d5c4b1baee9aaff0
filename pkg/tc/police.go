package tc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Police is an action that drops what exceeds a rate, and leaves the rest to the filters after it. It stands by itself: filters
// share it by its index, and its counts stay when they go.
type Police struct {
	Index uint32
	Rate  uint64   // packets per second; 0 for any
	Burst uint64   // packets
	Bytes bool     // by a byte rate, as before Linux 5.12: see overhead
	Note  [16]byte // whose it is, and what else is to be remembered
	Seen  uint64   // packets, as counted since it was made
	Drops uint32   // of them; wraps
	Bound int      // filters that use it
}

// A byte rate is made one of packets by counting so many bytes more for each: frames of 60 and 1,514 bytes then differ by 7 %, SYNs
// with and without options by 0.2 %.
const overhead = 20_000

// frame is what a SYN with the usual options counts, beside overhead: the kernel counts from the IP header on.
const frame = 60

// MaxRate of a Police, in packets per second: a byte rate has 32 bits.
const MaxRate = math.MaxUint32 / (overhead + frame)

// Of linux/pkt_cls.h, where the library has none.
const (
	policePktRate  = 10 // TCA_POLICE_PKTRATE64
	policePktBurst = 11 // TCA_POLICE_PKTBURST64

	policeLen   = 56 // struct tc_police: index, action, limit, burst, mtu, two struct tc_ratespec, refcnt, bindcnt, capab
	rateTable   = 1024
	tickShift   = 6          // PSCHED_SHIFT of net/pkt_sched.h: a tick is 64 ns
	doContinue  = 0xffffffff // TC_ACT_UNSPEC
	doDrop      = 2          // TC_ACT_SHOT
	actsAtOnce  = 32         // TCA_ACT_MAX_PRIO
	actRoot     = 1          // TCA_ACT_TAB of linux/rtnetlink.h
	statsBasic  = 1          // TCA_STATS_BASIC of linux/gen_stats.h
	statsQueue  = 3          // TCA_STATS_QUEUE
	statsPkt64  = 8          // TCA_STATS_PKT64
	policeLabel = "police"
)

// SetPolice makes actions, or gives those of the same index other parameters, all by one message; their counts go on. There must not
// be more than 32.
func SetPolice(all ...Police) error {
	if len(all) > actsAtOnce {
		return fmt.Errorf("%d police actions at once: the kernel takes %d", len(all), actsAtOnce)
	}
	_, err := request(unix.RTM_NEWACTION, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK, actionHeader{}, actions(all, Police.set))
	return explain("set a police action", err)
}

// RemovePolice removes an action that no filter uses. One that isn't there is no error.
func RemovePolice(index uint32) error {
	return settle(unix.EPERM, func() error {
		_, err := request(unix.RTM_DELACTION, unix.NLM_F_ACK, actionHeader{}, actions([]Police{{Index: index}}, Police.name))
		if gone(err) {
			return nil
		}
		return explain("remove a police action", err)
	})
}

// GetPolice reads an action. ok is false if there is none.
func GetPolice(index uint32) (p Police, ok bool, err error) { return getPolice(request, index) }

func getPolice(request requester, index uint32) (p Police, ok bool, err error) {
	answers, err := request(unix.RTM_GETACTION, 0, actionHeader{}, actions([]Police{{Index: index}}, Police.name))
	if gone(err) || errors.Is(err, unix.EOPNOTSUPP) {
		return p, false, nil
	}
	if err != nil {
		return p, false, explain("read a police action", err)
	}
	for _, b := range answers {
		all, err := decodeMessage(b)
		if err != nil {
			return p, false, err
		}
		for _, p := range all {
			if p.Index == index {
				return p, true, nil
			}
		}
	}
	return p, false, nil
}

// ListPolice reads all police actions of the network namespace.
func ListPolice() ([]Police, error) { return listPolice(request) }

func listPolice(request requester) ([]Police, error) {
	root := nl.NewRtAttr(actRoot, nil)
	root.AddRtAttr(1, nil).AddRtAttr(nl.TCA_ACT_KIND, nl.ZeroTerminated(policeLabel))
	answers, err := request(unix.RTM_GETACTION, unix.NLM_F_DUMP, actionHeader{}, root)
	if gone(err) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, explain("list police actions", err)
	}
	var found []Police
	for _, b := range answers {
		all, err := decodeMessage(b)
		if err != nil {
			return nil, err
		}
		found = append(found, all...)
	}
	return found, nil
}

// actionHeader is struct tcamsg.
type actionHeader struct{}

func (actionHeader) Len() int          { return 4 }
func (actionHeader) Serialize() []byte { return make([]byte, 4) }

// actions is a table of actions.
func actions(all []Police, fill func(Police, *nl.RtAttr)) *nl.RtAttr {
	root := nl.NewRtAttr(actRoot, nil)
	for i, p := range all {
		act := root.AddRtAttr(i+1, nil)
		act.AddRtAttr(nl.TCA_ACT_KIND, nl.ZeroTerminated(policeLabel))
		fill(p, act)
	}
	return root
}

func (p Police) name(act *nl.RtAttr) { act.AddRtAttr(nl.TCA_ACT_INDEX, nl.Uint32Attr(p.Index)) }

func (p Police) set(act *nl.RtAttr) {
	act.AddRtAttr(nl.TCA_ACT_COOKIE, p.Note[:])
	o := act.AddRtAttr(nl.TCA_ACT_OPTIONS, nil)
	b := make([]byte, policeLen)
	order := binary.NativeEndian
	order.PutUint32(b[0:], p.Index)
	order.PutUint32(b[4:], doDrop)
	order.PutUint32(b[16:], math.MaxUint32) // mtu
	if p.Rate > 0 && p.Bytes {
		order.PutUint32(b[12:], uint32(min(p.ticks(), math.MaxUint32)))
		b[20], b[21] = 8, 1 // cell_log, which is asked for and not used; linklayer ethernet
		order.PutUint16(b[22:], overhead)
		order.PutUint32(b[28:], uint32(p.Rate*(overhead+frame)))
	}
	o.AddRtAttr(nl.TCA_POLICE_TBF, b)
	o.AddRtAttr(nl.TCA_POLICE_RESULT, nl.Uint32Attr(doContinue))
	switch {
	case p.Rate > 0 && p.Bytes:
		o.AddRtAttr(nl.TCA_POLICE_RATE, make([]byte, rateTable))
	case p.Rate > 0:
		o.AddRtAttr(policePktRate, nl.Uint64Attr(p.Rate))
		o.AddRtAttr(policePktBurst, nl.Uint64Attr(p.ticks()))
	}
}

// ticks is the time in which a burst refills.
func (p Police) ticks() uint64 {
	const second = 1e9 / (1 << tickShift)
	return uint64(math.Ceil(float64(max(p.Burst, 1)) * second / float64(p.Rate)))
}

// bind refers to an action from a filter.
func bind(act *nl.RtAttr, index uint32) {
	a := act.AddRtAttr(1, nil)
	a.AddRtAttr(nl.TCA_ACT_KIND, nl.ZeroTerminated(policeLabel))
	b := make([]byte, policeLen)
	binary.NativeEndian.PutUint32(b, index)
	a.AddRtAttr(nl.TCA_ACT_OPTIONS, nil).AddRtAttr(nl.TCA_POLICE_TBF, b)
}

var errNoPolice = errors.New("the kernel's answer has a police action without parameters")

func decodeMessage(b []byte) ([]Police, error) {
	if len(b) < 4 {
		return nil, errShort
	}
	attrs, err := nl.ParseRouteAttr(b[4:])
	if err != nil {
		return nil, fmt.Errorf("read police actions: %w", err)
	}
	for _, a := range attrs {
		if a.Attr.Type&nl.NLA_TYPE_MASK == actRoot {
			return decodeActions(a.Value)
		}
	}
	return nil, nil
}

// decodeActions leaves out those of other kinds.
func decodeActions(b []byte) ([]Police, error) {
	table, err := nl.ParseRouteAttr(b)
	if err != nil {
		return nil, fmt.Errorf("read actions: %w", err)
	}
	var all []Police
	for _, entry := range table {
		attrs, err := nl.ParseRouteAttr(entry.Value)
		if err != nil {
			return nil, fmt.Errorf("read an action: %w", err)
		}
		p, kind := Police{}, ""
		for _, a := range attrs {
			switch a.Attr.Type & nl.NLA_TYPE_MASK {
			case nl.TCA_ACT_KIND:
				kind = nl.BytesToString(a.Value)
			case nl.TCA_ACT_COOKIE:
				copy(p.Note[:], a.Value)
			}
		}
		if kind != policeLabel {
			continue
		}
		for _, a := range attrs {
			switch a.Attr.Type & nl.NLA_TYPE_MASK {
			case nl.TCA_ACT_OPTIONS:
				err = p.decode(a.Value)
			case nl.TCA_ACT_STATS:
				err = p.decodeStats(a.Value)
			}
			if err != nil {
				return nil, err
			}
		}
		all = append(all, p)
	}
	return all, nil
}

func (p *Police) decode(b []byte) error {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return fmt.Errorf("read a police action: %w", err)
	}
	order, known := binary.NativeEndian, false
	var ticks uint64
	for _, a := range attrs {
		v := a.Value
		switch kind := a.Attr.Type & nl.NLA_TYPE_MASK; {
		case kind == nl.TCA_POLICE_TBF && len(v) >= policeLen:
			known = true
			p.Index, p.Bound = order.Uint32(v[0:]), int(order.Uint32(v[48:]))
			if bytes := order.Uint32(v[28:]); bytes > 0 {
				p.Bytes, p.Rate, ticks = true, uint64(bytes)/(overhead+frame), uint64(order.Uint32(v[12:]))
			}
		case kind == policePktRate && len(v) >= 8:
			p.Rate = order.Uint64(v)
		case kind == policePktBurst && len(v) >= 8:
			ticks = order.Uint64(v)
		}
	}
	if !known {
		return errNoPolice
	}
	p.Burst = uint64(math.Round(float64(ticks<<tickShift) / 1e9 * float64(p.Rate)))
	return nil
}

func (p *Police) decodeStats(b []byte) error {
	attrs, err := nl.ParseRouteAttr(b)
	if err != nil {
		return fmt.Errorf("read a police action's counts: %w", err)
	}
	order, wide := binary.NativeEndian, false
	for _, a := range attrs {
		v := a.Value
		switch kind := a.Attr.Type & nl.NLA_TYPE_MASK; {
		case kind == statsBasic && len(v) >= 12 && !wide:
			p.Seen = uint64(order.Uint32(v[8:]))
		case kind == statsPkt64 && len(v) >= 8:
			p.Seen, wide = order.Uint64(v), true
		case kind == statsQueue && len(v) >= 12:
			p.Drops = order.Uint32(v[8:])
		}
	}
	return nil
}
