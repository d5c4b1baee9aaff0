package datapath

import (
	"os"
	"sync"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// Packets are on their way through the program when it is taken off. A veth's queue forgets its device then, which helpers ask for: the
// kernel must not be left with a program that asks.
func TestUnloadDuringTraffic(t *testing.T) {
	b := newChallenged(t)
	b.echo()
	must(t, b.a.Close())
	var frames [][]byte
	for i := range uint32(64) {
		frames = append(frames, te.Frame{SrcMAC: b.Attacker.MAC, DstMAC: b.Bank.MAC, Src: b.Attacker.IPv4, Dst: b.Bank.IPv4,
			L4: te.TCP{SrcPort: uint16(i), DstPort: bankPort, Seq: i, Ack: i, Flags: te.ACK}}.Bytes())
	}
	wire, stop := te.NewWire(t, b.Attacker, b.Attacker.Interface), make(chan struct{})
	var wg sync.WaitGroup
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	t.Cleanup(end)
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = wire.Send(frames...) // some are lost while the interface changes
			}
		}
	})
	rounds := 8
	if os.Getenv("VM") != "" {
		rounds = 2 // attaching takes seconds there
	}
	for range rounds {
		b.Bank.Do(t, func() {
			found, err := Unload(b.opts.BPFFS, b.opts.Interface)
			must(t, err)
			if !found {
				t.Fatal("nothing was there")
			}
			b.a, err = Attach(b.opts)
			must(t, err)
		})
		b.set(ChallengeAlways)
		time.Sleep(20 * time.Millisecond)
		must(t, b.a.Close())
	}
	end()
}
