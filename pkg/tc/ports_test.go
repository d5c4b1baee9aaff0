package tc

import (
	"slices"
	"testing"
)

// Every port is in exactly one part, unless it is excepted.
func TestPorts(t *testing.T) {
	for _, some := range [][]uint16{{22}, {0}, {1}, {65535}, {22, 2222}, {22, 22, 23}, {24, 22}, {0, 1, 2, 65534, 65535}} {
		var in [allPorts]int
		for _, r := range Except(some) {
			for _, a := range r.Aligned() {
				size := a.End - a.First
				if size&(size-1) != 0 || a.First%size != 0 {
					t.Errorf("%v: %v isn't aligned", some, a)
				}
				for p := a.First; p < a.End; p++ {
					in[p]++
				}
			}
		}
		for p, n := range in {
			if want := map[bool]int{false: 1}[slices.Contains(some, uint16(p))]; n != want {
				t.Fatalf("%v: port %d is in %d parts", some, p, n)
			}
		}
	}
	if rest := Except(nil); rest != nil {
		t.Errorf("%v", rest)
	}
}
