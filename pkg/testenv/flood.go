package testenv

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// RandomSources is a new source for each packet.
const RandomSources = -1

// FloodOptions describe a SYN flood.
type FloodOptions struct {
	Target   netip.AddrPort
	Sources  int           // 0: the attacker's own address, N: so many spoofed ones outside the net, or RandomSources
	Rate     int           // SYNs per second; 0: as fast as it goes
	Duration time.Duration // it ends by itself; 0: 60 s
}

// Flooding is a flood under way.
type Flooding struct {
	process *Process // hping3, or nil
	cancel  context.CancelFunc
	done    chan struct{}
	sent    atomic.Uint64
	err     error
	t       testing.TB
}

// Flood floods a target from a host of a Bank. It is done by hping3 where that can: over IPv4, from one or from random
// sources. The bank answers spoofed sources by the switch, where it ends.
func Flood(t testing.TB, h *Host, target *Host, o FloodOptions) *Flooding {
	t.Helper()
	if o.Duration == 0 {
		o.Duration = time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Duration)
	f := &Flooding{cancel: cancel, done: make(chan struct{}), t: t}
	if o.Target.Addr().Is4() && o.Sources <= 0 {
		Tool(t, "hping3")
		f.process = h.Start(t, "hping3", hpingArgs(o)...)
		go f.watch(ctx)
	} else {
		wire := NewWire(t, h, h.Interface)
		go f.send(ctx, wire, h, target, o)
	}
	t.Cleanup(func() { f.Stop() })
	return f
}

func hpingArgs(o FloodOptions) []string {
	args := []string{"-S", "-q", "-n", "-p", strconv.Itoa(int(o.Target.Port()))}
	if o.Sources == RandomSources {
		args = append(args, "--rand-source")
	}
	if o.Rate == 0 {
		args = append(args, "--flood")
	} else {
		args = append(args, "-i", fmt.Sprintf("u%d", max(1, int(time.Second/time.Microsecond)/o.Rate)))
	}
	return append(args, o.Target.Addr().String())
}

// watch ends hping3 in time, by SIGINT, so that it tells how much it sent.
func (f *Flooding) watch(ctx context.Context) {
	defer close(f.done)
	select {
	case <-ctx.Done():
	case <-f.process.Done():
	}
	f.process.Signal(syscall.SIGINT)
	if f.process.Wait(2*time.Second) != nil {
		f.process.Stop()
	}
	if m := transmitted.FindStringSubmatch(f.process.Output()); m != nil {
		n, _ := strconv.ParseUint(m[1], 10, 64)
		f.sent.Store(n)
	} else if ctx.Err() == nil { // else it was stopped before it had begun
		f.err = fmt.Errorf("hping3 ended before its time: %s", f.process.Output())
	}
}

var transmitted = regexp.MustCompile(`(\d+) packets (?:transmitted|tramitted)`)

// send paces by the clock in steps of at least a millisecond.
func (f *Flooding) send(ctx context.Context, wire *Wire, h, target *Host, o FloodOptions) {
	defer close(f.done)
	start := time.Now()
	for n := uint64(0); ctx.Err() == nil; {
		if o.Rate > 0 && float64(n) >= time.Since(start).Seconds()*float64(o.Rate) {
			time.Sleep(time.Millisecond)
			continue
		}
		syn := NewSYN(source(h, o, n), o.Target)
		syn.SrcMAC, syn.DstMAC = h.MAC, target.MAC
		if f.err = wire.write(syn.Bytes()); f.err != nil {
			return
		}
		n++
		f.sent.Store(n)
	}
	f.err = wire.drain()
}

// source is the n-th packet's. All sources take turns, each with another port each time. Spoofed ones are from
// 198.18.0.0/15 (RFC 2544) or 2001:db8:N::/48, each of another /64; random ones from a multiplicative sequence.
func source(h *Host, o FloodOptions, n uint64) netip.AddrPort {
	v4 := o.Target.Addr().Is4()
	number, round := n, n
	switch {
	case o.Sources == 0 && v4:
		return netip.AddrPortFrom(h.IPv4, port(n))
	case o.Sources == 0:
		return netip.AddrPortFrom(h.IPv6, port(n))
	case o.Sources == RandomSources:
		number = n * 0x9e3779b97f4a7c15 >> 16
	default:
		number, round = n%uint64(o.Sources), n/uint64(o.Sources)
	}
	if v4 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 198<<24|18<<16+uint32(number)%(1<<17))
		return netip.AddrPortFrom(netip.AddrFrom4(a), port(round))
	}
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8, 15: 1}
	binary.BigEndian.PutUint32(a[4:], uint32(number)|1<<31) // the net's own /64 is 0
	return netip.AddrPortFrom(netip.AddrFrom16(a), port(round))
}

func port(n uint64) uint16 { return uint16(1024 + n%60000) }

// Stop ends the flood if it still goes on and tells how many SYNs it sent.
func (f *Flooding) Stop() uint64 {
	f.t.Helper()
	f.cancel()
	return f.Wait()
}

// Wait waits for the flood's end and tells how many SYNs it sent.
func (f *Flooding) Wait() uint64 {
	f.t.Helper()
	<-f.done
	f.cancel()
	if f.err != nil {
		f.t.Errorf("flood: %v", f.err)
	}
	return f.sent.Load()
}
