// Package bpftest holds programs that run parts of the datapath with an injected clock. Only tests import it.
package bpftest

//go:generate go tool bpf2go -go-package bpftest -target bpfel -type charge_args -type hash_args -type weir_set -type cookie_args bpf ../../../../bpf/sources_test.bpf.c
