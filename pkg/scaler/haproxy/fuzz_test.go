package haproxy

import (
	"strings"
	"testing"
)

const stat = "# pxname,svname,qcur,scur,status,weight,bck,check_status,addr,check_desc,uweight,check_health,check_rise,\n" +
	"bank,main,0,0,UP,7,0,L7OK,127.0.0.1:8001,Layer7 check passed,7,2,2,\n" +
	"bank,weir-8101,1,2,DRAIN,7,0,* L4CON,[::1]:8101,\"a, \"\"b\"\"\",7,0,2,\n" +
	"bank,BACKEND,0,0,UP,7,0,,,,7,,,\nother,x,0,0,UP,7,0,,,,7,,,\n"

func TestParseServers(t *testing.T) {
	all, err := parseServers(strings.TrimRight(stat, "\n"), "bank")
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	want := server{name: "weir-8101", status: "DRAIN", check: "L4CON", said: `a, "b"`, rise: 2, host: "::1", port: 8101, busy: 3, weight: 7}
	if all[1] != want || !all[0].checked() || all[1].checked() || count(all) != 1 {
		t.Errorf("%+v", all)
	}
	for _, text := range []string{"", "# ", "# pxname,svname", "Unknown command", "# " + strings.Join(columns, ","), "\x00", "# \"", "# a\n\"b"} {
		if _, err := parseServers(text, "bank"); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestWeightOf(t *testing.T) {
	up := func(weight int) server { return server{status: "UP", weight: weight} }
	for _, c := range []struct {
		all  []server
		want int
	}{
		{nil, 100},
		{[]server{up(1)}, 1},
		{[]server{up(9), up(3), up(9)}, 9},
		{[]server{up(9), up(3)}, 3},
		{[]server{{status: "MAINT", weight: 5}, {status: "UP", weight: 6, backup: true}, up(0)}, 100},
	} {
		if got := weightOf(c.all); got != c.want {
			t.Errorf("%+v: %d, want %d", c.all, got, c.want)
		}
	}
}

func FuzzParseServers(f *testing.F) {
	f.Add(stat)
	f.Add("# \n\n")
	f.Add("# pxname,svname\nbank,BACKEND\n")
	f.Add(strings.ReplaceAll(stat, "8101", "99999999999999999999"))
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseServers(text, "bank")
		if err != nil && len(err.Error()) > 4096 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		for _, s := range all {
			if s.busy < 0 || s.port < 0 || s.port > 65535 || s.name == "" {
				t.Errorf("%+v", s)
			}
		}
		if n := count(all); n > len(all) || weightOf(all) < 1 {
			t.Errorf("%d of %d", n, len(all))
		}
	})
}
