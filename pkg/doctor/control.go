package doctor

import (
	"fmt"
	"time"
)

// Missing notes an interface that can't be looked at.
func Missing(r *Report, err error) {
	r.add("nic", Bad, err.Error(), "nothing is protected", "name the interface with --interface: ip -br link shows all")
}

// Identity notes one that weir keys has issued, or why it can't be used; endings say when it needs a successor.
func Identity(r *Report, err error, is string, endings ...string) {
	switch {
	case err != nil:
		r.add("identity", Bad, err.Error(), "its component doesn't start", "weir keys issue, and name the directory in identity")
	case len(endings) > 0 && endings[0] != "":
		r.add("identity", Warning, endings[0], "the broker lets it in no longer then", "weir keys rotate")
	default:
		r.ok("identity", "%s", is)
	}
}

// endsSoon is when people are told that a certificate ends.
const endsSoon = 14 * 24 * time.Hour

// Broker notes whether it answers, and until when its certificate is good; the zero time if it shows none.
func Broker(r *Report, url string, until, now time.Time, err error) {
	switch {
	case err != nil:
		r.add("broker", Warning, err.Error(), "metrics, alerts and commands go nowhere; limits in force stay", "start it: weir up and weir broker run one; or name another with --broker")
	case until.IsZero():
		r.ok("broker", "%s answers", url)
	case until.Sub(now) < endsSoon:
		r.add("broker", Warning, fmt.Sprintf("%s answers, and its certificate ends on %s", url, until.Format(time.DateOnly)), "nobody connects to it any more then",
			"weir keys rotate for weir's own broker, or renew it where the broker has it from")
	default:
		r.ok("broker", "%s answers, its certificate is good until %s", url, until.Format(time.DateOnly))
	}
}

// Page notes until when the web page's certificate is good.
func Page(r *Report, file string, until, now time.Time, err error) {
	switch {
	case err != nil:
		r.add("web", Warning, err.Error(), "the page isn't served", "put a certificate in PEM there, or name another with web.tls-cert")
	case until.Sub(now) < endsSoon:
		r.add("web", Warning, fmt.Sprintf("the page's certificate, %s, ends on %s", file, until.Format(time.DateOnly)), "browsers warn then", "renew it, and start weir web again")
	default:
		r.ok("web", "the page's certificate is good until %s", until.Format(time.DateOnly))
	}
}
