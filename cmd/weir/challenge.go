package main

import (
	"fmt"
	"time"

	"github.com/weir-sensor/weir/pkg/datapath"
)

// challengeStatus is the challenge in `weir status`.
type challengeStatus struct {
	Policy          string  `json:"policy"`              // never, always or auto
	Available       bool    `json:"available"`           // kernel and interface can do it
	KernelCookies   bool    `json:"kernel_cookies_only"` // for want of Linux 6.9
	Challenging     bool    `json:"challenging"`
	ForSeconds      float64 `json:"for_seconds"` // by auto, since it began
	Starts          uint64  `json:"starts"`      // how often auto began
	UnverifiedRate  uint64  `json:"unverified_rate"`
	UnverifiedBurst uint64  `json:"unverified_burst"`
	ArmedSeconds    float64 `json:"armed_seconds"` // left in which auto acts in observe mode too
	Verified        int     `json:"verified_sources"`
	Opened          uint64  `json:"opened"`   // connections, by challenged clients
	Fallback        string  `json:"fallback"` // idle, on or refused: the kernel's own cookies for listeners that take no others
	OpenedKernel    uint64  `json:"opened_by_kernel_cookies"`
	Refusal         string  `json:"refusal,omitempty"` // why the host's settings rule it out
}

var policyNames = map[datapath.Challenge]string{
	datapath.ChallengeNever: "never", datapath.ChallengeAlways: "always", datapath.ChallengeAuto: "auto",
}

var fallbackNames = map[datapath.Fallback]string{
	datapath.FallbackIdle: "idle", datapath.FallbackOn: "on", datapath.FallbackRefused: "refused",
}

func challengeStatusOf(r *datapath.Reader, info datapath.Info, c datapath.Control) (challengeStatus, error) {
	verified, err := r.Verified()
	if err != nil {
		return challengeStatus{}, err
	}
	cookies, err := r.Cookies()
	var refusal string
	if why := datapath.ChallengeRefusal(); why != nil {
		refusal = why.Error()
	}
	return challengeStatus{
		Refusal: refusal,
		Policy:  policyNames[c.Challenge], Available: info.Challenge, KernelCookies: info.KernelCookies,
		Challenging: c.Challenging, ForSeconds: c.ChallengingFor.Seconds(), Starts: c.ChallengeStarts,
		UnverifiedRate: c.Unverified.Rate, UnverifiedBurst: c.Unverified.Burst, ArmedSeconds: c.Armed.Seconds(),
		Verified: verified, Opened: cookies.Accepted, Fallback: fallbackNames[c.Fallback], OpenedKernel: cookies.Kernel,
	}, err
}

func (c challengeStatus) String() string {
	if !c.Available {
		return "not available here"
	}
	text := c.Policy
	switch {
	case c.Policy == "never" && c.Refusal != "":
		return c.Refusal
	case c.Policy == "never":
		return text
	case c.Challenging && c.ForSeconds > 0:
		text += fmt.Sprintf(": SYNs are answered by cookies, for %v now", seconds(c.ForSeconds))
	case c.Challenging:
		text += ": SYNs are answered by cookies"
	case c.Policy == "auto":
		text += fmt.Sprintf(": off; begins over %d SYNs per second of unverified sources, burst %d", c.UnverifiedRate, c.UnverifiedBurst)
	}
	if c.ArmedSeconds > 0 {
		text += fmt.Sprintf("; autonomous for %v", seconds(c.ArmedSeconds))
	}
	if c.KernelCookies {
		text += fmt.Sprintf("; %d verified sources, %d connections opened by the kernel's cookies", c.Verified, c.OpenedKernel)
		if c.Fallback == "refused" {
			text += "; not answered now: tcp_syncookies or tcp_timestamps can't be 2"
		}
		return text
	}
	text += fmt.Sprintf("; %d verified sources, %d connections opened by cookies", c.Verified, c.Opened)
	switch c.Fallback {
	case "on":
		text += fmt.Sprintf("; MPTCP by the kernel's cookies, %d", c.OpenedKernel)
	case "refused":
		text += "; MPTCP left to the kernel: tcp_syncookies or tcp_timestamps can't be 2"
	}
	return text
}

func seconds(x float64) time.Duration { return time.Duration(x) * time.Second }
