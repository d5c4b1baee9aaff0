package datapath

//go:generate go tool bpf2go -go-package datapath -target bpfel -type weir_budgets -type weir_budget -type weir_rate -type weir_control -type weir_fallback -type weir_cpu -type weir_info -type weir_list_control -type weir_list_entry -type weir_list_key -type weir_set -type weir_spoofing bpf ../../bpf/weir.bpf.c

// The same for tc. Only its programs are of use: maps and types are those above.
//go:generate go tool bpf2go -go-package datapath -target bpfel -no-global-types tc ../../bpf/weir.bpf.c -- -DWEIR_TC
