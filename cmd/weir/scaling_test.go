package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	te "github.com/weir-sensor/weir/pkg/testenv"
	"github.com/weir-sensor/weir/pkg/wire"
)

// farm is a bank with HAProxy on port 80 before nginx servers, of which weir can start more.
type farm struct {
	*site
	o       *te.Observer
	haproxy *te.Process
	cfg     string // weir's
}

func newFarm(t *testing.T, within time.Duration) *farm {
	te.Tool(t, "haproxy", "nginx", "wrk")
	f := &farm{site: newSite(t)}
	f.write("haproxy.cfg", fmt.Sprintf(`
global
  stats socket %[1]s/admin.sock level admin
defaults
  mode http
  timeout connect 5s
  timeout check 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind :80
  default_backend bank
backend bank
  balance roundrobin
  option httpchk GET /
  server main 127.0.0.1:8100 check inter 200ms
`, f.dir))
	f.program("start", `
cat > $DIR/nginx-$WEIR_INSTANCE.conf <<END
pid $DIR/nginx-$WEIR_INSTANCE.pid;
error_log $DIR/error.log;
worker_processes 1;
events {}
http {
  access_log $DIR/access-$WEIR_INSTANCE.log;
  server { listen 127.0.0.1:$WEIR_INSTANCE; location / { return 200 "$WEIR_INSTANCE\n"; } }
}
END
[ "$WEIR_INSTANCE" != 8104 ] || sed -i 's/return 200/return 503/' $DIR/nginx-$WEIR_INSTANCE.conf
[ ! -s $DIR/nginx-$WEIR_INSTANCE.pid ] || exit 0
[ ! -e $DIR/slow ] || sleep 2
exec nginx -c $DIR/nginx-$WEIR_INSTANCE.conf > /dev/null 2>&1
`)
	f.program("stop", `
[ -s $DIR/nginx-$WEIR_INSTANCE.pid ] || exit 0
kill -QUIT $(cat $DIR/nginx-$WEIR_INSTANCE.pid)
while [ -s $DIR/nginx-$WEIR_INSTANCE.pid ]; do sleep 0.05; done
`)
	f.cfg = f.write("weir.yaml", fmt.Sprintf(`
state: %[1]s
monitor: {cpu-threshold: 100, ram-threshold: 100} # whoever else is busy on this machine
scaling:
  backend: haproxy
  cool-down: 0s
  within: %[2]v
  max: 6
  instances: 8101-8108
  start: [%[1]s/start]
  stop: [%[1]s/stop]
  exec.env: [DIR=%[1]s]
  haproxy:
    socket: %[1]s/admin.sock
    backend: bank
    options: check inter 200ms
`, f.dir, within))
	f.Bank.Run(t, "sh", "-c", "DIR="+f.dir+" WEIR_INSTANCE=8100 "+f.dir+"/start")
	f.begin()
	return f
}

func (f *farm) begin() {
	f.haproxy = f.Bank.Start(f.t, "haproxy", "-db", "-f", filepath.Join(f.dir, "haproxy.cfg"))
}

func (f *farm) write(name, text string) string {
	path := filepath.Join(f.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *farm) program(name, script string) {
	if err := os.Chmod(f.write(name, "#!/bin/sh\nset -e\nPATH=$PATH:/usr/sbin\n"+script), 0o700); err != nil {
		f.t.Fatal(err)
	}
}

// scale publishes a command and waits for its status.
func (f *farm) scale(payload string) wire.Status {
	f.t.Helper()
	begun := time.Now()
	te.Publish(f.t, f.Bank, brokerAddr, root+"/control/command", []byte(payload))
	return decode[wire.Status](f.t, f.o.Await(f.t, 40*time.Second, "status of "+payload, since(begun, is("status/scaling"))))
}

// processes are the ports of the nginx servers that run.
func (f *farm) processes() string {
	all, _ := filepath.Glob(filepath.Join(f.dir, "nginx-*.pid"))
	for i, path := range all {
		all[i] = strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "nginx-"), ".pid")
	}
	return strings.Join(all, " ")
}

func (f *farm) expect(what string, st wire.Status, result, detail, processes string) {
	f.t.Helper()
	if st.Status != result || !strings.Contains(st.Detail, detail) {
		f.t.Errorf("%s: %s: %s, want %s: %s", what, st.Status, st.Detail, result, detail)
	}
	if got := f.processes(); got != processes {
		f.t.Errorf("%s: nginx on %s, want %s", what, got, processes)
	}
}

// served waits until a server has answered requests of customers, and demands that none went wrong.
func (f *farm) served(ports ...int) {
	f.t.Helper()
	for _, n := range ports {
		var log string
		te.Eventually(f.t, patience, fmt.Sprintf("requests to server %d", n), func() bool {
			text, err := os.ReadFile(filepath.Join(f.dir, fmt.Sprintf("access-%d.log", n)))
			log = string(text)
			return err == nil && strings.Count(log, "\n") > 300
		})
		if bad := strings.Count(log, "\n") - strings.Count(log, `" 200 `); bad != 0 {
			f.t.Errorf("server %d: %d answers weren't 200", n, bad)
		}
	}
}

