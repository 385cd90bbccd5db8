// SPDX-License-Identifier: MIT OR Apache-2.0
//! A dataplane without packets: a thread behind a real [`LinkListener`] that checks every policy segment and attaches every domain
//! table as the true one does, keeps them over a change of control, and answers listings with made-up rows.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use fedgate_tables::counters::{Counters, WorkerCounters};
use fedgate_tables::domains::{DomainReader, DomainWriter};
use fedgate_tables::link::{
    Addr, ArpRow, CaptureSpec, ClassRow, ConnRow, Echo, Echoed, End, End2, Event, Filter, HostRow,
    LINK_LAYOUT, LinkError, LinkListener, LinkSocket, MemberRow, PoolRow, Probe, Rows, SipProbe, SipRow,
    SipTrace, ToControl, ToDataplane, Trace, What,
};
use fedgate_tables::policy_view::Checked;
use fedgate_tables::region::{Region, Shared};

pub struct State {
    pub policy: Option<Checked>,
    pub table: Option<DomainReader>,
    pub counters: WorkerCounters,
    /// Policies taken.
    pub policies: usize,
    /// Domain tables taken.
    pub tables: usize,
    /// Refuse the next policy with this.
    pub refuse: Option<String>,
    /// Refuse every policy with this.
    pub refuse_all: Option<String>,
    /// Refuse every policy once so many are taken.
    pub most_policies: usize,
    /// Refuse so many domain tables.
    pub refuse_tables: usize,
    /// Connections to list.
    pub conns: u64,
    /// To tell.
    pub events: Vec<Event>,
    /// What is to be captured, and the memory for it.
    pub captures: Vec<Option<CaptureSpec>>,
    pub rings: Option<Region<Shared>>,
    /// What to tell of packets, and the last that was asked about.
    pub trace: Option<Trace>,
    pub probe: Option<Probe>,
    /// What becomes of the next echo requests, nothing of some; the others are answered. And those that came.
    pub echoes: Vec<Option<Echoed>>,
    pub asked: Vec<Echo>,
    /// What was cleared of hosts' state.
    pub cleared: Vec<(What, Filter)>,
    /// The same of SIP requests.
    pub sip_trace: Option<SipTrace>,
    pub sip_probe: Option<SipProbe>,
    /// Cut the link.
    pub hang_up: bool,
    region: OwnedFd,
    table_generation: u64,
}

