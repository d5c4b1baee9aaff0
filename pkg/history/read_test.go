package history

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func TestStepsLeaveTheHighest(t *testing.T) {
	s, _ := openStore(t, filepath.Join(t.TempDir(), "h.db"), Limits{})
	minute := time.Now().Add(-time.Hour).Truncate(time.Minute)
	add := func(kind string, second int, height *float64) {
		s.Add(Record{
			At: minute.Add(time.Duration(second) * time.Second), Root: "bank/web1", Kind: kind, Topic: "x", Payload: fmt.Append(nil, kind, second), Height: height,
		})
	}
	high := func(x float64) *float64 { return &x }
	add("cpu", 1, high(5))
	add("cpu", 2, high(50))
	add("cpu", 3, high(7))
	add("cpu", 4, nil) // was refused
	add("ram", 5, high(1))
	add("cpu", 61, high(2))
	add("cpu", 62, high(1))
	add("cpu", 130, nil)
	must(t, s.Close())
	s, _ = openStore(t, filepath.Join(filepath.Dir(s.lock.Name()), "h.db"), Limits{})
	defer func() { must(t, s.Close()) }()
	for _, row := range []struct {
		q    Query
		want string
	}{
		{Query{Kinds: []string{"cpu"}, Step: time.Minute}, "cpu2 cpu61 cpu130 "},
		{Query{Kinds: []string{"cpu", "ram"}, Step: time.Minute}, "cpu2 ram5 cpu61 cpu130 "},
		{Query{Kinds: []string{"cpu"}, Step: time.Minute, Limit: 2}, "cpu61 cpu130 "},
		{Query{Kinds: []string{"cpu"}, Step: time.Minute, Since: minute.Add(3 * time.Second), Until: minute.Add(2 * time.Minute)}, "cpu3 cpu61 "},
		{Query{Kinds: []string{"cpu"}, Limit: 3}, "cpu61 cpu62 cpu130 "},
	} {
		got := ""
		for _, r := range read(t, s, row.q) {
			got += string(r.Payload) + " "
		}
		if got != row.want {
			t.Errorf("%+v: %s, want %s", row.q, got, row.want)
		}
	}
}
