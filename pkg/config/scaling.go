package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Scaling is where servers come from when a command asks for more.
type Scaling struct {
	Backend  string // "" for none
	Min, Max int
	CoolDown time.Duration
	Within   time.Duration

	Instances string // see Instances
	Health    string // URL, {n} stands for the instance
	Unit      string // template
	Start     string // a program and its arguments, with commas
	Stop      string // another

	HAProxy    HAProxy
	Kubernetes Kubernetes
	Exec       Exec
}

// HAProxy is where servers are added.
type HAProxy struct {
	Socket  string
	Backend string
	Prefix  string // of the names of the servers that are weir's
	Address string
	Options string // of a server that is added
}

// Kubernetes is what is scaled.
type Kubernetes struct {
	Workload   string // deployment/NAME or statefulset/NAME
	Namespace  string // "" for that of the credentials
	Kubeconfig string // file; "" for those of the pod
	Context    string // "" for the current one
}

// Exec is how programs scale. Each is a program and its arguments, with commas.
type Exec struct {
	Up, Down, Count string
	Env             string // NAME=value, with commas
	Limit           time.Duration
}

var defaultScaling = Scaling{
	Min: 1, Max: 4, CoolDown: time.Minute, Within: 2 * time.Minute, Instances: "8101-8108", Health: "http://127.0.0.1:{n}/",
	HAProxy: HAProxy{Socket: "/run/haproxy/admin.sock", Prefix: "weir", Address: "127.0.0.1", Options: "check"},
	Exec:    Exec{Limit: time.Minute},
}

// scalingSettings are the section's.
func scalingSettings() []Setting {
	return []Setting{
		{Key: "scaling.backend", field: func(c *Config) any { return &c.Scaling.Backend }, check: oneOf("", "haproxy", "systemd", "kubernetes", "exec"),
			Help: "what has the servers: haproxy, systemd, kubernetes or exec (programs of yours); empty for no scaling"},
		{Key: "scaling.min", field: func(c *Config) any { return &c.Scaling.Min },
			Help: "servers that scaling down leaves"},
		{Key: "scaling.max", field: func(c *Config) any { return &c.Scaling.Max },
			Help: "servers that scaling up makes, those that are always there included"},
		{Key: "scaling.cool-down", field: func(c *Config) any { return &c.Scaling.CoolDown },
			Help: "time after a change in which there is no other"},
		{Key: "scaling.within", field: func(c *Config) any { return &c.Scaling.Within },
			Help: "time in which new servers must answer their health checks, or requests to old ones must have ended; else it is undone"},
		{Key: "scaling.instances", field: func(c *Config) any { return &c.Scaling.Instances }, check: checkInstances,
			Help: "haproxy, systemd: numbers that servers of weir's may have, FIRST-LAST; with haproxy they are the ports"},
		{Key: "scaling.health", field: func(c *Config) any { return &c.Scaling.Health }, check: checkHealth,
			Help: "haproxy, systemd: what a server must answer by 2xx or 3xx: http, https or tcp (only connect); {n} stands for its number"},
		{Key: "scaling.unit", field: func(c *Config) any { return &c.Scaling.Unit }, check: checkUnit,
			Help: "haproxy, systemd: template unit whose instances are the servers' processes, like bank-backend@.service"},
		{Key: "scaling.start", Type: List, field: func(c *Config) any { return &c.Scaling.Start }, check: checkProgram,
			Help: "haproxy: instead of a unit, program and arguments that start a server's process; WEIR_INSTANCE is its number"},
		{Key: "scaling.stop", Type: List, field: func(c *Config) any { return &c.Scaling.Stop }, check: checkProgram,
			Help: "haproxy: the same to stop it; must succeed if it doesn't run"},

		{Key: "scaling.haproxy.socket", field: func(c *Config) any { return &c.Scaling.HAProxy.Socket },
			Help: "path of HAProxy's stats socket, of level admin"},
		{Key: "scaling.haproxy.backend", field: func(c *Config) any { return &c.Scaling.HAProxy.Backend }, check: checkName,
			Help: "HAProxy's backend to scale"},
		{Key: "scaling.haproxy.prefix", field: func(c *Config) any { return &c.Scaling.HAProxy.Prefix }, check: checkName,
			Help: "names of the servers that are weir's begin so: slots of a server-template, or else PREFIX-NUMBER is added"},
		{Key: "scaling.haproxy.address", field: func(c *Config) any { return &c.Scaling.HAProxy.Address }, check: checkName,
			Help: "address of those servers, as HAProxy reaches them"},
		{Key: "scaling.haproxy.options", field: func(c *Config) any { return &c.Scaling.HAProxy.Options }, check: checkOptions,
			Help: "keywords of a server that is added, like check inter 500ms; its weight is that of the others"},

		{Key: "scaling.kubernetes.workload", field: func(c *Config) any { return &c.Scaling.Kubernetes.Workload },
			Help: "what to scale: deployment/NAME or statefulset/NAME"},
		{Key: "scaling.kubernetes.namespace", field: func(c *Config) any { return &c.Scaling.Kubernetes.Namespace },
			Help: "its namespace; empty for that of the credentials"},
		{Key: "scaling.kubernetes.kubeconfig", field: func(c *Config) any { return &c.Scaling.Kubernetes.Kubeconfig },
			Help: "file with the cluster and the credentials; empty for those of the pod in which weir runs"},
		{Key: "scaling.kubernetes.context", field: func(c *Config) any { return &c.Scaling.Kubernetes.Context },
			Help: "context of that file; empty for its current one"},

		{Key: "scaling.exec.up", Type: List, field: func(c *Config) any { return &c.Scaling.Exec.Up }, check: checkProgram,
			Help: "program and arguments, the whole path first, that end with status 0 once WEIR_SERVERS servers answer; run without a shell"},
		{Key: "scaling.exec.down", Type: List, field: func(c *Config) any { return &c.Scaling.Exec.Down }, check: checkProgram,
			Help: "the same for fewer; what an up that failed has left is its to remove"},
		{Key: "scaling.exec.count", Type: List, field: func(c *Config) any { return &c.Scaling.Exec.Count }, check: checkProgram,
			Help: "program and arguments that print how many servers answer their health checks"},
		{Key: "scaling.exec.env", Type: List, field: func(c *Config) any { return &c.Scaling.Exec.Env }, check: checkEnv,
			Help: "environment of these programs, and of scaling.start and stop: NAME=value, with commas; beside that only PATH"},
		{Key: "scaling.exec.limit", field: func(c *Config) any { return &c.Scaling.Exec.Limit },
			Help: "time after which such a program is killed, with its children"},
	}
}

