package wire

import "time"

// Timestamp converts to the wire's Unix seconds with a fraction.
func Timestamp(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// CPU is the payload of metrics/cpu.
type CPU struct {
	Usage     float64 `json:"cpu_usage"` // percent of all cores
	Timestamp float64 `json:"timestamp"` // Unix seconds
}

// RAM is the payload of metrics/ram.
type RAM struct {
	Usage     float64 `json:"ram_usage"` // percent
	Timestamp float64 `json:"timestamp"` // Unix seconds
}

// Network is the payload of metrics/network. The first three members are the customer's contract.
type Network struct {
	ActiveTCPConnections int     `json:"active_tcp_connections"`
	SYNPacketCount       uint64  `json:"syn_packet_count"` // SYNs offered in the last 5 s, before any drop
	Timestamp            float64 `json:"timestamp"`        // Unix seconds

	Early           bool                `json:"early,omitempty"` // sent at once on crossing the early-report level
	Interface       string              `json:"interface,omitempty"`
	Tier            string              `json:"tier,omitempty"`             // what counts: xdp-native, xdp-generic, tc-bpf, tc-police or none
	Limiter         string              `json:"limiter,omitempty"`          // tc-police if that limits SYNs although a program counts them
	Mode            string              `json:"mode,omitempty"`             // ModeObserve or ModeEnforce, as it acts now
	LeaseSeconds    float64             `json:"lease_seconds,omitempty"`    // until enforcement ends by itself
	IntervalSeconds float64             `json:"interval_seconds,omitempty"` // what the rates and drops below cover
	Rates           map[string]Rate     `json:"rates,omitempty"`            // by class: syn, syn_ack, tcp, rst, udp, icmp, fragment, other
	Verdicts        map[string]Verdicts `json:"verdicts,omitempty"`         // packets by class and by what became of them, classes without any left out
	Drops           map[string]uint64   `json:"drops,omitempty"`            // packets dropped, by reason
	WouldDrop       map[string]uint64   `json:"would_drop,omitempty"`       // packets that enforce mode would have dropped, by reason
	Challenged      map[string]uint64   `json:"challenged,omitempty"`       // packets answered by a SYN cookie, by what spoke against them
	Challenging     bool                `json:"challenging,omitempty"`      // SYNs to listeners are answered by SYN cookies now
	ChallengeStarts uint64              `json:"challenge_starts,omitempty"` // how often they began to be by themselves, since counting began
	NICDiscards     uint64              `json:"nic_discards,omitempty"`     // packets that the network card discarded before the host saw them
	BeyondHost      bool                `json:"beyond_host,omitempty"`      // it does during a flood, which is more than this host can hold
	Seconds         []Second            `json:"seconds,omitempty"`          // SYNs second by second since the last regular report, oldest first
	TopSources      []Source            `json:"top_sources,omitempty"`      // by SYN rate, highest first
	TCP             *TCPHealth          `json:"tcp,omitempty"`
}

// Rate is what one class of packets offered to the interface.
type Rate struct {
	PacketsPerSecond float64 `json:"pps"`
	BytesPerSecond   float64 `json:"bytes_per_second"`
}

// Second is what became of the SYNs of one second.
type Second struct {
	Timestamp  float64 `json:"timestamp"` // Unix seconds, at its end
	Offered    float64 `json:"offered"`   // packets per second
	Dropped    float64 `json:"dropped,omitempty"`
	Challenged float64 `json:"challenged,omitempty"`
}

// Verdicts are what became of the packets of a class.
type Verdicts struct {
	Passed     uint64 `json:"passed"`
	WouldDrop  uint64 `json:"would_drop,omitempty"` // passed, too, but not among Passed
	Dropped    uint64 `json:"dropped,omitempty"`
	Challenged uint64 `json:"challenged,omitempty"` // answered by a SYN cookie
}

// Source is one row of the top talkers: an IPv4 address or an IPv6 /64.
type Source struct {
	Source        string  `json:"source"`
	SYNsPerSecond float64 `json:"syn_per_second"`
	Limited       bool    `json:"limited"` // over its rate now
}

// TCPHealth is the kernel's own view of TCP. The counters are totals since boot.
type TCPHealth struct {
	ListenOverflows  uint64 `json:"listen_overflows"`
	ListenDrops      uint64 `json:"listen_drops"`
	SyncookiesSent   uint64 `json:"syncookies_sent"`
	SyncookiesRecv   uint64 `json:"syncookies_received"`
	SyncookiesFailed uint64 `json:"syncookies_failed"`
}

// The datapath's modes.
const (
	ModeObserve = "observe" // counts what it would drop, drops nothing
	ModeEnforce = "enforce"
)

// The states of an alert.
const (
	AlertRaised   = "raised"
	AlertReminder = "reminder"
	AlertCleared  = "cleared"
)

// Alert is the payload of alerts.
type Alert struct {
	Timestamp float64 `json:"timestamp"` // Unix seconds
	Alert     string  `json:"alert"`     // e.g. "SYN packet count exceeded threshold"
	State     string  `json:"state"`     // AlertRaised, AlertReminder or AlertCleared
	Metric    string  `json:"metric"`    // cpu_usage, ram_usage, syn_packet_count or active_tcp_connections
	Value     float64 `json:"value"`
	Threshold float64 `json:"threshold"`        // what was crossed; for a cleared alert, the clear level
	Cause     string  `json:"cause"`            // "threshold" or "spike"
	Since     float64 `json:"since,omitempty"`  // Unix seconds when it was raised
	Normal    float64 `json:"normal,omitempty"` // learned normal level
}

// Command is the payload of control/command.
type Command struct {
	Command    string  `json:"command"`
	ID         string  `json:"id,omitempty"`          // echoed in the status
	Origin     string  `json:"origin,omitempty"`      // who asks, e.g. "monitor"; echoed in the status
	Rate       uint64  `json:"rate,omitempty"`        // SYNs per second and source
	Burst      uint64  `json:"burst,omitempty"`       // SYNs
	TTLSeconds float64 `json:"ttl_seconds,omitempty"` // hard end; without it a limit's lease is renewed while the flood lasts, a list entry lasts an hour
	Reason     string  `json:"reason,omitempty"`
	Timestamp  float64 `json:"timestamp,omitempty"` // Unix seconds
	Source     string  `json:"source,omitempty"`    // of the list commands: an address or a prefix, see prefixlist.Parse
	Count      uint64  `json:"count,omitempty"`     // of the scale commands: servers, 0 for one
	SignedBy   string  `json:"-"`                   // whose signature was verified; "" for nobody's
}

// The commands.
const (
	EnableRateLimiting  = "enable_rate_limiting"
	DisableRateLimiting = "disable_rate_limiting"
	ScaleUpServers      = "scale_up_servers"
	ScaleDownServers    = "scale_down_servers"
	BlockSource         = "block_source"
	UnblockSource       = "unblock_source" // takes a block back
	AllowSource         = "allow_source"
	UnallowSource       = "unallow_source" // takes an allow back

	TestAlert = "test_alert" // the monitor's: it has its notifiers send a test
)

// Commands are all that a controller knows.
var Commands = []string{EnableRateLimiting, DisableRateLimiting, BlockSource, UnblockSource, AllowSource, UnallowSource, ScaleUpServers, ScaleDownServers}

// The results of a command.
const (
	Success = "success"
	Failure = "failure"
)

// Status is the payload of status/rate_limiting, status/scaling and status/notification.
type Status struct {
	Timestamp float64 `json:"timestamp"` // Unix seconds
	Command   string  `json:"command"`
	Status    string  `json:"status"` // Success or Failure
	Detail    string  `json:"detail"`
	ID        string  `json:"id,omitempty"`
	Origin    string  `json:"origin,omitempty"`
	SignedBy  string  `json:"signed_by,omitempty"` // whose signature the command bore
	State     string  `json:"state,omitempty"`     // of rate limiting after the command: "on" or "off"
	Rate      uint64  `json:"rate,omitempty"`      // in force, SYNs per second and source
	Burst     uint64  `json:"burst,omitempty"`     // in force, SYNs
	Until     float64 `json:"until,omitempty"`     // Unix seconds when the lease ends

	// Whose limit is in force: this status may be about another's command that failed.
	Owner    string `json:"owner,omitempty"`     // origin of the command that set it
	FixedEnd bool   `json:"fixed_end,omitempty"` // it ends at Until, whether or not the flood goes on

	Transport string `json:"transport,omitempty"` // Plaintext if everybody on the way to the broker can read and change this; else ""
	Warning   string `json:"warning,omitempty"`   // that its sender's identity ends soon

	Servers *Servers `json:"servers,omitempty"` // of status/scaling, where a scaler is configured

	// Of a Failure that is none yet: until when, in Unix seconds, the command is carried out if a second person sends it, too. Another
	// status with this ID tells the end.
	ApprovalUntil float64 `json:"approval_until,omitempty"`

	Again bool `json:"again,omitempty"` // nothing new: it is told again to a broker that was away
}

// Servers are how many there are after a scale command, or at the controller's start.
type Servers struct {
	Running      int            `json:"running,omitempty"`       // 0 if they couldn't be counted
	Min          int            `json:"min"`                     // that scaling leaves
	Max          int            `json:"max"`                     // that scaling makes
	Added        map[string]int `json:"added,omitempty"`         // by origin: servers that its commands added and none has taken away
	TakesSeconds float64        `json:"takes_seconds,omitempty"` // at most, until a scale command is answered
}

// Plaintext is a transport without TLS, beyond loopback.
const Plaintext = "plaintext"

// The states of rate limiting.
const (
	StateOn  = "on"
	StateOff = "off"
)

// Presence is the payload of status/sensor, retained; "offline" is the last will.
type Presence struct {
	State     string  `json:"state"` // Online or Offline
	Timestamp float64 `json:"timestamp,omitempty"`
	Version   string  `json:"version,omitempty"`
	Host      string  `json:"host,omitempty"`
	Interface string  `json:"interface,omitempty"`
	Tier      string  `json:"tier,omitempty"`
	Transport string  `json:"transport,omitempty"` // these two as in Status
	Warning   string  `json:"warning,omitempty"`
	Will      bool    `json:"will,omitempty"` // a connection's last
}

// The sensor's presence.
const (
	Online  = "online"
	Offline = "offline"
)
