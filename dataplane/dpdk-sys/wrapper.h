/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What bindgen reads: the DPDK headers in use, and the prototypes of shim.c.
 * shim.c includes this file too, so the C compiler holds both to the same types.
 */
#ifndef FEDGATE_DPDK_WRAPPER_H
#define FEDGATE_DPDK_WRAPPER_H

#include <rte_config.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

/* The errno of DPDK, a variable of the calling thread. */
int shim_errno(void);

/* Sends DPDK's log to stderr and nowhere else (its default is stderr and syslog). */
int shim_log_to_stderr(void);

/* The CPU's time stamp counter. */
uint64_t shim_rdtsc(void);

/* A reset mbuf with refcnt 1 and one segment, or NULL when the pool is empty. */
struct rte_mbuf *shim_pktmbuf_alloc(struct rte_mempool *pool);

/* Gives a whole segment chain back to the pools it came from. */
void shim_pktmbuf_free(struct rte_mbuf *mbuf);

/* What a receive hash can be made of, as bits of rss_hf: addresses alone (of datagrams that have no ports, or are
 * fragments), and addresses with the ports of TCP and of UDP, IPv4 and IPv6 together. */
uint64_t shim_rss_addresses(void);
uint64_t shim_rss_tcp(void);
uint64_t shim_rss_udp(void);

/* Up to n frames into mbufs[]; the caller owns as many as are returned. */
uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);

/* Up to n frames out of mbufs[]; the driver owns as many as are returned. */
uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n);

#endif
