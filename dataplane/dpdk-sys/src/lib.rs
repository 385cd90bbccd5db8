// SPDX-License-Identifier: MIT OR Apache-2.0
//! Raw bindings to the system's libdpdk