pub struct Fake {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub fn start(path: &Path) -> Self {
        let (counters, mut workers, _) = Counters::create(1, 1_700_000_000).unwrap();
        let state = Arc::new(Mutex::new(State {
            policy: None,
            table: None,
            counters: workers.remove(0),
            policies: 0,
            tables: 0,
            refuse: None,
            refuse_all: None,
            most_policies: usize::MAX,
            refuse_tables: 0,
            conns: 0,
            events: Vec::new(),
            captures: Vec::new(),
            rings: None,
            trace: None,
            probe: None,
            echoes: Vec::new(),
            asked: Vec::new(),
            cleared: Vec::new(),
            sip_trace: None,
            sip_probe: None,
            hang_up: false,
            region: counters.region().fd().try_clone_to_owned().unwrap(),
            table_generation: 0,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let listener = LinkListener::bind(path).unwrap();
        let thread = std::thread::spawn({
            let (state, stop) = (state.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(link) = listener.accept(Some(Duration::from_millis(10))) {
                        serve(&listener, link, &state, &stop);
                    }
                }
            }
        });
        Self { state, stop, thread: Some(thread) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().unwrap();
        if !std::thread::panicking() {
            thread.join().unwrap();
        }
    }
}

/// Until the link ends or a newer control comes.
fn serve(listener: &LinkListener, mut link: LinkSocket, state: &Mutex<State>, stop: &AtomicBool) {
    let patience = Some(Duration::from_secs(5));
    while !stop.load(Ordering::Relaxed) && !std::mem::take(&mut state.lock().unwrap().hang_up) {
        if let Ok(newer) = listener.try_accept() {
            link = newer;
        }
        for event in std::mem::take(&mut state.lock().unwrap().events) {
            link.send(&ToControl::Event(event), &[], patience).unwrap();
        }
        let (message, fds) = match link.recv::<ToDataplane>(Some(Duration::from_millis(2))) {
            Ok(received) => received,
            Err(LinkError::TimedOut) => continue,
            Err(_) => return,
        };
        let mut state = state.lock().unwrap();
        if let ToDataplane::Hello { .. } = message {
            let ack = ToControl::HelloAck {
                layout: LINK_LAYOUT,
                pid: std::process::id(),
                started_unix: 1_700_000_000,
                policy_generation: state.policy.as_ref().map_or(0, |p| p.view().generation()),
                domains_generation: state.table_generation,
                workers: 1,
            };
            // Events may come before the greeting is answered.
            link.send(&ToControl::Lost { events: 1 }, &[], patience).unwrap();
            let mut fds = vec![state.region.as_fd()];
            fds.extend(state.table.as_ref().map(|table| table.words().fd()));
            fds.extend(state.policy.as_ref().and_then(Checked::region).map(Region::fd));
            link.send(&ack, &fds, patience).unwrap();
            continue;
        }
        for answer in state.take(message, fds) {
            // Control may hang up before it has read all.
            if link.send(&answer, &[], patience).is_err() {
                return;
            }
        }
    }
}

impl State {
    /// A second writer of the domain table, as there must never be.
    pub fn writer(&self) -> DomainWriter {
        let fd = self.table.as_ref().unwrap().words().fd().try_clone_to_owned().unwrap();
        DomainWriter::adopt(Region::map_rw(fd).unwrap()).unwrap()
    }

    fn take(&mut self, message: ToDataplane, fds: Vec<OwnedFd>) -> Vec<ToControl> {
        let fd = fds.into_iter().next();
        match message {
            ToDataplane::Hello { .. } => vec![],
            ToDataplane::Policy { generation } => {
                if let Some(reason) = self.refuse.take().or_else(|| self.refuse_all.clone()) {
                    return vec![ToControl::Refused { generation, reason }];
                }
                if self.policies >= self.most_policies {
                    return vec![ToControl::Refused { generation, reason: "enough".into() }];
                }
                let checked =
                    Checked::new(Region::map_ro(fd.unwrap()).unwrap()).expect("control sent a bad policy");
                assert_eq!(checked.view().generation(), generation);
                let old = self.policy.as_ref().map_or(0, |old| old.view().generation());
                assert!(generation > old, "generation {generation} after {old}");
                self.policy = Some(checked);
                self.policies += 1;
                vec![ToControl::Adopted { generation }]
            }
            ToDataplane::Domains { generation } if self.refuse_tables > 0 => {
                self.refuse_tables -= 1;
                vec![ToControl::Refused { generation, reason: "no room".into() }]
            }
            ToDataplane::Domains { generation } => {
                self.table =
                    Some(DomainReader::attach(Region::map_rw(fd.unwrap()).unwrap()).expect("a bad table"));
                self.table_generation = generation;
                self.tables += 1;
                vec![ToControl::Adopted { generation }]
            }
            ToDataplane::Dump { id, what: What::Conns, .. } => {
                let end = |real_port| End { real: 0x0a0a_0001u32.into(), real_port, ..End::default() };
                let row = |id| ConnRow {
                    id,
                    proto: 6,
                    initiator: End { ifindex: 1, ..end(id as u16) },
                    responder: end(80),
                    flags: "UIO".into(),
                    ..ConnRow::default()
                };
                let rows = (0..self.conns).map(row).collect();
                ToControl::rows(id, Rows::Conns(rows), true)
            }
            ToDataplane::Dump { id, what: What::Hosts, filter } => {
                // As two workers would: each host twice.
                let row = |n: u64| HostRow {
                    ifindex: 1,
                    addr: (0x0a0a_0000 + (n / 2) as u32).into(),
                    tcp: 3,
                    embryonic: 1,
                    ..HostRow::default()
                };
                let rows = (0..self.conns * 2).map(row);
                let rows =
                    rows.filter(|row| filter.address.is_none_or(|wanted| wanted == row.addr)).collect();
                ToControl::rows(id, Rows::Hosts(rows), true)
            }
            ToDataplane::Dump { id, what: What::Pools, .. } => {
                let row = PoolRow { addr: 0xcb00_7102, proto: 6, allocated: [0, 1, 20], block_ports: 0 };
                ToControl::rows(id, Rows::Pools(vec![row.clone(), row]), true)
            }
            ToDataplane::Dump { id, what: What::Classes, .. } => {
                let row = ClassRow { slot: 0, conns: 4, embryonic: 1, refused: 2 };
                ToControl::rows(id, Rows::Classes(vec![row.clone(), row]), true)
            }
            ToDataplane::Dump { id, what: What::Members, .. } => {
                // As two workers would.
                let row = MemberRow {
                    pool: "front".into(),
                    member: End2 { addr: 0x0a0a_000b, port: 5061 },
                    weight: 2,
                    health: "up".into(),
                    sessions: 1,
                    dialogs: 3,
                    requests: 20,
                    answer: "200".into(),
                    answer_secs: Some(3),
                    turned_secs: Some(60),
                    ..MemberRow::default()
                };
                ToControl::rows(id, Rows::Members(vec![row.clone(), row]), true)
            }
            ToDataplane::Dump { id, what: What::Sip, filter } => {
                let row = |n: u64| SipRow {
                    call_id: format!("c{n}@partner{}.example", n % 2),
                    state: "Active".into(),
                    usage: "subscription".into(),
                    inbound: true,
                    domain: format!("partner{}.example", n % 2),
                    check: "domain".into(),
                    last_check: "dialog".into(),
                    subscribe_secs: Some(60),
                    expires_secs: Some(7200),
                    subscribed_secs: Some(7140),
                    timeout_secs: 1800,
                    worker: (n % 3) as u32,
                    ..SipRow::default()
                };
                let wanted = |row: &SipRow| filter.domain.as_ref().is_none_or(|domain| *domain == row.domain);
                let rows = (0..self.conns).map(row).filter(wanted).collect();
                ToControl::rows(id, Rows::Sip(rows), true)
            }
            ToDataplane::Dump { id, what: what @ (What::Arp | What::Neighbors6), .. } => {
                let addr = match what {
                    What::Arp => Addr::V4(0x0a0a_000b),
                    _ => Addr::V6((0xfe80 << 112 | 11).into()),
                };
                let mac = [2, 0, 0, 0, 1, 11];
                let row = ArpRow { ifindex: 1, addr, mac, state: "resolved".into(), age_secs: 5 };
                ToControl::rows(id, Rows::Arp(vec![row]), true)
            }
            ToDataplane::Dump { id, .. } => ToControl::rows(id, Rows::Ports(vec![]), true),
            ToDataplane::Clear { id, what: What::Sip, filter } => {
                let count = if filter.domain.as_deref() == Some("partner1.example") { 3 } else { 6 };
                vec![ToControl::Cleared { id, count }]
            }
            ToDataplane::Clear { id, what, filter } => {
                self.cleared.push((what, filter));
                vec![ToControl::Cleared { id, count: 7 }]
            }
            ToDataplane::Capture { captures } => {
                (self.captures, self.rings) = (captures, fd.map(|fd| Region::map_rw(fd).unwrap()));
                vec![]
            }
            ToDataplane::Trace { id, probe } => {
                self.probe = Some(probe);
                vec![ToControl::Traced { id, trace: self.trace.clone() }]
            }
            ToDataplane::Echo { id, echo } => {
                self.asked.push(echo);
                let answered = Some(Echoed::Answered { micros: 1000 });
                let outcome = if self.echoes.is_empty() { answered } else { self.echoes.remove(0) };
                outcome.map(|outcome| ToControl::Echoed { id, outcome }).into_iter().collect()
            }
            ToDataplane::TraceSip { id, probe } => {
                self.sip_probe = Some(probe);
                let trace = self.sip_trace.clone().ok_or("the dataplane has no policy yet".to_owned());
                vec![ToControl::SipTraced { id, trace }]
            }
            ToDataplane::Ping { id } => vec![ToControl::Pong { id }],
        }
    }
}
