// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections that keep a server busy: each is a thread that has so many exchanges open and begins one for each that ends.
//!
//! All of what one read has brought is answered by one write, so under load the generator's calls are few beside the server's.
//! A read that brings nothing for [`PATIENCE`] is a failure: a server that loses one exchange must not pass for a slow one.

use crate::Failure;
use crate::talk::Heard;
use fedgate_sip::frame::{Frame, Framer, Limits};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// For anything to come while something is open.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a connection looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);

/// One side of a conversation.
pub trait Flow: Send {
    /// Begins one exchange more; `false` where there is none left.
    fn begin(&mut self, out: &mut Vec<u8>) -> bool;

    /// Takes a message and writes what answers it; how many exchanges it has ended.
    fn hear(&mut self, message: &Heard<'_>, out: &mut Vec<u8>) -> Result<u32, Failure>;
}

/// What all connections of a run share.
#[derive(Default)]
pub struct Run {
    /// Exchanges that have ended.
    pub done: AtomicU64,
    /// No more are begun, and connections that begin any end when theirs have ended.
    pub stop: AtomicBool,
    /// Those that only answer end as well.
    pub over: AtomicBool,
}

/// A connection to `to` from the address `from`.
pub fn connect(from: &str, to: SocketAddr) -> Result<TcpStream, Failure> {
    use rustix::net::{AddressFamily, SocketType};
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &format!("{from}:0").parse::<SocketAddr>()?)?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LOOK))?;
    Ok(stream)
}

/// Keeps `window` exchanges open until there are none left or the run stops.
pub fn drive(stream: &TcpStream, flow: &mut dyn Flow, window: u32, run: &Run) -> Result<(), Failure> {
    let mut framer = Framer::new(Limits::DEFAULT);
    let (mut buffer, mut out) = (Vec::with_capacity(1 << 20), Vec::with_capacity(1 << 20));
    let mut chunk = vec![0; 256 << 10];
    let mut open = 0;
    while open < window && flow.begin(&mut out) {
        open += 1;
    }
    let mut heard = Instant::now();
    loop {
        if !out.is_empty() {
            (&mut &*stream).write_all(&out)?;
            out.clear();
        }
        if open == 0 && (window > 0 || run.over.load(Ordering::Relaxed)) {
            return Ok(());
        }
        match (&mut &*stream).read(&mut chunk) {
            Ok(0) => return Err("the server has closed a connection".into()),
            Ok(octets) => buffer.extend_from_slice(&chunk[..octets]),
            Err(why)
                if matches!(why.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                if open > 0 && heard.elapsed() > PATIENCE {
                    return Err(format!("{open} exchanges have not ended").into());
                }
                continue;
            }
            Err(why) => return Err(why.into()),
        }
        heard = Instant::now();
        let mut at = 0;
        while at < buffer.len() {
            match framer.next(&buffer[at..]) {
                Frame::Incomplete { .. } => break,
                Frame::KeepAlive { len } => at += len,
                Frame::Message { head_len, body_len } => {
                    let frame = &buffer[at..at + head_len + body_len];
                    at += frame.len();
                    let ended = flow.hear(&Heard::of(frame)?, &mut out)?;
                    run.done.fetch_add(u64::from(ended), Ordering::Relaxed);
                    open -= ended;
                    while open < window && !run.stop.load(Ordering::Relaxed) && flow.begin(&mut out) {
                        open += 1;
                    }
                }
                Frame::Bad(error) => return Err(format!("the server sends {}", error.fault).into()),
            }
        }
        buffer.drain(..at);
    }
}

/// Runs each flow on its own connection, with `window` exchanges each, for so long; exchanges a second, those of the first fifth not counted.
pub fn rate(flows: Vec<(TcpStream, Box<dyn Flow>, u32)>, time: Duration) -> Result<f64, Failure> {
    let run = Run::default();
    std::thread::scope(|scope| {
        let (mut begin, mut answer) = (Vec::new(), Vec::new());
        for (stream, mut flow, window) in flows {
            let run = &run;
            let thread = scope.spawn(move || {
                let ended = drive(&stream, &mut *flow, window, run);
                // One that fails must not keep the others.
                run.stop.store(true, Ordering::Relaxed);
                ended
            });
            if window > 0 { begin.push(thread) } else { answer.push(thread) }
        }
        let wait = |until: Instant| {
            while Instant::now() < until && !run.stop.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
            }
            (Instant::now(), run.done.load(Ordering::Relaxed))
        };
        let start = Instant::now();
        let (from, before) = wait(start + time / 5);
        let (to, after) = wait(start + time);
        run.stop.store(true, Ordering::Relaxed);
        let mut ended: Vec<_> = begin.into_iter().map(|thread| thread.join()).collect();
        run.over.store(true, Ordering::Relaxed);
        ended.extend(answer.into_iter().map(|thread| thread.join()));
        for one in ended {
            one.map_err(|_| "a connection's thread has panicked")??;
        }
        Ok((after - before) as f64 / (to - from).as_secs_f64())
    })
}
