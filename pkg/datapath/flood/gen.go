package flood

//go:generate go tool bpf2go -go-package flood -target bpfel flood ../../../bpf/flood.bpf.c
