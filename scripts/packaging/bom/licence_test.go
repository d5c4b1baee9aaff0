package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	for text, want := range map[string][]string{
		"The MIT License\n\nPermission is hereby granted, free of\n charge, to any person obtaining a copy of": {"MIT"},
		"Redistribution and use in source and binary forms, with or without":                                   {"BSD-2-Clause"},
		"Redistribution and use in source and binary forms … to endorse or promote products derived from":      {"BSD-3-Clause"},
		"GNU GENERAL PUBLIC LICENSE\n Version 3":                                                               {"GPL"},
		"Mozilla Public License Version 2.0 … Secondary License: the GNU General Public License":               {"MPL-2.0"},
		"All rights reserved.": nil,
	} {
		if got := classify(text); !reflect.DeepEqual(got, want) {
			t.Errorf("%.40q: %v, want %v", text, got, want)
		}
	}
	own, err := os.ReadFile("../../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	if got := classify(string(own)); !reflect.DeepEqual(got, []string{"Apache-2.0"}) {
		t.Errorf("weir's own: %v", got)
	}
}

func TestJudge(t *testing.T) {
	for want, m := range map[string]module{
		"":                                 {name: "a", licences: []string{"MIT", "Apache-2.0"}},
		"the licence GPL is not":           {name: "b", licences: []string{"GPL", "MIT"}},
		"no licence is recognised in /dir": {name: "c", dir: "/dir"},
	} {
		err := m.judge()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", m.name, err, want)
		}
	}
}
