// SPDX-License-Identifier: MIT OR Apache-2.0
//! Safe wrapper over dpdk-sys: Eal, Mempool, Mbuf, Port, queues
