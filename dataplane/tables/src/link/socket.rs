// SPDX-License-Identifier: MIT OR Apache-2.0
//! The link's socket: SOCK_SEQPACKET over rustix, message in, message out, descriptors beside them.
//!
//! Always non-blocking underneath. `try_send` and `try_recv` return [`LinkError::WouldBlock`] and suit an event loop
//! (`AsFd` and `AsRawFd`, as tokio's `AsyncFd` asks); `send` and `recv` wait in poll(2) up to a timeout and suit a thread.
//! A datagram is whole or it is an error: too long, cut, not the JSON of a message, or with another number of
//! descriptors than the message says. What arrived beside a bad one is closed. The socket stays usable after
//! every error but [`LinkError::Closed`] and [`LinkError::Os`]; the caller decides whether to go on with such a peer.
//!
//! The listening path is made with mode 0600: who can connect rules the appliance.

use super::messages::Message;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Largest message, bytes: 128 KiB, below the kernel's default send buffer.
pub const MAX_DATAGRAM: usize = 128 << 10;
/// Most descriptors beside a message.
pub const MAX_FDS: usize = 3;

/// Why a message did not go or come.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The peer is gone.
    #[error("link closed by peer")]
    Closed,
    /// Nothing there, or no room, just now.
    #[error("link would block")]
    WouldBlock,
    /// Nothing there, or no room, until the timeout.
    #[error("link timed out")]
    TimedOut,
    /// A message of more than [`MAX_DATAGRAM`] bytes.
    #[error("link message is larger than {MAX_DATAGRAM} bytes")]
    TooLarge,
    /// Not a message.
    #[error("malformed link message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Not the descriptors that belong to the message.
    #[error("link message with {have} descriptors instead of {want}")]
    Descriptors {
        /// Descriptors there were; above [`MAX_FDS`], as many as the kernel kept.
        have: usize,
        /// Descriptors that belong to it.
        want: usize,
    },
    /// Another process listens on the path, or it is no socket.
    #[error("{0}: another process listens there, or it is not a socket")]
    InUse(PathBuf),
    /// A system call failed.
    #[error("{call}: {errno}")]
    Os {
        /// The call.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}

fn os(call: &'static str) -> impl Fn(Errno) -> LinkError {
    move |errno| match errno {
        Errno::AGAIN => LinkError::WouldBlock,
        Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN => LinkError::Closed,
        Errno::MSGSIZE => LinkError::TooLarge,
        errno => LinkError::Os { call, errno },
    }
}

fn socket() -> Result<OwnedFd, LinkError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(os("socket"))
}

/// Repeats `attempt` until it does something else than block, or the timeout (none: for ever) passes.
fn wait<T>(
    fd: BorrowedFd<'_>,
    events: PollFlags,
    timeout: Option<Duration>,
    mut attempt: impl FnMut() -> Result<T, LinkError>,
) -> Result<T, LinkError> {
    // A timeout too long for the clock is none.
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        match attempt() {
            Err(LinkError::WouldBlock) => {}
            outcome => return outcome,
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(LinkError::TimedOut);
        }
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        match rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, events)], left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(os("poll")(errno)),
        }
    }
}

/// The dataplane's listening end.
#[derive(Debug)]
pub struct LinkListener {
    fd: OwnedFd,
}

impl LinkListener {
    /// Listens on a path. A socket file that nobody listens on is replaced.
    ///
    /// # Errors
    /// [`LinkError::InUse`] where a process listens or another kind of file stands there, or the kernel's refusal.
    pub fn bind(path: &Path) -> Result<Self, LinkError> {
        let address = SocketAddrUnix::new(path).map_err(os("bind"))?;
        let fd = socket()?;
        // Before bind, the mode of the socket is that of the file to come (unix(7) leaves it to the umask else).
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR).map_err(os("fchmod"))?;
        match rustix::net::bind(&fd, &address) {
            Err(Errno::ADDRINUSE) => {
                if !is_stale(path, &address)? {
                    return Err(LinkError::InUse(path.to_owned()));
                }
                rustix::fs::unlink(path).map_err(os("unlink"))?;
                rustix::net::bind(&fd, &address).map_err(os("bind"))?;
            }
            outcome => outcome.map_err(os("bind"))?,
        }
        rustix::net::listen(&fd, 4).map_err(os("listen"))?;
        Ok(Self { fd })
    }

    /// A connection that waits to be taken.
    ///
    /// # Errors
    /// [`LinkError::WouldBlock`], or the kernel's refusal.
    pub fn try_accept(&self) -> Result<LinkSocket, LinkError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accepted = rustix::io::retry_on_intr(|| rustix::net::accept_with(&self.fd, flags));
        Ok(LinkSocket { fd: accepted.map_err(os("accept"))? })
    }

    /// The next connection.
    ///
    /// # Errors
    /// [`LinkError::TimedOut`], or the kernel's refusal.
    pub fn accept(&self, timeout: Option<Duration>) -> Result<LinkSocket, LinkError> {
        wait(self.fd.as_fd(), PollFlags::IN, timeout, || self.try_accept())
    }
}

