// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS proxy sessions: a TCP endpoint and rustls on both sides; sans-IO
