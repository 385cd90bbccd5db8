// SPDX-License-Identifier: MIT OR Apache-2.0
//! The programs: the daemon that holds the configuration and the dataplane's tables, and the CLI that speaks to it.
//!
//! Daemon, one thread (tokio current-thread, `LocalSet`): [`daemon`] (state and changes), [`session`] (the dataplane), [`table`] (domains),
//! [`events`], [`acl_log`], [`messages`] and [`syslog`] (log), [`export`], [`metrics`], [`server`] (CLI sockets), [`commands`] (the grammar), [`run`],
//! [`show`], [`tracer`] and [`capture`] (what commands do).
//! CLI: [`client`] (one command), [`shell`] (interactive), [`top`]. Both: [`protocol`].

pub mod abbreviate;
pub mod access;
pub mod acl_log;
pub mod capture;
pub mod cleared;
pub mod client;
pub mod commands;
pub mod complete;
pub mod crypto;
pub mod daemon;
pub mod events;
pub mod export;
pub mod files;
pub mod help;
pub mod history;
pub mod image;
pub mod journal;
pub mod messages;
pub mod metrics;
pub mod ping;
pub mod pipe;
pub mod protocol;
pub mod run;
pub mod server;
pub mod session;
pub mod shell;
pub mod show;
pub mod style;
pub mod syslog;
pub mod table;
#[cfg(test)]
mod tests;
pub mod top;
pub mod tracer;
pub mod usage;
