// SPDX-License-Identifier: MIT OR Apache-2.0
//! `capture`: what the dataplane copies for an operator, kept here in bounded buffers, shown, and written as pcapng.
//!
//! A capture is no part of the configuration: it lasts as long as this control. Workers put frames into shared memory
//! ([`fedgate_tables::capture`]), from where [`drain`] takes them fifty times a second while there is a capture; each goes into the buffer of every capture that
//! wants it. A linear buffer that is full ends its capture, a circular one lets go of its oldest frames. A dataplane that
//! comes anew is told what to capture by the same task.
//!
//! Text in [`text`], files in [`file`], the grammar in [`order`]. On the daemon's one thread.

pub mod file;
pub mod order;
pub mod text;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use fedgate_tables::capture::{MAX_CAPTURES, RING_WORDS, Record, Ring};
use fedgate_tables::link::{CaptureSpec, ToDataplane};
use fedgate_tables::region::{Region, Shared};

use super::daemon::{Attached, Daemon};
use super::session::Session;

/// How often the rings are emptied.
const EVERY: Duration = Duration::from_millis(20);
/// Frames taken from a ring at a time, lest others wait.
const AT_ONCE: usize = 4096;
/// What a frame costs a buffer beside its bytes.
const OVERHEAD: usize = 128;

/// A frame that was captured.
#[derive(Clone, Debug)]
pub struct Captured {
    /// What is known of it.
    pub record: Record,
    /// The interface's name when it was captured.
    pub interface: String,
    /// Its bytes, as far as they were wanted.
    pub bytes: Vec<u8>,
}

/// A capture.
pub struct Capture {
    /// Its name.
    pub name: String,
    /// What it wants.
    pub spec: CaptureSpec,
    /// As it was asked for, behind the name.
    pub words: String,
    /// Bytes that it may hold.
    pub buffer: usize,
    /// The oldest frames make room.
    pub circular: bool,
    /// Oldest first.
    pub frames: VecDeque<Captured>,
    /// Bytes that those hold.
    pub held: usize,
    /// It has ended, because it is full.
    pub full: bool,
}

impl Capture {
    /// Adds a frame, as much of it as is wanted.
    fn add(&mut self, record: &Record, interface: &str, frame: &[u8]) {
        let headers = usize::from(record.headers);
        let cut = if self.spec.headers_only && headers > 0 { headers } else { usize::MAX };
        let bytes = frame.get(..cut.min(self.spec.length.into())).unwrap_or(frame);
        let size = bytes.len() + OVERHEAD;
        if size > self.buffer || !self.circular && self.held + size > self.buffer {
            self.full = true;
            return;
        }
        while self.held + size > self.buffer {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.held -= oldest.bytes.len() + OVERHEAD;
        }
        self.held += size;
        let interface = interface.to_owned();
        self.frames.push_back(Captured { record: *record, interface, bytes: bytes.to_vec() });
    }

    /// Lets go of what it holds, and goes on.
    pub fn clear(&mut self) {
        self.frames.clear();
        (self.held, self.full) = (0, false);
    }
}

/// Memory that a dataplane writes into.
struct Segment {
    region: Region<Shared>,
    workers: usize,
    /// Whose it is.
    session: std::rc::Weak<Session>,
}

/// All captures.
#[derive(Default)]
pub struct Captures(RefCell<Inner>);

#[derive(Default)]
struct Inner {
    places: [Option<Capture>; MAX_CAPTURES],
    segment: Option<Segment>,
    /// What the dataplane has been told does not hold any more.
    changed: bool,
    /// [`drain`] runs.
    draining: bool,
    /// Frames that found no room in the rings of segments before.
    lost_before: u64,
}

impl Captures {
    /// Adds a capture.
    ///
    /// # Errors
    /// Why not.
    pub fn add(&self, capture: Capture) -> Result<(), String> {
        let mut inner = self.0.borrow_mut();
        if inner.places.iter().flatten().any(|known| known.name == capture.name) {
            return Err(format!("there is a capture `{}` already", capture.name));
        }
        let place = inner.places.iter_mut().find(|place| place.is_none());
        let place = place.ok_or_else(|| format!("there are {MAX_CAPTURES} captures already"))?;
        *place = Some(capture);
        inner.changed = true;
        Ok(())
    }

    /// Ends a capture; false where there is none of this name.
    pub fn remove(&self, name: &str) -> bool {
        let mut inner = self.0.borrow_mut();
        let place = inner.places.iter_mut().find(|place| place.as_ref().is_some_and(|c| c.name == name));
        let found = place.map(|place| *place = None).is_some();
        inner.changed |= found;
        found
    }

