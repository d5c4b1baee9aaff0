package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"

	te "github.com/weir-sensor/weir/pkg/testenv"
)

// TestNoLineForEachMessage: a thousand messages of every kind, wrong ones and ones that say nothing new, are a few lines in a service's log.
func TestNoLineForEachMessage(t *testing.T) {
	te.Tool(t, "mosquitto_pub")
	s := newSite(t)
	up := s.Bank.Start(t, "sh", append([]string{"-c", `SYSTEMD_EXEC_PID=$$; export SYSTEMD_EXEC_PID; exec "$0" "$@"`, binary},
		s.args("up", "--metrics-listen", metricsAddr)...)...)
	up.Await(t, `"msg":"ready"`, patience)
	send := func(topic, payload string) {
		t.Helper()
		cmd := s.Bank.Command(t.Context(), "mosquitto_pub", "-h", "127.0.0.1", "-t", topic, "-q", "1", "-l")
		cmd.Stdin = strings.NewReader(strings.Repeat(payload+"\n", 150))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", topic, err, out)
		}
	}
	o := te.Observe(t, s.Bank, brokerAddr, root+"/status/rate_limiting")
	before := len(up.Output())
	send("public/bank", `hello`)
	send(root+"/metrics/cpu", `{"cpu_usage":5,"timestamp":1}`)
	send(root+"/metrics/ram", `not JSON`)
	send(root+"/status/scaling", `{"command":"scale_up_servers","status":"success"}`)
	send(root+"/control/command", `{"command":"enable_rate_limiting","origin":"flood"}`)
	send(root+"/control/command", `{"command":"dance"}`)
	send(root+"/control/command", `[`)
	te.Publish(t, s.Bank, brokerAddr, root+"/control/command", []byte(`{"command":"disable_rate_limiting","origin":"last"}`), "-q", "1")
	o.Await(t, patience, "answer to the last", is("status/rate_limiting", `"origin":"last"`))
	up.Signal(syscall.SIGTERM)
	if err := up.Wait(patience); err != nil {
		t.Error(err)
	}

	count := map[string]int{}
	for line := range strings.Lines(up.Output()[before:]) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "DEBUG" {
			t.Errorf("%v: %s", err, line)
		}
		count[entry.Msg]++
	}
	all := 0
	for _, n := range count {
		all += n
	}
	// Each component says that it leaves, and of each kind of trouble there is one line.
	if all > 30 || count["rate limiting on"] != 1 || count["command refused"] == 0 || count["metrics ignored"] == 0 {
		t.Errorf("%d lines: %v", all, count)
	}
	if n := len(o.Messages()); n < 150 {
		t.Errorf("%d answers: nothing is shown", n)
	}
}