// TestScalingLosesNoRequest scales by MQTT while wrk keeps HAProxy busy.
func TestScalingLosesNoRequest(t *testing.T) {
	f := newFarm(t, patience)
	f.start("up", "--config", f.cfg)
	f.o = te.Observe(t, f.Bank, brokerAddr)
	wrk := f.Customer.Start(t, "wrk", "-t1", "-c20", "-d300s", "--timeout", "30s", "http://"+f.Bank.Addr(80).String()+"/")
	f.served(8100)
	f.expect("up", f.scale(`{"command": "scale_up_servers", "id": "1", "count": 2}`), wire.Success,
		"3 servers instead of 1: added weir-8101 (port 8101), weir-8102", "8100 8101 8102")
	f.served(8101, 8102)
	f.expect("up again", f.scale(`{"command": "scale_up_servers"}`), wire.Success, "4 servers instead of 3", "8100 8101 8102 8103")
	f.served(8103)
	f.expect("down", f.scale(`{"command": "scale_down_servers", "count": 2}`), wire.Success, "took away weir-8102 (port 8102), weir-8103", "8100 8101")
	f.expect("down again", f.scale(`{"command": "scale_down_servers"}`), wire.Success, "1 server instead of 2", "8100")
	f.expect("nobody else's", f.scale(`{"command": "scale_down_servers"}`), wire.Failure, "scaling.min is 1", "8100")
	if out := f.mustWeir("ctl scale-up-servers"); !strings.HasPrefix(out, "scale_up_servers: success: 2 servers instead of 1") {
		t.Errorf("weir ctl: %s", out)
	}
	f.served(8100, 8101, 8102, 8103)
	wrk.Signal(syscall.SIGINT) // which cuts what is under way off: wrk doesn't count that
	if err := wrk.Wait(patience); err != nil {
		t.Fatal(err)
	}
	if out := wrk.Output(); !strings.Contains(out, "requests in") || strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
		t.Errorf("wrk lost requests:\n%s", out)
	}
}

// TestScalingGoesWrong: four more servers would need the one on port 8104, which is never well.
func TestScalingGoesWrong(t *testing.T) {
	f := newFarm(t, 3*time.Second)
	f.start("broker")
	f.start("sensor")
	controller := f.start("controller", "--config", f.cfg)
	f.o = te.Observe(t, f.Bank, brokerAddr)
	four := func() (begun time.Time) {
		begun = time.Now()
		te.Publish(t, f.Bank, brokerAddr, root+"/control/command", []byte(`{"command": "scale_up_servers", "count": 4, "id": "four"}`))
		te.Eventually(t, patience, "the fourth", func() bool { return strings.Contains(f.processes(), "8104") })
		return begun
	}
	const ill = "http://127.0.0.1:8104/ answers 503; undone: 1 server as before"

	begun := four()
	if took := time.Now(); f.order(f.o, `{"command": "enable_rate_limiting"}`, "success").Command == "" || time.Since(took) > 4*time.Second {
		t.Errorf("a limit waited %v for servers", time.Since(took))
	}
	if st := f.scale(`{"command": "scale_down_servers"}`); st.Status != wire.Failure || !strings.Contains(st.Detail, "one at a time") {
		t.Errorf("meanwhile: %+v", st)
	}
	answer := func(at time.Time) wire.Status {
		return decode[wire.Status](t, f.o.Await(t, time.Minute, "answer", since(at, is("status/scaling", `"id":"four"`))))
	}
	f.expect("never well", answer(begun), wire.Failure, ill, "8100")

	begun = four()
	controller.Kill()
	f.start("controller", "--config", f.cfg)
	f.expect("killed in the middle", answer(begun), wire.Failure, ill, "8100")

	begun = four()
	f.haproxy.Kill()
	f.begin()
	te.Eventually(t, time.Minute, "end of what was launched", func() bool { return f.processes() == "8100" })
	if st := answer(begun); st.Status != wire.Failure {
		t.Errorf("haproxy killed in the middle: %+v", st)
	}
	te.Eventually(t, time.Minute, "one that can be scaled again", func() bool {
		return f.scale(`{"command": "scale_up_servers"}`).Status == wire.Success
	})
	if got := f.processes(); got != "8100 8101" {
		t.Errorf("in the end nginx on %s", got)
	}
}

func TestScalingByThePage(t *testing.T) {
	f := newFarm(t, 15*time.Second) // the page says how long that may take
	f.start("up", "--config", f.cfg)
	f.browse("scale", map[string]func(){"slow servers": func() { f.write("slow", "") }})
}