// withScaling puts them before the monitor's.
func withScaling(all []Setting) []Setting {
	at := slices.IndexFunc(all, func(s Setting) bool { return strings.HasPrefix(s.Key, "monitor.") })
	more := scalingSettings()
	for i := range more {
		more[i].Commands = leasing
	}
	return slices.Insert(all, at, more...)
}

// Instances reads FIRST-LAST.
func Instances(text string) (first, last int, err error) {
	a, b, found := strings.Cut(text, "-")
	first, err = strconv.Atoi(a)
	last, err2 := strconv.Atoi(b)
	if !found || err != nil || err2 != nil || first < 1 || last < first || last > 65535 || last-first >= maxInstances {
		return 0, 0, fmt.Errorf("give FIRST-LAST from 1 to 65535, like 8101-8108, %d of them at most", maxInstances)
	}
	return first, last, nil
}

const maxInstances = 100

func checkInstances(text string) error {
	_, _, err := Instances(text)
	return err
}

// Words takes a list apart.
func Words(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

func checkHealth(text string) error {
	scheme, host, _ := strings.Cut(text, "://")
	if !slices.Contains([]string{"http", "https", "tcp"}, scheme) || host == "" || !strings.Contains(text, "{n}") {
		return errors.New("give http://, https:// or tcp:// with {n} for the server's number, like http://127.0.0.1:{n}/health")
	}
	return nil
}

// unitTemplate is a name that systemd takes: systemd.unit(5).
var unitTemplate = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+@\.service$`)

func checkUnit(text string) error {
	if text != "" && !unitTemplate.MatchString(text) {
		return errors.New("give a template of services, like bank-backend@.service")
	}
	return nil
}

func checkProgram(text string) error {
	if text != "" && !strings.HasPrefix(text, "/") {
		return errors.New("give the program's whole path first, then its arguments, as a list; none may hold a comma")
	}
	return nil
}

func checkEnv(text string) error {
	for _, pair := range Words(text) {
		if name, _, found := strings.Cut(pair, "="); !found || name == "" {
			return errors.New("give NAME=value, with commas; no value may hold one")
		}
	}
	return nil
}

// checkName refuses what HAProxy's command line would take for more than one word.
func checkName(text string) error {
	if strings.ContainsAny(text, " ;\\/#'\"$") || hasControl(text) {
		return errors.New("leave out spaces, quotes and signs such as ; and /")
	}
	return nil
}

func checkOptions(text string) error {
	if strings.ContainsAny(text, ";\\") || hasControl(text) {
		return errors.New("leave out ; and \\, and write one line")
	}
	return nil
}

// hasControl finds what would end a command, too.
func hasControl(text string) bool { return strings.ContainsFunc(text, unicode.IsControl) }
