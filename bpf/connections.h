/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How many connections each source has open on this host's listeners. Only sources that completed a handshake are in the map. */
#ifndef WEIR_CONNECTIONS_H
#define WEIR_CONNECTIONS_H

#include <stdbool.h>

#include "peers.h"
#include "uncounted.h"

/* As many sources as a host has connections, rarely; those beyond aren't held to the cap. */
#define CONNECTION_SOURCES 65536

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CONNECTION_SOURCES);
	__type(key, __u64); /* the source's, as in struct weir_source */
	__type(value, __u64);
} connections SEC(".maps");

/* The sources that a socket was counted for, or 0: what is counted once is uncounted once, also by a program that comes later. */
struct counted {
	__u64 connection;
	__u64 peer;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct counted);
} counted SEC(".maps");

static __always_inline void count_peer(void *sk, __u64 key)
{
	struct counted *mark = bpf_sk_storage_get(&counted, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u32 *n = peer_counter(key);

	if (!mark || !n) {
		set_peers_known(WEIR_PEERS_MISSED);
		return;
	}
	if (mark->peer)
		return;
	__sync_fetch_and_add(n, 1);
	mark->peer = key;
}

static __always_inline void uncount_peer(void *sk)
{
	struct counted *mark = bpf_sk_storage_get(&counted, sk, 0, 0);
	__u64 key;
	__u32 *n;

	if (!mark || !mark->peer)
		return;
	key = mark->peer;
	n = peer_counter(key);
	mark->peer = 0;
	note_uncounted(key, bpf_ktime_get_ns() >> WEIR_TICK_SHIFT & WEIR_TICK_MASK); /* it may wait in TIME_WAIT */
	if (n)
		__sync_fetch_and_add(n, -1);
}

static __always_inline void count_connection(void *sk, __u64 key)
{
	struct counted *mark = bpf_sk_storage_get(&counted, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u64 *n, none = 0;

	if (!mark || mark->connection)
		return;
	n = bpf_map_lookup_elem(&connections, &key);
	if (!n) {
		bpf_map_update_elem(&connections, &key, &none, BPF_NOEXIST);
		n = bpf_map_lookup_elem(&connections, &key);
	}
	if (!n)
		return;
	mark->connection = key;
	__sync_fetch_and_add(n, 1);
}

/* Returns the source that a socket was counted for, or 0. A connection that is counted while its source's entry is being removed
 * is forgotten: the cap errs on the source's side.
 */
static __always_inline __u64 uncount_connection(void *sk)
{
	struct counted *mark = bpf_sk_storage_get(&counted, sk, 0, 0);
	__u64 *n, key;

	if (!mark || !mark->connection)
		return 0;
	key = mark->connection;
	mark->connection = 0;
	n = bpf_map_lookup_elem(&connections, &key);
	if (n && (__s64)__sync_fetch_and_add(n, -1) <= 1)
		bpf_map_delete_elem(&connections, &key);
	return key;
}

/* Tells whether a source has as many connections as it may have. */
static __always_inline bool at_cap(const struct weir_cpu *cpu, __u64 key)
{
	const struct weir_budgets *all;
	__u32 zero = 0;
	__s64 *n;

	if (!(cpu->budgeted & WEIR_CAPPED))
		return false;
	all = bpf_map_lookup_elem(&budgets, &zero);
	n = bpf_map_lookup_elem(&connections, &key);
	return all && n && *n >= all->connections;
}

#endif
