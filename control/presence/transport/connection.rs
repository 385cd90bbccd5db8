// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection: octets in, whole messages out; messages in, octets out.
//!
//! Reading and writing are two tasks' worth of work in one future each, so neither waits for the other. A message that has begun must be whole in
//! [`MESSAGE_TIME`]. A stream that cannot be framed is answered from the lines that could be read and closed; a message that can be
//! framed but not read is answered and the connection goes on. A ping (two CRLFs, RFC 5626) is answered by one.
//!
//! The writer puts what waits into one write, up to [`BATCH`]. It ends when the core lets go of its sender, or the peer is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use fedgate_sip::answer;
use fedgate_sip::frame::{Frame, Framer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use super::{ConnId, Event, Events, LIMITS};
use crate::message::Incoming;

/// From a message's first octet to its last.
const MESSAGE_TIME: Duration = Duration::from_secs(25);
/// Octets in one write.
const BATCH: usize = 64 << 10;
/// Room for one read.
const READ: usize = 16 << 10;
/// For the last answer of a stream that cannot be framed to leave.
const FAREWELL: Duration = Duration::from_millis(200);
/// Of answers that belong to no dialog and no transaction.
const TAG: &str = "0";
/// For one write to be taken by the peer.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// A stream of octets, secured or not.
pub(super) type Stream = Box<dyn Both>;

/// Both directions.
pub(super) trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// What is to be written.
pub(super) struct Writer {
    pub(super) queue: mpsc::UnboundedReceiver<Vec<u8>>,
    pub(super) unsent: Arc<AtomicUsize>,
    pub(super) given_up: Arc<Notify>,
}

/// Serves a connection until it ends; tells that it has.
pub(super) async fn run(stream: Stream, id: ConnId, writer: Writer, events: Events, idle: Duration) {
    let (read, write) = tokio::io::split(stream);
    let (own, answers) = mpsc::channel(16);
    let given_up = writer.given_up.clone();
    let mut writing = std::pin::pin!(writing(write, writer, answers));
    let is_writing = tokio::select! {
        () = reader(read, id, events.clone(), own, idle) => true,
        () = &mut writing => false,
        () = given_up.notified() => false,
    };
    events.tell(Event::Closed(id)).await;
    if is_writing {
        // The peer may have closed its half only, and wait for answers: those to what it has sent leave before the core lets go.
        let _ = tokio::time::timeout(WRITE_TIME, writing).await;
    }
}

async fn reader(
    mut read: ReadHalf<Stream>,
    id: ConnId,
    events: Events,
    own: mpsc::Sender<Vec<u8>>,
    idle: Duration,
) {
    let mut framer = Framer::new(LIMITS);
    let mut buffer: Vec<u8> = Vec::with_capacity(READ);
    let mut begun: Option<Instant> = None;
    let mut pings = 0_u8;
    loop {
        let mut done = 0;
        while done < buffer.len() {
            match framer.next(&buffer[done..]) {
                Frame::Incomplete { .. } => break,
                Frame::KeepAlive { len } => {
                    done += len;
                    pings += 1;
                    if pings == 2 {
                        pings = 0;
                        // One that is not read is no loss.
                        let _ = own.try_send(b"\r\n".to_vec());
                    }
                }
                Frame::Message { head_len, body_len } => {
                    pings = 0;
                    let frame = &buffer[done..done + head_len + body_len];
                    if !take(frame, id, &events, &own).await {
                        return;
                    }
                    done += head_len + body_len;
                    begun = None;
                }
                Frame::Bad(error) => {
                    tracing::info!(conn = id.0, why = %error.fault, "cannot be framed");
                    let status = error.fault.status();
                    let lines = &buffer[done..done + error.lines];
                    if let Ok(bytes) =
                        answer::compose_unread(lines, status, answer::reason_phrase(status), TAG)
                    {
                        let _ = own.try_send(bytes);
                        // For the writer to write it: it ends with this future.
                        tokio::time::sleep(FAREWELL).await;
                    }
                    return;
                }
            }
        }
        buffer.drain(..done);
        buffer.reserve(READ);
        let deadline = if buffer.is_empty() {
            begun = None;
            Instant::now() + idle
        } else {
            *begun.get_or_insert_with(Instant::now) + MESSAGE_TIME
        };
        match timeout_at(deadline, read.read_buf(&mut buffer)).await {
            Ok(Ok(octets)) if octets > 0 => {}
            Ok(Ok(_) | Err(_)) => return,
            Err(_) => {
                tracing::info!(conn = id.0, "nothing has come in time");
                return;
            }
        }
    }
}

/// Hands a message on; `false` where the node is ending.
async fn take(frame: &[u8], id: ConnId, events: &Events, own: &mpsc::Sender<Vec<u8>>) -> bool {
    match Incoming::scan(frame.into(), id, &LIMITS) {
        Ok(message) => events.message(message).await,
        Err(why) => {
            tracing::info!(conn = id.0, why = %why.kind, "cannot be read");
            if why.answerable
                && let Ok(bytes) = answer::compose_unread(frame, why.status(), why.reason(), TAG)
            {
                let _ = own.send(bytes).await;
            }
            true
        }
    }
}

async fn writing(mut write: WriteHalf<Stream>, mut writer: Writer, mut own: mpsc::Receiver<Vec<u8>>) {
    let mut answers = true;
    loop {
        let mut batch = tokio::select! {
            bytes = writer.queue.recv() => match bytes {
                Some(bytes) => bytes,
                None => {
                    let _ = write.shutdown().await;
                    return;
                }
            },
            bytes = own.recv(), if answers => match bytes {
                Some(bytes) => {
                    writer.unsent.fetch_add(bytes.len(), Ordering::Relaxed);
                    bytes
                }
                None => {
                    answers = false;
                    continue;
                }
            },
        };
        while batch.len() < BATCH
            && let Ok(more) = writer.queue.try_recv()
        {
            batch.extend_from_slice(&more);
        }
        let deadline = Instant::now() + WRITE_TIME;
        let written = timeout_at(deadline, async {
            write.write_all(&batch).await?;
            write.flush().await
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
        writer.unsent.fetch_sub(batch.len(), Ordering::Relaxed);
    }
}
