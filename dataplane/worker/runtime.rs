// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a policy becomes inside the dataplane: one immutable image that every worker reads.
//!
//! The housekeeping thread makes it from the checked segment: TLS configurations built, ports matched to interfaces,
//! the domain table attached. Published by QSBR (fedgate-tables `publish`): a worker takes the newest at a burst
//! boundary and the old one is freed when all have moved on. [`View`] is a burst's working copy of its slices.

use super::announce::Shown;
use fedgate_flow::Policy;
use fedgate_flow::acl::{Acls, Lists};
use fedgate_flow::nat::Nat;
use fedgate_flow::shard::Dealt;
use fedgate_proxy::{OwnDomains, ProxyTls, Timeouts};
use fedgate_tables::domains::DomainReader;
use fedgate_tables::policy::{Blob, IF_NO_PROXY_ARP, IF_SHUTDOWN, Interface, NONE, SAME_SECURITY_INTRA};
use fedgate_tables::policy_view::{Checked, PolicyView};
use fedgate_wire::MacAddr;
use std::hash::Hasher;
use std::sync::{Arc, OnceLock};
use zerocopy::IntoBytes;

use super::domains::Federation;
use super::route::Routes;
use super::v6::addresses::Barred;
use super::v6::route::Routes6;

/// Position of a port among the dataplane's ports; stable while the process lives.
pub type IoSlot = u8;

/// See the module.
pub struct Runtime {
    /// The segment, checked.
    pub policy: Arc<Checked>,
    /// Its ACLs, compiled.
    pub acls: Arc<Acls>,
    /// Port of each interface; `None` where its device could not be had.
    pub slots: Vec<Option<IoSlot>>,
    /// How the frames of each interface come to the workers, where it is known.
    pub dealt: Vec<Option<Dealt>>,
    /// Own MAC of each interface.
    pub macs: Vec<MacAddr>,
    /// TLS of each `tls-proxy`; `None` where it could not be built (a connection for it is refused).
    pub tls: Vec<Option<Arc<ProxyTls>>>,
    /// The federated domains.
    pub federation: Federation,
    /// Our own domains.
    pub locals: OwnDomains,
    /// The NAT rules.
    pub nat: Nat,
    /// What we answer ARP for, (interface, address), sorted; at most [`ANNOUNCED`].
    pub ours: Vec<(u8, u32)>,
    /// See [`View::ways`].
    ways: OnceLock<u64>,
}

/// Most addresses that are announced when a policy comes into use; the rest are only answered for.
pub const ANNOUNCED: usize = 1024;

impl Runtime {
    /// An image without the domain table's entries, of a fresh policy and its compiled ACLs. The caller fills ports and TLS.
    pub fn new(policy: Arc<Checked>, acls: Arc<Acls>, domains: Option<Arc<DomainReader>>) -> Self {
        let view = policy.view();
        let mut nat = Nat::new(view.nat(), view.pools());
        if view.globals().flags & SAME_SECURITY_INTRA != 0 {
            nat = nat.turning();
        }
        let (locals, ours) = (OwnDomains::of(&view), addresses(&view, &nat));
        Self {
            policy,
            acls,
            slots: Vec::new(),
            dealt: Vec::new(),
            macs: Vec::new(),
            tls: Vec::new(),
            federation: Federation { table: domains, partners: Arc::default() },
            locals,
            nat,
            ours,
            ways: OnceLock::new(),
        }
    }

    /// The slices a burst works with.
    #[inline]
    pub fn view(&self) -> View<'_> {
        let policy = self.policy.view();
        View {
            flow: Policy {
                interfaces: policy.interfaces(),
                nat: &self.nat,
                acls: policy.acls(),
                aces: policy.aces(),
                aces6: policy.aces6(),
                compiled: &self.acls,
                classes: policy.classes(),
                globals: policy.globals(),
            },
            policy,
            image: self,
        }
    }

    /// The interface that a port serves.
    #[inline]
    pub fn interface_of(&self, slot: IoSlot) -> Option<u8> {
        self.slots.iter().position(|s| *s == Some(slot)).map(|i| i as u8)
    }
}

/// See [`Runtime::view`].
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What connections are decided by.
    pub flow: Policy<'a>,
    /// The whole policy.
    pub policy: PolicyView<'a>,
    /// The image.
    pub image: &'a Runtime,
}

