package config

import (
	"slices"
	"strings"
)

// Setting is one thing to choose.
type Setting struct {
	Key      string   // in YAML: a dot separates a section from what is in it
	Flag     string   // without dashes; "" for a secret: everybody on the machine can read a command line
	Env      string   // WEIR_…
	Help     string   // what it is, with its unit
	Commands []string // that it applies to
	Type     Type
	Default  string // as it is written in YAML

	field func(*Config) any // points into a Config
	check func(string) error
}

// appliesTo tells whether a command takes the setting. `weir config` takes all.
func (s *Setting) appliesTo(command string) bool {
	return command == "config" || slices.Contains(s.Commands, command)
}

// The commands that a setting may apply to.
var (
	atBroker   = []string{"up", "sensor", "monitor", "controller", "web", "ctl", "top"}
	byItself   = []string{"sensor", "monitor", "controller", "web", "ctl"}
	atDatapath = []string{"up", "sensor", "controller", "status", "top", "unload", "doctor"}
	examined   = slices.Concat(atBroker, []string{"doctor"})
	embedded   = []string{"up", "broker"}
	sensing    = []string{"up", "sensor"}
	ranking    = []string{"up", "sensor", "top"}
	limiting   = []string{"up", "sensor", "controller"}
	leasing    = []string{"up", "controller"}
	monitoring = []string{"up", "monitor"}
	showing    = []string{"up", "web"}
	auditing   = []string{"up", "controller", "web"}
	judging    = []string{"up", "monitor", "web", "top"}
	intervals  = []string{"up", "sensor", "monitor", "web", "top"}
	exporting  = []string{"up", "sensor", "monitor", "controller", "broker", "web"}
	everything = []string{"up", "sensor", "monitor", "controller", "broker", "web", "ctl", "status", "unload"}
)

