// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the CLI and the daemon say to each other: one JSON object a line over a unix stream socket.
//!
//! The CLI sends [`Request`]s; each is answered by any number of `out` and `err` lines and one `done`. Lines are bounded
//! ([`MAX_LINE`]), so that neither side can make the other hold more.

use serde::{Deserialize, Serialize};

/// Longest line either way, bytes.
pub const MAX_LINE: usize = 64 << 10;
/// Text of one `out` line: escaped (`\u0000`, six for one) it still fits.
pub const MAX_CHUNK: usize = 8 << 10;
/// The daemon's socket where nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/fedgate/control.sock";

/// Done.
pub const OK: u8 = 0;
/// The command was understood and failed.
pub const FAILED: u8 = 1;
/// The command was not understood.
pub const USAGE: u8 = 2;
/// Said by the CLI itself: no daemon answers.
pub const UNREACHABLE: u8 = 3;

/// One command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// As typed.
    pub line: String,
    /// Who says they typed it; for the log, beside the uid that the kernel vouches for.
    #[serde(default)]
    pub user: String,
    /// `show` commands answer one JSON object a line.
    #[serde(default)]
    pub json: bool,
    /// The mode lines (`object network x`) that the line is typed under, outermost first.
    #[serde(default)]
    pub context: Vec<String>,
    /// What `login` or `enable` gave.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ticket: String,
    /// The privilege that is asked for, where it is less than could be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privilege: Option<u8>,
    /// What was pasted behind the line, for the commands that take a certificate so; a password.
    #[serde(default)]
    pub input: String,
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reply {
    /// Text for standard output, in pieces that need not end at a line's end.
    Out {
        /// The text.
        out: String,
    },
    /// Text for standard error.
    Err {
        /// The text.
        err: String,
    },
    /// How far a long command is.
    Progress {
        /// What is done, and of how much.
        progress: [u64; 2],
    },
    /// The end.
    Done {
        /// [`OK`], [`FAILED`] or [`USAGE`].
        done: u8,
        /// The mode lines that the next configuration line is typed under.
        #[serde(default)]
        context: Vec<String>,
        /// The appliance's hostname, for the prompt.
        #[serde(default)]
        hostname: String,
        /// The mode's part of the prompt, `config-if`.
        #[serde(default)]
        mode: String,
        /// What the user may do, 0 to 15.
        #[serde(default)]
        privilege: u8,
        /// From `login` and `enable`, to be shown with what follows.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        ticket: String,
    },
}

impl Reply {
    /// An end without more to say.
    pub fn ended(done: u8) -> Self {
        Self::Done {
            done,
            context: vec![],
            hostname: String::new(),
            mode: String::new(),
            privilege: 0,
            ticket: String::new(),
        }
    }
}
