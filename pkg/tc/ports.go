package tc

import "slices"

// Ports are those from First on that are less than End. The zero value is any.
type Ports struct{ First, End uint32 }

const allPorts = 1 << 16

// Except returns all ports but some: nil if those are none.
func Except(some []uint16) (rest []Ports) {
	if len(some) == 0 {
		return nil
	}
	first := uint32(0)
	for _, p := range slices.Sorted(slices.Values(some)) {
		if uint32(p) > first {
			rest = append(rest, Ports{first, uint32(p)})
		}
		first = uint32(p) + 1
	}
	if first < allPorts {
		rest = append(rest, Ports{first, allPorts})
	}
	return rest
}

// Aligned splits ports into as few parts as there can be whose numbers have a prefix of their own, as u32 needs it.
func (p Ports) Aligned() (parts []Ports) {
	for p.First < p.End {
		size := uint32(allPorts)
		for p.First%size != 0 || size > p.End-p.First {
			size /= 2
		}
		parts = append(parts, Ports{p.First, p.First + size})
		p.First += size
	}
	return parts
}
