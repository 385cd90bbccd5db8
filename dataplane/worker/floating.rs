// SPDX-License-Identifier: MIT OR Apache-2.0
//! `timeout floating-conn`: connections whose best route has come to lead out of another interface are closed, so that they
//! begin anew by the better one.
//!
//! A connection keeps the interfaces that it began with, for its policy was decided by them. When a policy changes a route (or what
//! else decides by which way packets leave) and this timeout is set, then after it all connections are looked at once, some in each loop,
//! and those that a route leads elsewhere are ended; their next packet is a first one. Another change begins the wait anew.
//! By default, 0, none is: as on the ASA a connection stays where it is as long as it lives. Nothing a packet; routes
//! are looked up only in that one walk. Worker core, slow path.

use super::runtime::View;
use super::{Path, clock::Now, command};
use fedgate_flow::conn::{Dir, Hot};
use fedgate_flow::v6::Hot6;

/// Entries looked at in one loop.
const SCAN: usize = 64;

/// How far it is.
#[derive(Debug, Default)]
pub struct Floating {
    walk: Option<Walk>,
}

#[derive(Clone, Copy, Debug)]
struct Walk {
    /// Not before this time, milliseconds.
    from_ms: u64,
    at: Place,
}

/// The next entry to be looked at.
#[derive(Clone, Copy, Debug)]
enum Place {
    V4(u32),
    V6(u32),
}

impl Floating {
    /// The ways out are others now. `timeout` in seconds.
    pub fn ways_changed(&mut self, now: Now, timeout: u32) {
        let from_ms = now.millis() + u64::from(timeout) * 1000;
        self.walk = (timeout > 0).then_some(Walk { from_ms, at: Place::V4(0) });
    }
}

impl Path {
    /// Goes on with the walk, if it is time. Gives how many connections were ended.
    pub(super) fn close_floating(&mut self, view: &View<'_>, now: Now) -> usize {
        let Some(walk) = self.net.floating.walk.filter(|walk| walk.from_ms <= now.millis()) else { return 0 };
        let (ended, next) = match walk.at {
            Place::V4(at) => {
                let page = self.net.flow.conns.page(at, SCAN, SCAN, |hot| floats(view, hot));
                for id in &page.0 {
                    command::end(*id, &mut self.net, &mut self.sessions, view, now);
                }
                (page.0.len(), Some(page.1.map_or(Place::V6(0), Place::V4)))
            }
            Place::V6(at) => {
                let page = self.net.flow.conns6.page(at, SCAN, SCAN, |hot| floats6(view, hot));
                for id in &page.0 {
                    self.net.end6(*id);
                }
                (page.0.len(), page.1.map(Place::V6))
            }
        };
        self.net.floating.walk = next.map(|at| Walk { at, ..walk });
        ended
    }
}

/// Whether a route leads a connection's packets of either direction elsewhere. (Where there is no route they are dropped anyhow.)
fn floats(view: &View<'_>, hot: &Hot) -> bool {
    let leads_to = |addr| view.routes().lookup(addr).map(|way| way.ifindex as u8);
    [Dir::Forward, Dir::Reverse].into_iter().any(|dir| {
        leads_to(hot.leaves_as(dir).dst).is_some_and(|ifindex| ifindex != hot.iface[dir.flip() as usize])
    })
}

fn floats6(view: &View<'_>, hot: &Hot6) -> bool {
    let leads_to = |addr| view.routes6().lookup(addr).map(|way| way.ifindex);
    [Dir::Forward, Dir::Reverse].into_iter().any(|dir| {
        leads_to(hot.destination(dir)).is_some_and(|ifindex| ifindex != hot.iface[dir.flip() as usize])
    })
}