impl<'a> View<'a> {
    /// An interface that is there and not shut down.
    #[inline]
    pub fn interface(&self, ifindex: u8) -> Option<&'a Interface> {
        self.flow.interfaces.get(usize::from(ifindex)).filter(|i| i.flags & IF_SHUTDOWN == 0)
    }

    /// A number for all that decides by which way packets leave: the same while none of it changes. Reckoned once an image, by
    /// whoever asks first, which is the housekeeping thread.
    pub fn ways(&self) -> u64 {
        *self.image.ways.get_or_init(|| {
            let mut hasher = std::hash::DefaultHasher::new();
            let mut add = |bytes: &[u8]| hasher.write(bytes);
            for interface in self.flow.interfaces {
                // Where names stand and which access-lists apply is another matter.
                let (name, device) = (Blob::default(), Blob::default());
                let way = Interface { name, device, security: 0, acl_in: NONE, acl_out: NONE, ..*interface };
                add(way.as_bytes());
            }
            add(self.policy.routes().as_bytes());
            add(self.policy.routes6().as_bytes());
            self.image.macs.iter().for_each(|mac| add(&mac.0));
            self.image.slots.iter().for_each(|slot| add(&slot.map_or([0, 0], |s| [1, s])));
            hasher.finish()
        })
    }

    /// The ways out.
    #[inline]
    pub fn routes(&self) -> Routes<'a> {
        Routes { interfaces: self.flow.interfaces, routes: self.policy.routes() }
    }

    /// The ways out for IPv6, and our IPv6 addresses, of which a worker knows more ([`Net::routes6`](super::net::Net)).
    pub fn routes6(&self) -> Routes6<'a> {
        let (macs, routes) = (&self.image.macs, self.policy.routes6());
        Routes6 { interfaces: self.flow.interfaces, macs, routes, barred: Barred::default() }
    }

    /// An address of ours as the link sees it.
    pub(super) fn shown<A>(&self, ifindex: u8, ip: A) -> Shown<A> {
        let slot = self.image.slots.get(usize::from(ifindex)).copied().flatten();
        Shown { ifindex, mac: self.mac(ifindex), slot, ip }
    }

    /// Own MAC on an interface.
    #[inline]
    pub fn mac(&self, ifindex: u8) -> MacAddr {
        self.image.macs.get(usize::from(ifindex)).copied().unwrap_or(MacAddr([0; 6]))
    }

    /// True where the appliance answers ARP for `addr` on `ifindex`: its own address, or one that NAT shows there.
    pub fn answers_arp_for(&self, ifindex: u8, addr: u32) -> bool {
        let Some(interface) = self.interface(ifindex).filter(|i| i.addr != 0) else { return false };
        let on_link = addr & interface.mask == interface.addr & interface.mask;
        addr == interface.addr
            || (on_link && interface.flags & IF_NO_PROXY_ARP == 0 && self.flow.nat.answers_for(addr, ifindex))
    }

    /// Time limits of proxy sessions.
    pub fn proxy_timeouts(&self) -> Timeouts {
        let seconds = match self.flow.globals.timeout_sip {
            0 => u64::MAX / 2_000_000,
            s => u64::from(s),
        };
        Timeouts {
            idle: seconds * 1_000_000,
            sip_invite: u64::from(self.flow.globals.timeout_sip_invite) * 1_000_000,
            sip_disconnect: u64::from(self.flow.globals.timeout_sip_disconnect) * 1_000_000,
            ..Timeouts::default()
        }
    }
}

/// The ACLs of a policy, compiled; what is as in the policy `before` is shared with it. `in_force`: of each time-range.
pub fn compile(policy: &PolicyView<'_>, before: &Acls, in_force: &[bool]) -> Acls {
    let acls: Vec<_> = policy.acls().iter().map(|acl| (policy.str(acl.name), *acl)).collect();
    before.updated(&Lists { acls: &acls, aces: policy.aces(), aces6: policy.aces6(), in_force })
}

/// Interface addresses, and those of NAT rules that are on the link.
fn addresses(policy: &PolicyView<'_>, nat: &Nat) -> Vec<(u8, u32)> {
    let mut ours = Vec::new();
    for (ifindex, interface) in (0u8..).zip(policy.interfaces()) {
        if interface.addr == 0 || interface.flags & IF_SHUTDOWN != 0 {
            continue;
        }
        ours.push((ifindex, interface.addr));
        if interface.flags & IF_NO_PROXY_ARP != 0 {
            continue;
        }
        let net = interface.addr & interface.mask;
        for (_, [first, last]) in nat.announced().filter(|(on, _)| *on == NONE || *on == u32::from(ifindex)) {
            let on_link = first.max(net)..=last.min(net | !interface.mask);
            let room = ANNOUNCED.saturating_sub(ours.len());
            ours.extend(on_link.take(room).map(|addr| (ifindex, addr)));
        }
    }
    ours.sort_unstable();
    ours.dedup();
    ours.truncate(ANNOUNCED);
    ours
}
