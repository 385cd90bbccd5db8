// SPDX-License-Identifier: MIT OR Apache-2.0
//! Header views, checksums and newtypes with byte order
