package prefixlist

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.7":         "192.0.2.7/32",
		"192.0.2.0/24":      "192.0.2.0/24",
		"0.0.0.0/0":         "0.0.0.0/0",
		"2001:db8::1":       "2001:db8::1/128",
		"2001:DB8::/32":     "2001:db8::/32",
		"::/0":              "::/0",
		"2001:db8:0:0::/64": "2001:db8::/64",
	} {
		if got, err := Parse(text); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", " ", "x", "192.0.2", "192.0.2.256", "192.0.2.07", "192.0.2.0/33", "192.0.2.0/", "/24", "192.0.2.0/024", "192.0.2.0/-1",
		"192.0.2.1/24", "2001:db8::1/64", "2001:db8::/129", "fe80::1%eth0", "fe80::/64%eth0", "::ffff:192.0.2.1", "::ffff:192.0.2.0/120",
		"192.0.2.0 /24", "192.0.2.0/24/8", "192.0.2.0/0x18", "١٩٢.0.2.1", "192.0.2.1\x00",
	} {
		if p, err := Parse(text); err == nil {
			t.Errorf("%q: taken as %v", text, p)
		}
	}
}

func TestParseInline(t *testing.T) {
	got, err := ParseInline(" 192.0.2.0/24, 2001:db8::/32 ,10.0.0.1  10.0.0.2,")
	want := []string{"192.0.2.0/24", "2001:db8::/32", "10.0.0.1/32", "10.0.0.2/32"}
	if err != nil || !slices.Equal(texts(got), want) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := ParseInline(""); err != nil || got != nil {
		t.Errorf("nothing: %v, %v", got, err)
	}
	if _, err := ParseInline("10.0.0.1, 10.0.0.0/33"); err == nil || !strings.Contains(err.Error(), `"10.0.0.0/33"`) {
		t.Errorf("error %v", err)
	}
}

func texts(list []netip.Prefix) (out []string) {
	for _, p := range list {
		out = append(out, p.String())
	}
	return out
}

func TestRead(t *testing.T) {
	got, err := Read(strings.NewReader("\ufeff# of the week\n192.0.2.0/24 # a comment\r\n\n\t2001:db8::1\n#\n10.0.0.1"), "f")
	if err != nil || !slices.Equal(texts(got), []string{"192.0.2.0/24", "2001:db8::1/128", "10.0.0.1/32"}) {
		t.Errorf("%v, %v", got, err)
	}
	for text, want := range map[string]string{
		"10.0.0.1\n10.0.0.1/24\n":                  `list:2: "10.0.0.1/24": has bits beyond its length: write 10.0.0.0/24 or 10.0.0.1/32`,
		"\n\nhello world\n":                        `list:3: "hello world": give an address`,
		"10.0.0.1, 10.0.0.2":                       `list:1: "10.0.0.1, 10.0.0.2": give`,
		"10.0.0.1\n" + strings.Repeat("x", 1<<16):  "list:2: longer than 4096 bytes",
		strings.Repeat("\x00", 100):                `list:1: "\x00`,
		"10.0.0.1\n\ufeff10.0.0.2":                 "list:2:",
		strings.Repeat("10.0.0.1\n", MaxEntries+1): fmt.Sprintf("list:%d: more than", MaxEntries+1),
	} {
		_, err := Read(strings.NewReader(text), "list")
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	if _, err := Read(iotest{}, "list"); err == nil || err.Error() != "list: broken" {
		t.Errorf("error %v", err)
	}
}

type iotest struct{}

func (iotest) Read([]byte) (int, error) { return 0, fmt.Errorf("broken") }

var _ io.Reader = iotest{}

// Whatever a file holds: each prefix is what its line says, errors are one printable line that names theirs.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"192.0.2.0/24\n2001:db8::/32 # x\n", "# only\n\n", "10.0.0.1/24", "\ufeff10.0.0.1\r\n", "a,b", "\xff\xfe", "::ffff:1.2.3.4", "1.2.3.4%x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Read(strings.NewReader(text), "list")
		if err != nil {
			if list != nil || !strings.HasPrefix(err.Error(), "list:") || strings.ContainsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%v, %q", list, err)
			}
			return
		}
		var written strings.Builder
		for _, p := range list {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
				t.Errorf("%v", p)
			}
			fmt.Fprintln(&written, p)
		}
		again, err := Read(strings.NewReader(written.String()), "again")
		if err != nil || !slices.Equal(again, list) {
			t.Errorf("reads back as %v, %v", again, err)
		}
	})
}
