package datapath

import "math/bits"

// sipStart is what SipHash begins with under a key of 128 bits (Aumasson and Bernstein 2012, section 2.1), after the part of its first round
// that needs no message: half of its additions.
func sipStart(key [2]uint64) [4]uint64 {
	v0, v1 := key[0]^0x736f6d6570736575, key[1]^0x646f72616e646f6d
	v2, v3 := key[0]^0x6c7967656e657261, key[1]^0x7465646279746573
	v0 += v1
	return [4]uint64{bits.RotateLeft64(v0, 32), bits.RotateLeft64(v1, 13) ^ v0, v2, v3}
}
