// SPDX-License-Identifier: MIT OR Apache-2.0
//! The CLI's side of the socket: one command over one connection, its answer written as it comes.
//!
//! A thread reads from the daemon and the caller writes, so that a pager that stops reading holds up this process alone: what the
//! daemon still sends waits here, in the CLI's own memory, and the daemon is not kept waiting.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use indicatif::ProgressBar;

use super::protocol::{MAX_LINE, OK, Reply, Request, UNREACHABLE, USAGE};
use crate::config::load_file;

/// How a command ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Exit code.
    pub code: u8,
    /// The mode lines the next line is typed under.
    pub context: Vec<String>,
    /// For the prompt.
    pub hostname: String,
    /// For the prompt.
    pub mode: String,
    /// What the user may do.
    pub privilege: u8,
    /// What `login` or `enable` gave.
    pub ticket: String,
}

/// Sends one command and writes its answer.
pub fn ask(
    socket: &Path,
    request: &Request,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Answer> {
    ask_until(socket, request, out, err, || false)
}

/// How often it is asked whether to go on.
const PATIENCE: Duration = Duration::from_millis(100);

/// Sends one command and writes its answer, until `enough` says so.
///
/// # Errors
/// `out` or `err` cannot be written to; [`io::ErrorKind::Interrupted`] when it was enough. The daemon then ends the command.
pub fn ask_until(
    socket: &Path,
    request: &Request,
    out: &mut impl Write,
    err: &mut impl Write,
    enough: impl Fn() -> bool,
) -> io::Result<Answer> {
    let unreachable = |err: &mut dyn Write, why: io::Error| {
        writeln!(err, "error: fedgate-control does not answer on {}: {why}", socket.display())?;
        Ok(Answer { code: UNREACHABLE, ..Answer::default() })
    };
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(why) => return unreachable(err, why),
    };
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    if line.len() > MAX_LINE {
        writeln!(err, "the command is too long")?;
        return Ok(Answer { code: USAGE, ..Answer::default() });
    }
    if let Err(why) = stream.write_all(&line) {
        return unreachable(err, why);
    }
    // However this ends, the daemon is told: the thread that reads has the other end of the descriptor.
    let _hang_up = HangUp(stream.try_clone()?);
    let (sender, replies) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        loop {
            let reply = read_reply(&mut reader);
            let last = !matches!(reply, Ok(Reply::Out { .. } | Reply::Err { .. } | Reply::Progress { .. }));
            if sender.send(reply).is_err() || last {
                return;
            }
        }
    });
    // Drawn on a terminal only.
    let bar = ProgressBar::new(0);
    loop {
        let reply = match replies.recv_timeout(PATIENCE) {
            Ok(reply) => reply,
            Err(RecvTimeoutError::Timeout) if enough() => return Err(io::ErrorKind::Interrupted.into()),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        if enough() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match reply {
            Ok(Reply::Progress { progress: [done, of] }) => {
                bar.set_length(of);
                bar.set_position(done);
                if done == of {
                    bar.finish_and_clear();
                }
            }
            Ok(Reply::Out { out: text }) => {
                out.write_all(text.as_bytes())?;
                if !text.ends_with('\n') {
                    // More of the line takes its time.
                    out.flush()?;
                }
            }
            Ok(Reply::Err { err: text }) => {
                out.flush()?;
                err.write_all(text.as_bytes())?;
            }
            Ok(Reply::Done { done, context, hostname, mode, privilege, ticket }) => {
                out.flush()?;
                return Ok(Answer { code: done, context, hostname, mode, privilege, ticket });
            }
            Err(why) => {
                out.flush()?;
                writeln!(err, "error: fedgate-control went away before its answer was whole: {why}")?;
                return Ok(Answer { code: UNREACHABLE, ..Answer::default() });
            }
        }
    }
}

/// A connection that ends here.
struct HangUp(UnixStream);

impl Drop for HangUp {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

fn read_reply(reader: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = Vec::new();
    reader.take(2 * MAX_LINE as u64).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}

/// `check FILE`: reads a configuration as the daemon would, and says what it thinks of it. Needs no daemon.
pub fn check(path: &Path, styled: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let (report, code) = match load_file(path) {
        Ok(loaded) => (loaded.report, OK),
        Err(report) => (report, super::protocol::FAILED),
    };
    err.write_all(report.render(styled).as_bytes())?;
    if code == OK {
        writeln!(out, "{}: good", path.display())?;
    }
    Ok(code)
}

/// The user as the environment has it; the daemon logs it beside the uid that the kernel vouches for.
pub fn user() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_default()
}
