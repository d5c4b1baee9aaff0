package config

import "testing"

// TestOneCommand: no value makes a second one of what is said to HAProxy or systemd.
func TestOneCommand(t *testing.T) {
	for _, row := range []struct {
		what  string
		check func(string) error
		good  []string
		bad   []string
	}{
		{"name", checkName, []string{"bank", "bank_1.2:a-b", "2001:db8::1"},
			[]string{"a b", "a;b", "a/b", "a\tb", "a\nb", "a\rb", "a\x00b", "a#", `a\`, "'a'"}},
		{"options", checkOptions, []string{"", "check inter 500ms"}, []string{"check; show info", "check\nshow info", "check\rx", `check\ x`}},
		{"unit", checkUnit, []string{"", "bank-backend@.service", `a\x2db@.service`},
			[]string{"@.service", "a@b@.service", "a@.socket", "a b@.service", "a\n@.service", "a@.service\n", "../a@.service", "*@.service"}},
	} {
		for _, text := range row.good {
			if err := row.check(text); err != nil {
				t.Errorf("%s %q: %v", row.what, text, err)
			}
		}
		for _, text := range row.bad {
			if row.check(text) == nil {
				t.Errorf("%s %q is taken", row.what, text)
			}
		}
	}
}
