// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections, PAT and the firewall
