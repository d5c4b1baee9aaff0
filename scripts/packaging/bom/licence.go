package main

import (
	"slices"
	"strings"
)

// weak name the GPL as another licence under which a work may be passed on.
var weak = []string{"MPL-2.0", "EPL-2.0"}

// licences are told by what only their texts say, white space aside. That of one with a name in another's text comes first.
var licences = []struct {
	id     string
	says   string
	unless []string // found already: their texts say that too
}{
	{id: "MPL-2.0", says: "mozilla public license version 2.0"},
	{id: "MPL-2.0", says: "mozilla public license, version 2.0"},
	{id: "EPL-2.0", says: "eclipse public license - v 2.0"},
	{id: "GPL", says: "gnu general public license", unless: weak},
	{id: "LGPL", says: "gnu lesser general public license", unless: weak},
	{id: "AGPL", says: "gnu affero general public license", unless: weak},
	{id: "SSPL", says: "server side public license"},
	{id: "BUSL", says: "business source license"},
	{id: "Apache-2.0", says: "apache license version 2.0, january 2004"},
	{id: "Apache-2.0", says: "apache license, version 2.0"},
	{id: "MIT", says: "permission is hereby granted, free of charge, to any person obtaining a copy"},
	{id: "ISC", says: "permission to use, copy, modify, and distribute this software for any purpose with or without fee is hereby granted"},
	{id: "ISC", says: "permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted"},
	{id: "BSD-3-Clause", says: "endorse or promote products derived from"},
	{id: "BSD-2-Clause", says: "redistribution and use in source and binary forms", unless: []string{"BSD-3-Clause"}},
	{id: "Unlicense", says: "this is free and unencumbered software released into the public domain"},
	{id: "CC0-1.0", says: "creative commons cc0 1.0"},
}

// classify finds a text's licences, by their SPDX identifiers.
func classify(text string) []string {
	text = strings.Join(strings.Fields(strings.ToLower(text)), " ")
	var found []string
	for _, l := range licences {
		if strings.Contains(text, l.says) && !slices.Contains(found, l.id) && !slices.ContainsFunc(l.unless, func(id string) bool { return slices.Contains(found, id) }) {
			found = append(found, l.id)
		}
	}
	slices.Sort(found)
	return found
}
