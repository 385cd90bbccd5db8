// SPDX-License-Identifier: MIT OR Apache-2.0
//! A name server on the loopback: UDP and TCP on one port, answers from a zone in memory, and misbehaves as it is told.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, SOA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

/// Its records by lower-case name, with a dot at the end.
#[derive(Default)]
pub struct Zone {
    pub records: BTreeMap<String, Vec<(u32, RData)>>,
    /// Names that are answered by this code.
    pub codes: BTreeMap<String, ResponseCode>,
    /// Says nothing at all.
    pub silent: bool,
    /// Answers over UDP are cut short.
    pub truncates: bool,
    /// `minimum` of the SOA that goes with a denial; none goes without.
    pub minimum: Option<u32>,
    /// Questions, by name and type.
    pub asked: Vec<(String, RecordType)>,
}

pub struct Server {
    pub zone: Arc<Mutex<Zone>>,
    pub port: u16,
    stop: Arc<AtomicBool>,
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

impl Zone {
    pub fn srv(&mut self, owner: &str, ttl: u32, (priority, weight, port): (u16, u16, u16), target: &str) {
        let srv = RData::SRV(SRV::new(priority, weight, port, name(target)));
        self.records.entry(owner.into()).or_default().push((ttl, srv));
    }

    pub fn a(&mut self, owner: &str, ttl: u32, addr: &str) {
        let addr: Ipv4Addr = addr.parse().unwrap();
        self.records.entry(owner.into()).or_default().push((ttl, RData::A(A(addr))));
    }

    pub fn cname(&mut self, owner: &str, target: &str) {
        self.records.entry(owner.into()).or_default().push((60, RData::CNAME(CNAME(name(target)))));
    }

    fn answer(&mut self, question: &Message, udp: bool) -> Option<Message> {
        if self.silent {
            return None;
        }
        let query = question.queries.first()?;
        let asked = query.name().to_ascii().to_ascii_lowercase();
        self.asked.push((asked.clone(), query.query_type()));
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = true;
        answer.metadata.recursion_available = true;
        answer.add_query(query.clone());
        if let Some(code) = self.codes.get(&asked) {
            answer.metadata.response_code = *code;
            return Some(answer);
        }
        if udp && self.truncates {
            answer.metadata.truncation = true;
            return Some(answer);
        }
        // The name as it was asked, so that a resolver that plays with its case knows its own again.
        let (mut owner, mut at) = (query.name().clone(), asked.clone());
        let mut hops = 0;
        while let Some(records) = self.records.get(&at) {
            let cname = records.iter().find_map(|(ttl, data)| match data {
                RData::CNAME(target) => Some((*ttl, target.0.clone())),
                _ => None,
            });
            if let Some((ttl, target)) = cname.filter(|_| hops < 8) {
                answer.add_answer(Record::from_rdata(owner, ttl, RData::CNAME(CNAME(target.clone()))));
                (at, owner, hops) = (target.to_ascii().to_ascii_lowercase(), target, hops + 1);
                continue;
            }
            for (ttl, data) in records.iter().filter(|(_, data)| data.record_type() == query.query_type()) {
                answer.add_answer(Record::from_rdata(owner.clone(), *ttl, data.clone()));
            }
            break;
        }
        if answer.answers.is_empty() {
            if !self.records.contains_key(&asked) {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            if let Some(minimum) = self.minimum {
                let soa = SOA::new(name("ns.example."), name("root.example."), 1, 1, 1, 1, minimum);
                answer.add_authority(Record::from_rdata(name("example."), 900, RData::SOA(soa)));
            }
        }
        Some(answer)
    }
}

impl Server {
    pub fn start() -> Self {
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        // The same number for both.
        let (tcp, udp) = (0..100)
            .find_map(|_| {
                let tcp = TcpListener::bind((loopback, 0)).unwrap();
                let udp = UdpSocket::bind((loopback, tcp.local_addr().unwrap().port())).ok()?;
                Some((tcp, udp))
            })
            .expect("a free port");
        let port = tcp.local_addr().unwrap().port();
        let (zone, stop) = (Arc::new(Mutex::new(Zone::default())), Arc::new(AtomicBool::new(false)));
        udp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (mine, stopped) = (zone.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((len, from)) = udp.recv_from(&mut buffer) else { continue };
                let Ok(question) = Message::from_vec(&buffer[..len]) else { continue };
                if let Some(answer) = mine.lock().unwrap().answer(&question, true) {
                    udp.send_to(&answer.to_vec().unwrap(), from).unwrap();
                }
            }
        });
        tcp.set_nonblocking(true).unwrap();
        let (mine, stopped) = (zone.clone(), stop.clone());
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = tcp.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                let mut len = [0; 2];
                while stream.read_exact(&mut len).is_ok() {
                    let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
                    stream.read_exact(&mut question).unwrap();
                    let question = Message::from_vec(&question).unwrap();
                    let Some(answer) = mine.lock().unwrap().answer(&question, false) else { break };
                    let answer = answer.to_vec().unwrap();
                    stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
                    stream.write_all(&answer).unwrap();
                }
            }
        });
        Self { zone, port, stop }
    }

    pub fn zone(&self) -> std::sync::MutexGuard<'_, Zone> {
        self.zone.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
