package datapath

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// tagged is a frame with a VLAN tag, which keeps it from the fast path.
func tagged(frame []byte) []byte {
	return slices.Concat(frame[:12], []byte{0x81, 0, 0, 5}, frame[12:])
}

// datagram is an answer's IP datagram without padding, behind so many bytes of tags.
func datagram(b []byte, tags int) []byte {
	ip := b[14+tags:]
	if ip[0]>>4 == 6 {
		return ip[:40+binary.BigEndian.Uint16(ip[4:])]
	}
	return ip[:binary.BigEndian.Uint16(ip[2:])]
}

// The fast path is code of its own for what the rest decides too. Each frame goes by both: whole SYNs, SYNs of which some bytes are others,
// and SYNs from multicast addresses, whose keys are IPv4 addresses'.
func TestFastPathDecidesAsTheRest(t *testing.T) {
	for name, policy := range map[string]Challenge{"always": ChallengeAlways, "auto": ChallengeAuto} {
		t.Run(name, func(t *testing.T) { te.OnCPU(t, 0, func() { testFastPath(t, policy) }) }) // each CPU knows listeners of its own
	}
}

func testFastPath(t *testing.T, policy Challenge) {
	a := newAnswerer(t)
	must(t, changeControl(a.objs.Control, func(raw *bpfWeirControl) {
		raw.Challenge, raw.Unverified = uint32(policy), Limit{Rate: 1, Burst: 1}.raw(uint64(time.Second))
	}))
	settle()
	rng := rand.New(rand.NewPCG(9, 10))
	offers := [][]byte{te.MSS(1460), te.SACKPermitted(), te.Timestamps(7, 0), te.WindowScale(7), te.NOP(), te.NOP(), {254, 4, 1, 2}}
	outcome := func(frame []byte) (cell, uint32, []byte) {
		before, err := a.read.sum()
		must(t, err)
		action, out := a.process(frame)
		after, err := a.read.sum()
		must(t, err)
		cells := slices.Collect(maps.Keys(moved(after.Sub(&before))))
		if len(cells) != 1 {
			t.Fatalf("counted %v", cells)
		}
		return cells[0], action, out
	}
	answered := 0
	for i := range 3000 {
		rng.Shuffle(len(offers), func(i, j int) { offers[i], offers[j] = offers[j], offers[i] })
		v6 := rng.IntN(2) == 0
		f := a.syn(v6, te.TCPOptions(offers[:rng.IntN(len(offers)+1)]...))
		source := f.Src.AsSlice() // another one each time: it has a rate
		binary.BigEndian.PutUint32(source[len(source)/2-2:], rng.Uint32())
		if v6 && i%10 == 0 {
			source[0] = 0xff
		}
		f.Src, _ = netip.AddrFromSlice(source)
		ports := []uint16{bankPort, kernelPort, bankPort + 5}
		port := ports[rng.IntN(len(ports))]
		whole := toPort(f, port).Bytes()
		frame := slices.Clone(whole)
		for range rng.IntN(3) {
			at := rng.IntN(len(frame))
			frame[at] ^= byte(rng.IntN(256) & rng.IntN(256) & rng.IntN(256)) // a few bits, mostly one
		}
		if copy(frame[12:14], whole[12:14]); rng.IntN(10) == 0 {
			frame = frame[:14+rng.IntN(len(frame)-14)]
		}
		var differs string
		for range 3 { // a total's token may go to one of them, or a minute's end lie between them
			a.process(tagged(toPort(a.syn(v6, nil), port).Bytes())) // now the listener is known
			wantCell, wantAction, want := outcome(tagged(frame))
			gotCell, gotAction, got := outcome(frame)
			switch {
			case gotCell != wantCell || gotAction != wantAction:
				differs = fmt.Sprintf("% x is %v and action %d, with a tag %v and %d", frame, gotCell, gotAction, wantCell, wantAction)
			case gotAction == xdpTX && port == bankPort && !bytes.Equal(datagram(got, 0), datagram(want, 4)):
				differs = fmt.Sprintf("% x answers % x, with a tag % x", datagram(got, 0), frame, datagram(want, 4))
			default:
				differs = ""
			}
			if gotAction == xdpTX {
				answered++
			}
			if differs == "" {
				break
			}
		}
		if differs != "" {
			t.Fatal(differs)
		}
	}
	if answered < 1000 {
		t.Errorf("%d of 3000 answered", answered)
	}
}
