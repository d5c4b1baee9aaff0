package footprint

import (
	"bytes"
	"os"
	"runtime"
	"testing"
)

// What was let go of comes back when it is needed, and unchanged.
func TestShrink(t *testing.T) {
	before := held()
	fill(make([]byte, 32<<20))
	if err := Shrink(); err != nil {
		t.Fatal(err)
	}
	if after := held(); after >= before+16<<20 {
		t.Errorf("%d bytes before, %d after", before, after)
	}
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil || bytes.Count(text, []byte{'\n'}) == 0 {
		t.Error("nothing works any more", err)
	}
}

// held is what the heap has of the kernel, in bytes.
func held() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys - m.HeapReleased
}

func fill(b []byte) {
	for i := range b {
		b[i] = byte(i)
	}
}

func TestWhatIsLetGoOf(t *testing.T) {
	const smaps = `00400000-00d8c000 r-xp 00000000 fe:00 123   /usr/bin/weir
Rss:                9396 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
00d8c000-01700000 r--p 0098c000 fe:00 123   /usr/bin/weir
Anonymous:             4 kB
01700000-018e0000 rw-p 01300000 fe:00 123   /usr/bin/weir
Anonymous:             0 kB
01900000-01a00000 r--s 01300000 fe:00 123   /usr/bin/weir
Anonymous:             0 kB
7f0000000000-7f0000001000 r--p 00000000 fe:00 9 /lib/libc
Anonymous:             0 kB
7f0000002000-7f0000003000 r--p 00000000 00:00 0
Anonymous:             0 kB
`
	all := clean(smaps, "/usr/bin/weir")
	if len(all) != 1 || all[0] != (mapping{0x400000, 0xd8c000}) {
		t.Errorf("%x", all) // anything else would lose what was written, or isn't the program's
	}
}
