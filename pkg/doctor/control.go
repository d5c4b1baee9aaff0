package doctor

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

// Broker notes whether it answers.
func Broker(r *Report, url string, err error) {
	if err == nil {
		r.ok("broker", "%s answers", url)
		return
	}
	r.add("broker", Warning, err.Error(), "metrics, alerts and commands go nowhere; limits in force stay", "start it: weir up and weir broker run one; or name another with --broker")
}
