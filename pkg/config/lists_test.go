package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListsAreReadFromBothPlaces(t *testing.T) {
	file := filepath.Join(t.TempDir(), "block")
	if err := os.WriteFile(file, []byte("# bad\n192.0.2.0/24\n2001:db8::1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l := Lists{Block: "10.0.0.1, 10.1.0.0/16", BlockFile: file, Allow: "198.51.100.0/24"}
	block, allow, err := l.Read()
	if err != nil || len(block) != 4 || block[2].String() != "192.0.2.0/24" || len(allow) != 1 {
		t.Errorf("block %v, allow %v, %v", block, allow, err)
	}
	if err := os.WriteFile(file, []byte("192.0.2.0/24\n192.0.2.1/24\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, l := range map[string]Lists{
		"lists.block: " + file + `:2: "192.0.2.1/24": has bits`: {BlockFile: file},
		"lists.allow: " + file + ":2: ":                         {AllowFile: file},
		"lists.allow: /nowhere is not there":                    {AllowFile: "/nowhere"},
		`lists.block: "x": give`:                                {Block: "x"},
		"lists.allow: " + filepath.Dir(file) + " is a folder":   {AllowFile: filepath.Dir(file)},
	} {
		if _, _, err := l.Read(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", l, err, want)
		}
	}
}
