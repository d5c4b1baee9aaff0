package datapath

import (
	"bytes"
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

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

// The fast path is code of its own for what the rest decides too. Each frame goes by both: whole SYNs, and SYNs of which some bytes are
// others.
func TestFastPathDecidesAsTheRest(t *testing.T) {
	a := newAnswerer(t)
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
	for range 5000 {
		rng.Shuffle(len(offers), func(i, j int) { offers[i], offers[j] = offers[j], offers[i] })
		f := a.syn(rng.IntN(2) == 0, te.TCPOptions(offers[:rng.IntN(len(offers)+1)]...))
		source := f.Src.AsSlice() // another one each time: it has a rate
		binary.BigEndian.PutUint32(source[len(source)/2-2:], rng.Uint32())
		f.Src, _ = netip.AddrFromSlice(source)
		ports := []uint16{bankPort, kernelPort, bankPort + 5}
		port := ports[rng.IntN(len(ports))]
		whole := toPort(f, port).Bytes()
		a.process(tagged(whole)) // now the listener is known
		frame := slices.Clone(whole)
		for range rng.IntN(3) {
			at := rng.IntN(len(frame))
			frame[at] ^= byte(rng.IntN(256) & rng.IntN(256) & rng.IntN(256)) // a few bits, mostly one
		}
		if copy(frame[12:14], whole[12:14]); rng.IntN(10) == 0 {
			frame = frame[:14+rng.IntN(len(frame)-14)]
		}
		wantCell, wantAction, want := outcome(tagged(frame))
		gotCell, gotAction, got := outcome(frame)
		if gotCell != wantCell || gotAction != wantAction {
			t.Fatalf("% x is %v and action %d, with a tag %v and %d", frame, gotCell, gotAction, wantCell, wantAction)
		}
		if gotAction != xdpTX {
			continue
		}
		answered++
		if d := datagram(got, 0); port == bankPort && !bytes.Equal(d, datagram(want, 4)) {
			t.Fatalf("% x answers % x, with a tag % x", d, frame, datagram(want, 4))
		}
	}
	if answered < 2000 {
		t.Errorf("%d of 5000 answered", answered)
	}
}
