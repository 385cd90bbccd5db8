// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIP over a stream: framing, scanning, the domain verdict, answers; sans-IO
