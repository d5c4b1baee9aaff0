package console

import "time"

// Fold thins out a complaint that repeats: the first is said, then at most one per Every, with the number left out.
// The zero value with Every set is ready. It is not safe for concurrent use.
type Fold struct {
	Every time.Duration

	next   time.Time
	folded int
}

// Say tells whether to speak now, and how many were left out since the last time.
func (f *Fold) Say(now time.Time) (folded int, ok bool) {
	// A clock set back must not silence the complaint for as long as the step.
	if now.Before(f.next) && f.next.Sub(now) <= f.Every {
		f.folded++
		return 0, false
	}
	folded, f.folded = f.folded, 0
	f.next = now.Add(f.Every)
	return folded, true
}