    /// Empties a capture; false where there is none of this name.
    pub fn clear(&self, name: &str) -> bool {
        let mut inner = self.0.borrow_mut();
        let found = inner.places.iter_mut().flatten().find(|capture| capture.name == name);
        let found = found.map(Capture::clear).is_some();
        inner.changed |= found;
        found
    }

    /// Looks at all captures, and at how many frames were lost to them.
    pub fn look<T>(&self, look: impl FnOnce(&[&Capture], u64) -> T) -> T {
        let inner = self.0.borrow();
        let lost = inner.lost_before + inner.lost();
        let all: Vec<&Capture> = inner.places.iter().flatten().collect();
        look(&all, lost)
    }

    /// Takes what the workers have captured.
    fn take(&self, name_of: impl Fn(u8) -> String) {
        let mut inner = self.0.borrow_mut();
        let Inner { places, segment: Some(segment), changed, .. } = &mut *inner else { return };
        let mut frame = Vec::new();
        for worker in 0..segment.workers {
            let Some(ring) = Ring::of(segment.region.atomics(), worker) else { continue };
            for _ in 0..AT_ONCE {
                let Some(record) = ring.take(&mut frame) else { break };
                let interface = name_of(record.ifindex);
                for (at, place) in places.iter_mut().enumerate() {
                    let Some(capture) = place.as_mut().filter(|c| !c.full) else { continue };
                    if record.captures >> at & 1 == 1 {
                        capture.add(&record, &interface, &frame);
                        *changed |= capture.full;
                    }
                }
            }
        }
    }
}

impl Inner {
    fn lost(&self) -> u64 {
        let Some(segment) = &self.segment else { return 0 };
        let rings = (0..segment.workers).filter_map(|worker| Ring::of(segment.region.atomics(), worker));
        rings.map(|ring| ring.lost()).sum()
    }

    fn wanted(&self) -> Vec<Option<CaptureSpec>> {
        let spec = |place: &Option<Capture>| place.as_ref().filter(|c| !c.full).map(|c| c.spec.clone());
        self.places.iter().map(spec).collect()
    }
}

/// Tells the dataplane what to capture, where that has changed.
async fn tell(captures: &Captures, attached: &Attached) {
    let message = {
        let mut inner = captures.0.borrow_mut();
        let ours =
            inner.segment.as_ref().is_some_and(|s| s.session.ptr_eq(&Rc::downgrade(&attached.session)));
        let any = inner.places.iter().any(Option::is_some);
        if !ours && !any {
            // It has not been told of any.
            inner.changed = false;
        }
        if !inner.changed && (ours || !any) {
            return;
        }
        if !ours {
            inner.lost_before += inner.lost();
            let workers = attached.session.greeting.workers as usize;
            inner.segment = match Region::shared("fedgate-capture", workers * RING_WORDS * 8) {
                Ok(region) => Some(Segment { region, workers, session: Rc::downgrade(&attached.session) }),
                Err(why) => {
                    tracing::error!("no memory for captures: {why}");
                    return;
                }
            };
        }
        inner.changed = false;
        let captures = inner.wanted();
        let any = captures.iter().any(Option::is_some);
        let fd = inner.segment.as_ref().filter(|_| any).map(|s| s.region.fd().try_clone_to_owned());
        match fd.transpose() {
            Ok(fd) => (ToDataplane::Capture { captures }, fd),
            Err(why) => {
                tracing::error!("captures cannot be told of: {why}");
                return;
            }
        }
    };
    if attached.session.say(&message.0, message.1).await.is_err() {
        captures.0.borrow_mut().changed = true;
    }
}

/// Begins to empty the rings, if that is not going on: until there is no capture.
pub fn begin(daemon: &Rc<Daemon>) {
    if !std::mem::replace(&mut daemon.captures().0.borrow_mut().draining, true) {
        tokio::task::spawn_local(drain(daemon.clone()));
    }
}

async fn drain(daemon: Rc<Daemon>) {
    loop {
        if let Some(attached) = daemon.attached() {
            tell(daemon.captures(), &attached).await;
        }
        take(&daemon);
        {
            let mut inner = daemon.captures().0.borrow_mut();
            if inner.places.iter().all(Option::is_none) && !(inner.changed && daemon.attached().is_some()) {
                // The memory goes; the dataplane has let go of it.
                (inner.segment, inner.draining, inner.lost_before) = (None, false, 0);
                return;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Takes what the workers have captured by now.
pub fn take(daemon: &Daemon) {
    let names = super::show::IfNames::new(daemon);
    daemon.captures().take(|ifindex| names.name(ifindex).to_owned());
}
