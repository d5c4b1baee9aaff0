// Package config is the one table of settings: what each is called as a flag, a variable and a YAML key, what it means,
// and where its value came from. Flags come before variables, variables before the file, the file before defaults.
package config

import (
	"time"

	"github.com/weir-sensor/weir/pkg/monitor"
	"github.com/weir-sensor/weir/pkg/wire"
)

// Config is what all layers come to. What a component thinks of its values is the component's to say.
type Config struct {
	Interface string // or several, with commas; "" for that of the default route
	BPFFS     string

	ManagementPorts string // by which administrators come, see Ports

	Org, Site, Server string

	Broker   Broker
	Listen   Listen
	Sensor   Sensor
	Limiter  string // xdp, tc or auto
	Limit    Limit
	Budgets  [len(BudgetClasses)]Budget
	Lists    Lists
	Scaling  Scaling
	Web      Web
	Audit    Audit
	Approval Approval
	Metrics  Metrics
	Notify   Notify
	Monitor  monitor.Config // with Root and the sensor's Interval filled in
	Log      Log

	// Warnings are for the log, one line each.
	Warnings []string

	given map[string]string // where each key that isn't a default came from
}

// Root is the prefix of all topics.
func (c *Config) Root() wire.Root { return wire.Root{Org: c.Org, Site: c.Site, Server: c.Server} }

// Given tells whether somebody chose a key's value, by whatever way.
func (c *Config) Given(key string) bool { return c.given[key] != "" }

// Broker is where to connect to and as whom.
type Broker struct {
	URL          string // without a password, and without a user's name if there is one below
	Username     string
	Password     string // that of PasswordFile, if one is given
	PasswordFile string
	ClientID     string

	Identity          string // directory; "" for none
	Trust             string // file; "" for the one in Identity
	AllowTLS12        bool
	InsecurePlaintext bool
	Commands          string // open, authenticated, signed or auto
	State             string // directory
}

// Listen is where the embedded broker listens; "" for not at all.
type Listen struct {
	TCP         string
	WebSocket   string
	AllowRemote bool
}

// Sensor is how the sensor reports.
type Sensor struct {
	Interval    time.Duration
	EarlyReport uint64 // SYNs in 5 s
	TopSources  int
	Sources     int // capacity of the source table
	Tier        string
}

// Limit is what a source may send while limiting is on.
type Limit struct {
	Rate      uint64 // SYNs per second
	Burst     uint64 // SYNs
	Lease     time.Duration
	Challenge string // never, always or auto

	Connections uint64 // open at a time; 0 for any number

	UnverifiedRate  uint64 // SYNs per second of all sources without a completed handshake, for auto
	UnverifiedBurst uint64 // SYNs
	Autonomous      bool   // auto acts without limiting too
}

// Lists are the sources that are blocked or allowed whatever they do. Each list is what is written here and in its file.
type Lists struct {
	Block, Allow         string // prefixes, see prefixlist.ParseInline
	BlockFile, AllowFile string // see prefixlist.Read; "" for none
	Ceiling              uint64 // packets per second of each allowed prefix
}

// Approval is of commands that two people must send.
type Approval struct {
	Commands string // with commas
	Within   time.Duration
}

// Audit is where what was commanded is noted.
type Audit struct {
	Dir   string // "" for none
	MB    int    // MiB of a file
	Files int    // older ones that are kept
}

// Metrics is where a process tells of itself.
type Metrics struct {
	Listen          string // "" for nowhere
	TLSCert, TLSKey string // files
	TokenFile       string // "" for none
	Pprof           string // "" for nowhere
}

// Notify is who is told of alerts beside the broker. Addresses are separated by commas.
type Notify struct {
	Alertmanager, Webhook, Syslog string
	PasswordFile                  string // of Alertmanager's user
	KeyFile                       string // that webhooks are signed with
}

// Web is where the page is served, and what is kept for it.
type Web struct {
	Listen          string
	TLSCert, TLSKey string // files
	Origin          string // https://name[:port]; "" for loopback
	Proxy           bool
	Users           string // file; "" for nobody to sign in
	SecondFactor    string // required or optional
	Watch           string // filters of others' roots, with commas
	History         string // file; "" for none
	KeepMetrics     time.Duration
	KeepEvents      time.Duration
	HistoryMB       int
}

// Log is how to log.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // auto, text or json
}

// Default is the configuration when nobody says anything. The numbers' reasons stand where they are used; a test
// compares those of the datapath, which this package doesn't import.
func Default() *Config {
	return &Config{
		BPFFS:           "/sys/fs/bpf",
		ManagementPorts: "22",
		Org:             wire.DefaultRoot.Org,
		Site:            wire.DefaultRoot.Site,
		Server:          wire.DefaultRoot.Server,
		Broker:          Broker{URL: "tcp://127.0.0.1:1883", Commands: "auto", State: defaultState},
		Listen:          Listen{TCP: "127.0.0.1:1883", WebSocket: "127.0.0.1:8083"},
		Sensor:          Sensor{Interval: 5 * time.Second, EarlyReport: 700, TopSources: 10, Sources: 16384, Tier: "auto"},
		Limiter:         "auto",
		Limit:           Limit{Rate: 100, Burst: 200, Lease: 10 * time.Minute, Challenge: "auto", UnverifiedRate: 1000, UnverifiedBurst: 1000},
		Lists:           Lists{Ceiling: 100_000},
		Scaling:         defaultScaling,
		Web: Web{Listen: "127.0.0.1:8080", SecondFactor: "required", History: defaultState + "/history.db", KeepMetrics: 7 * 24 * time.Hour,
			KeepEvents: 90 * 24 * time.Hour, HistoryMB: 1024},
		Approval: Approval{Within: 2 * time.Minute},
		Audit:    Audit{Dir: defaultState, MB: 16, Files: 20},
		Monitor:  monitor.DefaultConfig(),
		Log:      Log{Level: "info", Format: "auto"},
	}
}