/// Whether a path is a socket file that its process left behind.
fn is_stale(path: &Path, address: &SocketAddrUnix) -> Result<bool, LinkError> {
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::lstat(path).map_err(os("lstat"))?.st_mode);
    if kind != rustix::fs::FileType::Socket {
        return Ok(false);
    }
    // A datagram socket cannot connect to a live one of our type (EPROTOTYPE), so asking does not disturb a listener,
    // to which a connection would look like a new control.
    let probe = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(os("socket"))?;
    Ok(rustix::net::connect(&probe, address) == Err(Errno::CONNREFUSED))
}

/// A connection.
#[derive(Debug)]
pub struct LinkSocket {
    fd: OwnedFd,
}

impl LinkSocket {
    /// Connects to a listening path.
    ///
    /// # Errors
    /// [`LinkError::WouldBlock`] where the listener's queue is full, or the kernel's refusal.
    pub fn connect(path: &Path) -> Result<Self, LinkError> {
        let address = SocketAddrUnix::new(path).map_err(os("connect"))?;
        let fd = socket()?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&fd, &address)).map_err(os("connect"))?;
        Ok(Self { fd })
    }

    /// Two connected ends, for tests and for helpers that are forked.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn pair() -> Result<(Self, Self), LinkError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (a, b) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .map_err(os("socketpair"))?;
        Ok((Self { fd: a }, Self { fd: b }))
    }

    /// Sends a message with its descriptors, if there is room now.
    ///
    /// # Errors
    /// [`LinkError::WouldBlock`]; a message too large or with descriptors that do not belong to it; a peer that is gone.
    pub fn try_send<M: Message>(&self, message: &M, fds: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        self.put(&encode(message, fds)?, fds)
    }

    /// Sends a message with its descriptors, waiting for room up to `timeout` (none: for ever).
    ///
    /// # Errors
    /// As for [`Self::try_send`], with [`LinkError::TimedOut`] for `WouldBlock`.
    pub fn send<M: Message>(
        &self,
        message: &M,
        fds: &[BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<(), LinkError> {
        let bytes = encode(message, fds)?;
        wait(self.fd.as_fd(), PollFlags::OUT, timeout, || self.put(&bytes, fds))
    }

    fn put(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            // Room was made for MAX_FDS, and `encode` allows no more.
            let pushed = control.push(SendAncillaryMessage::ScmRights(fds));
            debug_assert!(pushed);
        }
        let data = [IoSlice::new(bytes)];
        let flags = SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| rustix::net::sendmsg(&self.fd, &data, &mut control, flags))
            .map_err(os("sendmsg"))?;
        Ok(())
    }

    /// Takes a message with its descriptors (close-on-exec), if one is there.
    ///
    /// # Errors
    /// [`LinkError::WouldBlock`], [`LinkError::Closed`], or what was wrong with the datagram, which is then gone.
    pub fn try_recv<M: Message>(&self) -> Result<(M, Vec<OwnedFd>), LinkError> {
        // One more than allowed, so that a datagram of exactly the limit is told from one that was cut.
        let mut bytes = vec![0; MAX_DATAGRAM + 1];
        // Room for one descriptor too many, so that a surplus is seen. The kernel drops what finds no room.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS + 1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = rustix::io::retry_on_intr(|| {
            let mut data = [IoSliceMut::new(&mut bytes)];
            rustix::net::recvmsg(&self.fd, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)
        })
        .map_err(os("recvmsg"))?;
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        let (len, flags) = (got.bytes, got.flags);
        if len == 0 && fds.is_empty() {
            // The end, or an empty datagram, which no message is: either way there is no more to be had.
            return Err(LinkError::Closed);
        }
        if len > MAX_DATAGRAM || flags.contains(ReturnFlags::TRUNC) {
            return Err(LinkError::TooLarge);
        }
        let message: M = serde_json::from_slice(&bytes[..len])?;
        let cut = flags.contains(ReturnFlags::CTRUNC);
        let have = if cut { fds.len().max(MAX_FDS + 1) } else { fds.len() };
        let want = message.fds();
        if have != want {
            return Err(LinkError::Descriptors { have, want });
        }
        Ok((message, fds))
    }

    /// Takes the next message with its descriptors, waiting up to `timeout` (none: for ever).
    ///
    /// # Errors
    /// As for [`Self::try_recv`], with [`LinkError::TimedOut`] for `WouldBlock`.
    pub fn recv<M: Message>(&self, timeout: Option<Duration>) -> Result<(M, Vec<OwnedFd>), LinkError> {
        wait(self.fd.as_fd(), PollFlags::IN, timeout, || self.try_recv())
    }
}

/// The datagram of a message, whose descriptors are the right number.
fn encode<M: Message>(message: &M, fds: &[BorrowedFd<'_>]) -> Result<Vec<u8>, LinkError> {
    let want = message.fds();
    if fds.len() != want {
        return Err(LinkError::Descriptors { have: fds.len(), want });
    }
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_DATAGRAM { Err(LinkError::TooLarge) } else { Ok(bytes) }
}

macro_rules! as_fd {
    ($($Type:ty)+) => { $(
        impl AsFd for $Type {
            fn as_fd(&self) -> BorrowedFd<'_> { self.fd.as_fd() }
        }
        impl AsRawFd for $Type {
            fn as_raw_fd(&self) -> RawFd { self.fd.as_raw_fd() }
        }
    )+ };
}
as_fd!(LinkListener LinkSocket);