// Settings is every setting there is, in the order in which people should read them.
var Settings = complete(withScaling(withBudgets([]Setting{
	{Key: "interface", Type: List, Commands: atDatapath, field: func(c *Config) any { return &c.Interface },
		Help: "network interface to protect, or several; empty for that of the default route"},
	{Key: "bpffs", Commands: atDatapath, field: func(c *Config) any { return &c.BPFFS },
		Help: "folder of the BPF filesystem, where the datapath is pinned"},
	{Key: "management-ports", Type: List, Commands: slices.Concat(limiting, []string{"doctor"}), field: func(c *Config) any { return &c.ManagementPorts }, check: checkPorts,
		Help: "TCP ports by which administrators come, 8 at most: what comes there may be challenged, but is never dropped"},

	{Key: "org", Commands: atBroker, field: func(c *Config) any { return &c.Org },
		Help: "first level of all topics; angle brackets are taken literally"},
	{Key: "site", Commands: atBroker, field: func(c *Config) any { return &c.Site },
		Help: "second level of all topics; empty for none"},
	{Key: "server", Commands: atBroker, field: func(c *Config) any { return &c.Server },
		Help: "last level of the topics' prefix: the protected server's name"},

	{Key: "broker", Commands: examined, field: func(c *Config) any { return &c.Broker.URL }, check: checkBroker,
		Help: "MQTT broker: tcp, tls, ws or wss://[user@]host[:port]"},
	{Key: "username", Commands: examined, field: func(c *Config) any { return &c.Broker.Username },
		Help: "user's name at the broker"},
	{Key: "password", Commands: examined, field: func(c *Config) any { return &c.Broker.Password }, Type: Secret,
		Help: "password at the broker; has no flag, since everybody can read command lines"},
	{Key: "password-file", Commands: examined, field: func(c *Config) any { return &c.Broker.PasswordFile },
		Help: "file that holds the password at the broker"},
	{Key: "client-id", Commands: byItself, field: func(c *Config) any { return &c.Broker.ClientID },
		Help: "client's name at the broker, of one connection only; empty for a random one"},

	{Key: "identity", Commands: slices.Concat(examined, []string{"broker", "status"}), field: func(c *Config) any { return &c.Broker.Identity },
		Help: "directory that weir keys issue has made; weir up takes the directories broker, sensor, monitor, controller and web in it; read again on SIGHUP"},
	{Key: "trust", Commands: slices.Concat(examined, []string{"broker", "status"}), field: func(c *Config) any { return &c.Broker.Trust },
		Help: "trust file; empty for the one in the identity's directory; read again on SIGHUP"},
	{Key: "allow-tls12", Commands: slices.Concat(examined, []string{"broker"}), field: func(c *Config) any { return &c.Broker.AllowTLS12 },
		Help: "take TLS 1.2, too, from those that lack 1.3"},
	{Key: "insecure-plaintext", Commands: examined, field: func(c *Config) any { return &c.Broker.InsecurePlaintext },
		Help: "talk to a broker beyond loopback without TLS: everybody on the way can read, change and send commands"},

	{Key: "commands", Commands: atBroker, field: func(c *Config) any { return &c.Broker.Commands },
		check: oneOf("auto", "open", "authenticated", "signed"),
		Help:  "what is acted on: signed messages only, all that an authenticating broker lets through, or, on loopback, any (open); auto is signed with an identity"},
	{Key: "state", Commands: atBroker, field: func(c *Config) any { return &c.Broker.State },
		Help: "directory for what a restart must not forget: the numbers of signed messages, whose limit is on, what is scaled"},

	{Key: "listen", Commands: embedded, field: func(c *Config) any { return &c.Listen.TCP },
		Help: "address:port of the embedded broker"},
	{Key: "listen-ws", Commands: embedded, field: func(c *Config) any { return &c.Listen.WebSocket },
		Help: "address:port of the embedded broker for MQTT over WebSocket; empty for none"},
	{Key: "allow-remote", Commands: embedded, field: func(c *Config) any { return &c.Listen.AllowRemote },
		Help: "let the embedded broker listen on other addresses than loopback: whoever reaches it can command"},

	{Key: "limiter", Commands: slices.Concat(limiting, []string{"status", "top", "doctor"}), field: func(c *Config) any { return &c.Limiter },
		check: oneOf("auto", "xdp", "tc"),
		Help:  "what limits SYNs: xdp; tc, by police actions; or auto: xdp, and tc where no BPF program can be attached"},

	{Key: "sensor.interval", Commands: intervals, field: func(c *Config) any { return &c.Sensor.Interval },
		Help: "time between regular metrics; sensor and monitor must agree"},
	{Key: "sensor.early-report", Commands: sensing, field: func(c *Config) any { return &c.Sensor.EarlyReport },
		Help: "SYNs in 5 s over which network metrics are sent at once; 0 for never"},
	{Key: "sensor.top-sources", Commands: ranking, field: func(c *Config) any { return &c.Sensor.TopSources },
		Help: "number of sources with the highest SYN rate to report"},
	{Key: "sensor.sources", Commands: sensing, field: func(c *Config) any { return &c.Sensor.Sources },
		Help: "number of sources that the datapath tells apart, a power of two"},
	{Key: "sensor.tier", Commands: sensing, field: func(c *Config) any { return &c.Sensor.Tier },
		check: oneOf("auto", "xdp-native", "xdp-generic", "tc-bpf", "tc-police", "none"),
		Help:  "how to attach: auto for the fastest that works, or xdp-native, xdp-generic, tc-bpf, tc-police or none alone"},

	{Key: "limit.rate", Commands: limiting, field: func(c *Config) any { return &c.Limit.Rate },
		Help: "SYNs per second that a source may send while limiting is on, unless the command says otherwise"},
	{Key: "limit.burst", Commands: limiting, field: func(c *Config) any { return &c.Limit.Burst },
		Help: "SYNs that a source may send at once"},
	{Key: "limit.connections", Commands: limiting, field: func(c *Config) any { return &c.Limit.Connections },
		Help: "connections that a source may have open while limiting is on; 0 for any number"},
	{Key: "limit.lease", Commands: leasing, field: func(c *Config) any { return &c.Limit.Lease },
		Help: "time after which limiting ends by itself, unless the controller renews it"},
	{Key: "limit.challenge", Commands: leasing, field: func(c *Config) any { return &c.Limit.Challenge },
		check: oneOf("never", "always", "auto"),
		Help:  "while limiting is on, answer SYNs to listeners by SYN cookies from XDP: never, always, or auto for when they are spoofed"},
	{Key: "limit.unverified-rate", Commands: leasing, field: func(c *Config) any { return &c.Limit.UnverifiedRate },
		Help: "SYNs per second, from all sources without a completed handshake, over which auto begins to challenge; with tc, what all sources may send together"},
	{Key: "limit.unverified-burst", Commands: leasing, field: func(c *Config) any { return &c.Limit.UnverifiedBurst },
		Help: "SYNs of such sources at once"},
	{Key: "limit.autonomous", Commands: leasing, field: func(c *Config) any { return &c.Limit.Autonomous },
		Help: "let auto challenge while limiting is off too, within milliseconds and without a command"},

	{Key: "lists.block", Type: List, Commands: leasing, field: func(c *Config) any { return &c.Lists.Block }, check: checkPrefixes,
		Help: "addresses and prefixes to drop all packets from, with commas, but to management ports; whatever the mode"},
	{Key: "lists.block-file", Commands: leasing, field: func(c *Config) any { return &c.Lists.BlockFile },
		Help: "file of more, one a line, # begins a comment; read again on SIGHUP"},
	{Key: "lists.allow", Type: List, Commands: leasing, field: func(c *Config) any { return &c.Lists.Allow }, check: checkPrefixes,
		Help: "addresses and prefixes to let all packets pass from, up to lists.allow-ceiling; the longest prefix counts"},
	{Key: "lists.allow-file", Commands: leasing, field: func(c *Config) any { return &c.Lists.AllowFile },
		Help: "file of more, as lists.block-file"},
	{Key: "lists.allow-ceiling", Commands: leasing, field: func(c *Config) any { return &c.Lists.Ceiling },
		Help: "packets per second over which an allowed prefix, or who is logged in, is judged like others: addresses can be forged"},

	{Key: "monitor.origin", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.Origin },
		Help: "who the monitor's commands are from; each monitor of a server has its own"},
	{Key: "monitor.cpu-threshold", Commands: judging, field: func(c *Config) any { return &c.Monitor.CPUThreshold },
		Help: "CPU usage over which to alert, in percent"},
	{Key: "monitor.ram-threshold", Commands: judging, field: func(c *Config) any { return &c.Monitor.RAMThreshold },
		Help: "RAM usage over which to alert, in percent"},
	{Key: "monitor.syn-threshold", Commands: judging, field: func(c *Config) any { return &c.Monitor.SYNThreshold },
		Help: "SYNs in 5 s over which to alert"},
	{Key: "monitor.connections-threshold", Commands: judging,
		field: func(c *Config) any { return &c.Monitor.ConnectionsThreshold },
		Help:  "active TCP connections over which to alert"},
	{Key: "monitor.clear-ratio", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.ClearRatio },
		Help: "part of the level that was crossed below which an alert clears"},
	{Key: "monitor.raise-samples", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.RaiseSamples },
		Help: "samples over the threshold, of the last monitor.raise-window, that raise an alert; SYNs need one"},
	{Key: "monitor.raise-window", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.RaiseWindow },
		Help: "samples to look at; as many in a row below the clear level clear"},
	{Key: "monitor.spike-factor", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.SpikeFactor },
		Help: "times the normal SYNs or connections that are a spike; 0 for no spikes"},
	{Key: "monitor.spike-warmup", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.SpikeWarmup },
		Help: "samples before the normal level is known"},
	{Key: "monitor.normal-half-life", Commands: monitoring,
		field: func(c *Config) any { return &c.Monitor.NormalHalfLife },
		Help:  "time in which what was learned of the normal level loses half of its weight"},
	{Key: "monitor.syn-floor", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.SYNFloor },
		Help: "SYNs in 5 s that the normal level is taken as at least"},
	{Key: "monitor.connections-floor", Commands: monitoring,
		field: func(c *Config) any { return &c.Monitor.ConnectionsFloor },
		Help:  "connections that the normal level is taken as at least"},
	{Key: "monitor.remind-every", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.RemindEvery },
		Help: "time between reminders of an alert"},
	{Key: "monitor.calm", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.Calm },
		Help: "time that SYNs must stay below the clear level before limiting is switched off"},
	{Key: "monitor.scale-every", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.ScaleEvery },
		Help: "shortest time between two requests to scale for the same alert"},
	{Key: "monitor.scale-calm", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.ScaleCalm },
		Help: "time that CPU and RAM must stay below the clear level before a server that the monitor added is taken away"},
	{Key: "monitor.status-timeout", Commands: monitoring, field: func(c *Config) any { return &c.Monitor.StatusTimeout },
		Help: "time after which a command without a status is sent again"},

	{Key: "web.listen", Commands: showing, field: func(c *Config) any { return &c.Web.Listen },
		Help: "address:port of the web page; empty for none in weir up"},
	{Key: "web.tls-cert", Commands: showing, field: func(c *Config) any { return &c.Web.TLSCert },
		Help: "file of the page's certificate, in PEM; empty for plain HTTP"},
	{Key: "web.tls-key", Commands: showing, field: func(c *Config) any { return &c.Web.TLSKey },
		Help: "file of the certificate's private key"},
	{Key: "web.origin", Commands: showing, field: func(c *Config) any { return &c.Web.Origin },
		Help: "how browsers elsewhere name this server: https://name[:port]; passkeys are bound to that name"},
	{Key: "web.proxy", Commands: showing, field: func(c *Config) any { return &c.Web.Proxy },
		Help: "a proxy before the page ends TLS; where people are from is what it says in X-Forwarded-For"},
	{Key: "web.users", Commands: showing, field: func(c *Config) any { return &c.Web.Users },
		Help: "file of those who may sign in, as weir web user add writes it; empty for a page without sign-in, on loopback only"},
	{Key: "web.second-factor", Commands: showing, field: func(c *Config) any { return &c.Web.SecondFactor }, check: oneOf("required", "optional"),
		Help: "whether everybody needs a code or a passkey beside the password: required or optional"},
	{Key: "web.watch", Type: List, Commands: showing, field: func(c *Config) any { return &c.Web.Watch },
		Help: "other servers to show: ORG/SERVER or ORG/SITE/SERVER, with commas, + for any"},
	{Key: "web.history", Commands: showing, field: func(c *Config) any { return &c.Web.History },
		Help: "file that keeps what was received beyond the last hour; empty for none"},
	{Key: "web.keep-metrics", Commands: showing, field: func(c *Config) any { return &c.Web.KeepMetrics },
		Help: "how long it keeps metrics and public messages; 0 for ever"},
	{Key: "web.keep-events", Commands: showing, field: func(c *Config) any { return &c.Web.KeepEvents },
		Help: "how long it keeps alerts, commands and statuses; 0 for ever"},
	{Key: "web.history-mb", Commands: showing, field: func(c *Config) any { return &c.Web.HistoryMB },
		Help: "size of that file, in MiB, over which its oldest rows go; 0 for any"},

	{Key: "approval.commands", Type: List, Commands: leasing, field: func(c *Config) any { return &c.Approval.Commands },
		Help: "commands that are done only if two operators send them, like disable_rate_limiting,unblock_source; empty for none"},
	{Key: "approval.within", Commands: leasing, field: func(c *Config) any { return &c.Approval.Within },
		Help: "time in which the second operator must send the same"},

	{Key: "audit.dir", Commands: auditing, field: func(c *Config) any { return &c.Audit.Dir },
		Help: "directory of the audit logs, audit-controller.log and audit-web.log; empty for none"},
	{Key: "audit.mb", Commands: auditing, field: func(c *Config) any { return &c.Audit.MB },
		Help: "size of an audit log, in MiB, at which the next file is begun"},
	{Key: "audit.files", Commands: auditing, field: func(c *Config) any { return &c.Audit.Files },
		Help: "number of full audit logs that are kept of each component"},

	{Key: "notify.alertmanager", Type: List, Commands: monitoring, field: func(c *Config) any { return &c.Notify.Alertmanager },
		Help: "Alertmanagers to tell of alerts, with commas: http[s]://[user@]host[:port]"},
	{Key: "notify.alertmanager-password-file", Commands: monitoring, field: func(c *Config) any { return &c.Notify.PasswordFile },
		Help: "file that holds that user's password; only its owner may read it"},
	{Key: "notify.webhook", Type: List, Commands: monitoring, field: func(c *Config) any { return &c.Notify.Webhook },
		Help: "addresses to post alerts to as signed JSON, with commas"},
	{Key: "notify.webhook-key-file", Commands: monitoring, field: func(c *Config) any { return &c.Notify.KeyFile },
		Help: "file that holds the key to sign them with, 16 bytes at least in one line; only its owner may read it"},
	{Key: "notify.syslog", Type: List, Commands: monitoring, field: func(c *Config) any { return &c.Notify.Syslog },
		Help: "syslog servers to tell of alerts in RFC 5424's form, with commas: unix:///dev/log, or udp, tcp or tls://host[:port]"},

	{Key: "metrics.listen", Commands: exporting, field: func(c *Config) any { return &c.Metrics.Listen },
		Help: "address:port of /metrics for Prometheus, /healthz and /readyz, like 127.0.0.1:9732; empty for none"},
	{Key: "metrics.tls-cert", Commands: exporting, field: func(c *Config) any { return &c.Metrics.TLSCert },
		Help: "file of their certificate, in PEM; empty for plain HTTP"},
	{Key: "metrics.tls-key", Commands: exporting, field: func(c *Config) any { return &c.Metrics.TLSKey },
		Help: "file of the certificate's private key"},
	{Key: "metrics.token-file", Commands: exporting, field: func(c *Config) any { return &c.Metrics.TokenFile },
		Help: "file that holds a token which whoever reads /metrics must show; only its owner may read it; empty for none"},
	{Key: "metrics.pprof", Commands: exporting, field: func(c *Config) any { return &c.Metrics.Pprof },
		Help: "address:port, on loopback, of Go's profiles below /debug/pprof/; empty for none"},

	{Key: "log.level", Commands: everything, field: func(c *Config) any { return &c.Log.Level },
		check: oneOf("debug", "info", "warn", "error"), Help: "least that is logged: debug, info, warn or error"},
	{Key: "log.format", Commands: everything, field: func(c *Config) any { return &c.Log.Format },
		check: oneOf("auto", "text", "json"), Help: "form of the log: text, json, or auto for json under systemd and else text"},
})))

// complete derives what follows from the key and the field.
func complete(all []Setting) []Setting {
	defaults := Default()
	for i := range all {
		s := &all[i]
		dashed := strings.ReplaceAll(s.Key, ".", "-")
		s.Env = envPrefix + strings.ToUpper(strings.ReplaceAll(dashed, "-", "_"))
		if s.Type == "" {
			s.Type = typeOf(s.field(defaults))
		}
		if s.Type != Secret {
			s.Flag = dashed
		}
		s.Default = format(s.field(defaults))
	}
	return all
}

const envPrefix = "WEIR_"

// index is the settings by key.
var index = func() map[string]*Setting {
	m := map[string]*Setting{}
	for i := range Settings {
		m[Settings[i].Key] = &Settings[i]
	}
	return m
}()
