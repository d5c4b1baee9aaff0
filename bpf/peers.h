/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* With whom this host has TCP sockets, its own connections to others included: one counter for all sources whose keys hash alike.
 * Where it is zero there is surely none, and a look at one cache line spares a flood the look-up of a socket. It is relied on
 * only once every socket was counted, and not any more when one couldn't be.
 */
#ifndef WEIR_PEERS_H
#define WEIR_PEERS_H

#include <stdbool.h>

#include "budgets.h"

#define PEERS 65536 /* counters */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PEERS);
	__type(key, __u32);
	__type(value, __u32);
} peers SEC(".maps");

static __always_inline __u32 *peer_counter(__u64 key)
{
	__u32 index = source_hash(key, seed0, seed1) >> 16;

	return bpf_map_lookup_elem(&peers, &index);
}

static __always_inline void set_peers_known(enum weir_peers known)
{
	struct weir_spoofing *state;
	__u32 zero = 0;

	state = bpf_map_lookup_elem(&spoofing, &zero);
	if (state)
		state->peers = known;
}

/* All sockets were looked at, if there were any; one that couldn't be counted meanwhile is remembered. */
static __always_inline void end_counting_peers(void)
{
	struct weir_spoofing *state;
	__u32 zero = 0;

	state = bpf_map_lookup_elem(&spoofing, &zero);
	if (!state)
		return;
	__sync_val_compare_and_swap(&state->peers, WEIR_PEERS_COUNTING, WEIR_PEERS_KNOWN);
	__sync_val_compare_and_swap(&state->peers, WEIR_PEERS_UNKNOWN, WEIR_PEERS_KNOWN);
}

/* Tells whether there may be a socket with a source. */
static __always_inline bool may_be_peer(const struct weir_cpu *cpu, __u64 key)
{
	const __u32 *n;

	if (!cpu->peers_known)
		return true;
	n = peer_counter(key);
	return !n || *n;
}

#endif
