package datapath

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-sensor/weir/pkg/datapath/internal/bpftest"
)

// sipHash is SipHash-c-d after the paper, written for reading.
func sipHash(c, d int, key [2]uint64, message []byte) uint64 {
	v0, v1 := key[0]^0x736f6d6570736575, key[1]^0x646f72616e646f6d
	v2, v3 := key[0]^0x6c7967656e657261, key[1]^0x7465646279746573
	rounds := func(n int) {
		for range n {
			v0, v2 = v0+v1, v2+v3
			v1, v3 = bits.RotateLeft64(v1, 13)^v0, bits.RotateLeft64(v3, 16)^v2
			v0 = bits.RotateLeft64(v0, 32)
			v2, v0 = v2+v1, v0+v3
			v1, v3 = bits.RotateLeft64(v1, 17)^v2, bits.RotateLeft64(v3, 21)^v0
			v2 = bits.RotateLeft64(v2, 32)
		}
	}
	padded := append([]byte{}, message...)
	padded = append(padded, make([]byte, 7-len(message)%8)...)
	padded = append(padded, byte(len(message)))
	for ; len(padded) > 0; padded = padded[8:] {
		m := binary.LittleEndian.Uint64(padded)
		v3 ^= m
		rounds(c)
		v0 ^= m
	}
	v2 ^= 0xff
	rounds(d)
	return v0 ^ v1 ^ v2 ^ v3
}

// paperKey is that of the published vectors: 00 01 … 0f.
var paperKey = [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}

func TestReferenceHashHasThePublishedValues(t *testing.T) {
	var message []byte
	for i := range 15 {
		message = append(message, byte(i))
	}
	// Appendix A of "SipHash: a fast short-input PRF".
	if got := sipHash(2, 4, paperKey, message); got != 0xa129ca6149be45e5 {
		t.Errorf("SipHash-2-4 of 15 bytes is %#x", got)
	}
	// The empty message in the test vectors of Rust's core::hash::sip, whose default is 1-3.
	if got := sipHash(1, 3, paperKey, nil); got != 0xabac0158050fc4dc {
		t.Errorf("SipHash-1-3 of nothing is %#x", got)
	}
}

func randomCookie(rng *rand.Rand) (k bpftest.Cookie, secret [2]uint64) {
	secret = [2]uint64{rng.Uint64(), rng.Uint64()}
	k = bpftest.Cookie{
		SourcePort: uint16(rng.Uint32()), Port: uint16(rng.Uint32()), ClientISN: rng.Uint32(), Start: sipStart(secret), IPv6: rng.IntN(2) == 0,
		Timestamps: rng.IntN(2) == 0, Epoch: rng.Uint32N(1 << 24), Options: rng.Uint32N(1 << 22),
	}
	if !k.Timestamps {
		k.Options &= 1<<21 - 1 // no room for ECN
	}
	k.Other = k.Epoch - 1
	for i := range 4 {
		k.Source[i], k.Destination[i] = rng.Uint32(), rng.Uint32()
	}
	return k, secret
}

func TestCookieHashEqualsReference(t *testing.T) {
	set := newSet(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		k, secret := randomCookie(rng)
		mac, err := set.MakeCookie(&k)
		must(t, err)
		words := []uint32{k.Destination[0], uint32(k.Port), k.Source[0], k.ClientISN}
		if k.IPv6 {
			words = slices.Concat(k.Destination[:], []uint32{uint32(k.Port), 0}, k.Source[:], []uint32{0, k.ClientISN})
		}
		var message []byte
		for _, w := range words {
			message = binary.LittleEndian.AppendUint32(message, w)
		}
		message = append(message, byte(k.Options), byte(k.Options>>8), byte(k.Options>>16))
		message = binary.LittleEndian.AppendUint16(message, k.SourcePort)
		message = binary.LittleEndian.AppendUint16(message, uint16(k.Epoch))
		if want := sipHash(1, 3, secret, message); mac != want {
			t.Fatalf("MAC %#x of %+v, want %#x", mac, k, want)
		}
	}
}

// roundedMSS is what a cookie without timestamps keeps.
func roundedMSS(mss uint32) uint32 {
	best := uint32(536)
	for _, x := range []uint32{1220, 1360, 1400, 1440, 1452, 1460, 8940} {
		if x <= mss {
			best = x
		}
	}
	return best
}

func TestCookieTellsWhatWasPutIn(t *testing.T) {
	set := newSet(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 2000 {
		k, _ := randomCookie(rng)
		_, err := set.MakeCookie(&k)
		must(t, err)
		want := int32(k.Options)
		if !k.Timestamps {
			want = int32(k.Options&^0xffff | roundedMSS(k.Options&0xffff))
		}
		check := func(what string, k bpftest.Cookie, want int32) {
			t.Helper()
			got, err := set.CheckCookie(k)
			must(t, err)
			if got != want {
				t.Fatalf("%s: cookie %+v says %#x, want %#x", what, k, got, want)
			}
		}
		check("at once", k, want)
		later := k
		later.Epoch, later.Other = k.Epoch+1, k.Epoch
		check("a minute later", later, want)
		early := k
		early.Epoch, early.Other = k.Epoch-1, k.Epoch
		check("on a CPU whose clock lags", early, want)
		old := k
		old.Epoch, old.Other = k.Epoch+2, k.Epoch+1
		check("two minutes later", old, -1)

		for name, forge := range map[string]func(*bpftest.Cookie){
			"other port":       func(k *bpftest.Cookie) { k.SourcePort ^= 1 },
			"other service":    func(k *bpftest.Cookie) { k.Port ^= 1 },
			"other ISN":        func(k *bpftest.Cookie) { k.ClientISN ^= 1 << 8 },
			"other source":     func(k *bpftest.Cookie) { k.Source[0] ^= 1 },
			"other host":       func(k *bpftest.Cookie) { k.Destination[0] ^= 1 },
			"other key":        func(k *bpftest.Cookie) { k.Start[1] ^= 1 },
			"one bit of ISN":   func(k *bpftest.Cookie) { k.ISN ^= 1 << (i % 32) },
			"one bit of TSval": func(k *bpftest.Cookie) { k.TSval ^= 1 << (i % 32) },
			"other form":       func(k *bpftest.Cookie) { k.Timestamps = !k.Timestamps },
		} {
			if name == "one bit of TSval" && !k.Timestamps {
				continue
			}
			forged := k
			forge(&forged)
			check(name, forged, -1)
		}
	}
}
