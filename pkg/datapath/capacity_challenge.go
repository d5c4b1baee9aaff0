package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// challenge costs SYNs that are answered by cookies and ACKs that pretend to answer one.
func (l Load) challenge() (_ []Cost, err error) {
	var cfg net.ListenConfig
	cfg.SetMultipathTCP(false)
	listener, err := cfg.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen on the loopback interface, to measure the challenge: %w", err)
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	objs, err := l.challenging()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, objs.Close()) }()

	port := uint16(listener.Addr().(*net.TCPAddr).Port)
	var costs []Cost
	for _, row := range []struct {
		cost   Cost
		flags  byte
		action uint32
	}{
		{Cost{Class: ClassSYN, Challenged: true, Verdict: VerdictTX}, 0x02, xdpActionTX},
		{Cost{Class: ClassTCP, Challenged: true, Verdict: VerdictDrop}, 0x10, xdpActionDrop},
	} {
		frame := segmentFrame(row.flags, port)
		action, took, err := runAnew(objs.Weir, frame)
		if err != nil {
			return nil, fmt.Errorf("run the datapath on a %v frame under challenge: %w", row.cost.Class, err)
		}
		if action != row.action {
			return nil, fmt.Errorf("run the datapath on a %v frame under challenge: action %d, not %d", row.cost.Class, action, row.action)
		}
		row.cost.Packet = took
		costs = append(costs, row.cost)
	}
	return costs, nil
}

// challenging loads a copy of the program that is under a spoofed flood.
func (l Load) challenging() (_ *bpfObjects, err error) {
	const watched = 1 // some network namespace: who has sockets is known
	objs, err := l.copy(constants{challenge: true, accept: !l.KernelCookies, note: true, netns: watched})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, objs.Close())
		}
	}()
	offer, err := readOffer()
	if err != nil {
		return nil, err
	}
	if err := writeFallback(objs.Fallback, bpfWeirFallback{UntilNs: math.MaxUint64}); err != nil {
		return nil, err
	}
	return objs, enforce(objs, func(raw *bpfWeirControl) {
		raw.Challenge, raw.Offer = uint32(ChallengeAuto), offer
		raw.Unverified = Limit{Rate: 1, Burst: 1}.raw(uint64(time.Second))
	})
}

// segmentFrame is an Ethernet frame with TCP's usual options to a port of 127.0.0.1.
func segmentFrame(flags byte, port uint16) []byte {
	h := tcpHeader(flags)
	options := []byte{2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7} // Linux's order
	if flags&0x10 != 0 {
		options = options[4:16:16] // a timestamp behind two NOPs
		options[0], options[1] = 1, 1
	}
	binary.BigEndian.PutUint16(h[0:], 1234)
	binary.BigEndian.PutUint16(h[2:], port)
	h[12] = byte(len(h)+len(options)) / 4 << 4
	f := ipv4Frame(6, 0, append(h, options...))
	copy(f[30:], []byte{127, 0, 0, 1})
	return f
}

// runAnew runs a program on a frame that is written anew each time, from a random source: the program changes it, and a single source's
// entries would always be in the cache. What that costs itself is taken off.
func runAnew(prog *ebpf.Program, frame []byte) (action uint32, took time.Duration, err error) {
	next, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 2})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, next.Close()) }()
	const there, empty = 0, 1
	if err := next.Put(uint32(there), prog); err != nil {
		return 0, 0, err
	}
	measure := func(index int32) (uint32, time.Duration, error) {
		p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "weir_anew", Type: ebpf.XDP, AttachType: ebpf.AttachXDP,
			License: "Dual BSD/GPL", Instructions: writeAnew(frame, next, index)})
		if err != nil {
			return 0, 0, err
		}
		defer func() { _ = p.Close() }()                                       // only run
		if _, _, err := p.Benchmark(frame, capacityRuns/10, nil); err != nil { // the challenge begins, caches fill
			return 0, 0, err
		}
		return p.Benchmark(frame, capacityRuns, nil)
	}
	_, writing, err := measure(empty)
	if err != nil {
		return 0, 0, err
	}
	action, took, err = measure(there)
	return action, max(took-writing, 1), err
}

// writeAnew writes an IPv4 frame, draws its source and goes on with a program of next; without one it passes.
func writeAnew(frame []byte, next *ebpf.Map, index int32) asm.Instructions {
	const sourceOffset = 26
	is := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R7, asm.R1, 0, asm.Word), // xdp_md's data
		asm.LoadMem(asm.R2, asm.R1, 4, asm.Word), // and data_end
		asm.Mov.Reg(asm.R3, asm.R7),
		asm.Add.Imm(asm.R3, int32(len(frame))),
		asm.JGT.Reg(asm.R3, asm.R2, "pass"),
	}
	for i := range frame {
		is = append(is, asm.StoreImm(asm.R7, int16(i), int64(frame[i]), asm.Byte))
	}
	return append(is,
		asm.FnGetPrandomU32.Call(),
		asm.StoreMem(asm.R7, sourceOffset, asm.R0, asm.Word),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.LoadMapPtr(asm.R2, next.FD()),
		asm.Mov.Imm(asm.R3, index),
		asm.FnTailCall.Call(),
		asm.Mov.Imm(asm.R0, xdpPass).WithSymbol("pass"),
		asm.Return(),
	)
}
