// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket: a task a client, each with bounds of its own, so that one that hangs, floods or babbles costs the others nothing.
//!
//! The socket is made with mode 0600, or 0660 for a group (`--group`); who calls is [`super::access`]'s matter. At most [`MAX_CLIENTS`] at a time; a request line of at most
//! [`MAX_LINE`] bytes has to arrive within [`READ`], and every piece of an answer has to be taken within [`WRITE`].

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Mode as FileMode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::daemon::Daemon;
use super::history::By;
use super::pipe::Pipes;
use super::protocol::{FAILED, MAX_CHUNK, MAX_LINE, Reply, Request, USAGE};
use super::run;

/// Most clients at a time.
pub const MAX_CLIENTS: usize = 32;
/// How long a request may take to arrive, or a client may stay silent.
pub const READ: Duration = Duration::from_secs(30);
/// How long a client may leave a piece of an answer untaken.
pub const WRITE: Duration = Duration::from_secs(5);

/// Listens on `path`, for the owner and those of `group`. A socket file that nobody listens on is replaced.
pub fn bind(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another control listens there"));
        }
        std::fs::remove_file(path)?;
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Before bind: the socket's mode is then the file's from its first moment (unix(7)).
    rustix::fs::fchmod(&socket, FileMode::RUSR | FileMode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    if let Some(group) = group {
        rustix::fs::chown(path, None, Some(rustix::fs::Gid::from_raw(group)))?;
        rustix::fs::chmod(path, FileMode::RUSR | FileMode::WUSR | FileMode::RGRP | FileMode::WGRP)?;
    }
    rustix::net::listen(&socket, 128)?;
    UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))
}

/// Serves for ever.
pub async fn serve(daemon: Rc<Daemon>, listener: UnixListener) {
    let seats = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (daemon, seat) = (daemon.clone(), seats.clone().try_acquire_owned());
                tokio::task::spawn_local(async move {
                    let served = match seat {
                        Ok(_seat) => client(daemon, stream).await,
                        Err(_) => turn_away(stream).await,
                    };
                    if let Err(why) = served {
                        tracing::debug!("client: {why}");
                    }
                });
            }
            Err(why) => {
                // Out of descriptors, most likely: others will end and free some.
                tracing::error!("cannot accept on the control socket: {why}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn turn_away(stream: UnixStream) -> io::Result<()> {
    let (_, writer) = stream.into_split();
    let mut out = Out::new(writer, false);
    out.error(&format!("{MAX_CLIENTS} clients are connected already")).await?;
    out.reply(&Reply::ended(FAILED)).await
}

async fn client(daemon: Rc<Daemon>, stream: UnixStream) -> io::Result<()> {
    let uid = stream.peer_cred()?.uid();
    let (reader, writer) = stream.into_split();
    let mut lines = Lines { reader, buffer: Vec::new() };
    let mut out = Out::new(writer, false);
    while let Some(line) = timeout(READ, lines.next()).await?? {
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => {
                out.json = request.json;
                run::run(&daemon, &request, uid, &mut out).await?;
            }
            Err(why) => {
                out.error(&format!("not a request: {why}")).await?;
                out.reply(&Reply::ended(USAGE)).await?;
            }
        }
    }
    Ok(())
}

/// Lines of a bounded length.
struct Lines {
    reader: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Lines {
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[searched..].iter().position(|b| *b == b'\n') {
                let mut line: Vec<u8> = self.buffer.drain(..=searched + at).collect();
                line.pop();
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if searched > MAX_LINE {
                return Err(io::Error::other(format!("a request of more than {MAX_LINE} bytes")));
            }
            let mut piece = [0; 4096];
            match self.reader.read(&mut piece).await? {
                0 => return Ok(None),
                n => self.buffer.extend_from_slice(&piece[..n]),
            }
        }
    }
}

/// Where a command writes its answer.
pub struct Out {
    writer: OwnedWriteHalf,
    buffer: String,
    /// Whether rows are wanted as JSON.
    pub json: bool,
    /// Whose command it is.
    pub by: By,
    /// It is one that changes something.
    pub audited: bool,
    /// What they may do.
    pub privilege: u8,
    /// What `login` or `enable` gave.
    pub ticket: String,
    /// What its output goes through.
    pub pipes: Pipes,
    /// A line that has not ended yet, where there are pipes.
    partial: String,
}

impl Out {
    fn new(writer: OwnedWriteHalf, json: bool) -> Self {
        Self {
            writer,
            buffer: String::new(),
            json,
            by: By::default(),
            audited: false,
            privilege: 0,
            ticket: String::new(),
            pipes: Pipes::default(),
            partial: String::new(),
        }
    }

    /// Text for standard output.
    pub async fn text(&mut self, text: &str) -> io::Result<()> {
        if self.pipes.filters.is_empty() {
            self.buffer.push_str(text);
        } else {
            let mut rest = text;
            while let Some((line, after)) = rest.split_once('\n') {
                self.partial.push_str(line);
                rest = after;
                if self.pipes.passes(&self.partial) {
                    self.buffer.push_str(&self.partial);
                    self.buffer.push('\n');
                }
                self.partial.clear();
            }
            self.partial.push_str(rest);
        }
        if self.buffer.len() >= MAX_CHUNK { self.flush().await } else { Ok(()) }
    }

    /// The end of a command's output: what its pipes still hold.
    pub async fn finish(&mut self) -> io::Result<()> {
        if !self.partial.is_empty() {
            self.text("\n").await?;
        }
        let counted = std::mem::take(&mut self.pipes).counted();
        if let Some(lines) = counted {
            self.row(|| lines.to_string(), || serde_json::json!({ "count": lines })).await?;
        }
        Ok(())
    }

    /// One row: a JSON object a line where JSON is wanted, else `text`.
    pub async fn row(
        &mut self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> serde_json::Value,
    ) -> io::Result<()> {
        let line = if self.json { json().to_string() } else { text() };
        self.text(&line).await?;
        self.text("\n").await
    }

    /// Text that belongs to no row: only where JSON is not wanted.
    pub async fn note(&mut self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { self.text(text).await }
    }

    /// A line for standard error.
    pub async fn error(&mut self, text: &str) -> io::Result<()> {
        self.flush().await?;
        for piece in pieces(&format!("{}\n", text.trim_end())) {
            self.reply(&Reply::Err { err: piece.to_owned() }).await?;
        }
        Ok(())
    }

    /// Notes a command that changes something, before it does.
    pub fn audit(&mut self, kind: &str) {
        self.audited = true;
        let By { uid, user, command } = &self.by;
        tracing::info!(uid, user, command, "{kind}");
    }

    /// How far a long command is.
    pub async fn progress(&mut self, done: u64, of: u64) -> io::Result<()> {
        self.flush().await?;
        self.reply(&Reply::Progress { progress: [done, of] }).await
    }

    /// Sends what is held back.
    pub async fn flush(&mut self) -> io::Result<()> {
        let text = std::mem::take(&mut self.buffer);
        for piece in pieces(&text) {
            self.reply(&Reply::Out { out: piece.to_owned() }).await?;
        }
        Ok(())
    }

    /// One line of the protocol.
    pub async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        timeout(WRITE, self.writer.write_all(&line)).await?
    }
}

/// `text` in pieces of at most [`MAX_CHUNK`] bytes, cut between characters.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(MAX_CHUNK));
        rest = after;
        Some(piece)
    })
}
