// SPDX-License-Identifier: MIT OR Apache-2.0
//! From control's segments to an image that workers can use: map, check, attach ports, build TLS.
//!
//! Whatever is wrong is one sentence for the operator, and nothing of the new policy is used then. TLS is built here, off
//! the workers, and kept while only the domain table changes. Housekeeping thread.

use super::ports::Ports;
use super::time_ranges;
use crate::worker::command::Desk;
use crate::worker::domains::Federation;
use crate::worker::runtime::{self, IoSlot, Runtime};
use fedgate_flow::acl::Acls;
use fedgate_flow::shard::{Dealing, Dealt};
use fedgate_proxy::ProxyTls;
use fedgate_proxy::pool::Pools;
use fedgate_sip::partner::Partners;
use fedgate_tables::domains::DomainReader;
use fedgate_tables::policy_view::Checked;
use fedgate_tables::region::Region;
use fedgate_wire::MacAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What is in force, or about to be.
pub struct Image {
    policy: Option<Arc<Checked>>,
    policy_generation: u64,
    /// The ACLs, compiled: what the next ones are made from.
    acls: Arc<Acls>,
    /// Time-ranges in force when they were, and when that was.
    in_force: Vec<bool>,
    looked: i64,
    domains: Option<Arc<DomainReader>>,
    domains_generation: u64,
    slots: Vec<Option<IoSlot>>,
    dealt: Vec<Option<Dealt>>,
    macs: Vec<MacAddr>,
    tls: Vec<Option<Arc<ProxyTls>>>,
    pools: Pools,
    partners: Arc<Partners>,
}

impl Image {
    /// Without anything, for so many workers.
    pub fn new(workers: u8) -> Self {
        Self {
            policy: None,
            policy_generation: 0,
            acls: Arc::default(),
            in_force: Vec::new(),
            looked: 0,
            domains: None,
            domains_generation: 0,
            slots: Vec::new(),
            dealt: Vec::new(),
            macs: Vec::new(),
            tls: Vec::new(),
            pools: Pools::new(workers.into()),
            partners: Arc::default(),
        }
    }

    /// The policy in force.
    pub fn policy(&self) -> Option<&Checked> {
        self.policy.as_deref()
    }

    /// Its generation; 0 for none.
    pub fn policy_generation(&self) -> u64 {
        self.policy_generation
    }

    /// The domain table in force.
    pub fn domains(&self) -> Option<&DomainReader> {
        self.domains.as_deref()
    }

    /// Its generation, as control numbered it; 0 for none.
    pub fn domains_generation(&self) -> u64 {
        self.domains_generation
    }

    /// Takes a policy segment at Unix second `now`; new ports' queues go to the workers by their `desks`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn take_policy(
        &mut self,
        fd: OwnedFd,
        generation: u64,
        ports: &mut Ports,
        desks: &[Desk],
        now: i64,
    ) -> Result<Runtime, String> {
        let region = Region::map_ro(fd).map_err(|e| format!("policy segment: {e}"))?;
        let checked = Arc::new(Checked::new(region).map_err(|e| format!("policy segment: {e}"))?);
        let view = checked.view();
        if view.generation() != generation {
            return Err(format!(
                "policy segment is generation {}, announced as {generation}",
                view.generation()
            ));
        }
        if generation <= self.policy_generation {
            return Err(format!(
                "policy generation {generation} is not newer than {}",
                self.policy_generation
            ));
        }
        let before: Vec<_> = self.tls.iter().flatten().cloned().collect();
        let mut tls = Vec::new();
        for (index, proxy) in view.tls_proxies().iter().enumerate() {
            if proxy.server.shown == 0 || proxy.client.shown == 0 {
                // Not ready: the worker finds nothing here, and refuses the connection.
                tls.push(None);
                continue;
            }
            let built = ProxyTls::build(&view, index as u32, &before).map_err(|e| e.to_string())?;
            for warning in built.warnings() {
                tracing::warn!(
                    tls_proxy = view.str(proxy.name),
                    trustpoint = warning.trustpoint,
                    subject = warning.subject,
                    problem = ?warning.kind,
                    "peers will not accept this certificate"
                );
            }
            tls.push(Some(built));
        }
        let specs = Pools::specs(&view)?;
        let partners = Federation::partners(&view)?;
        let in_force = time_ranges::in_force(&view, now);
        let acls = runtime::compile(&view, &self.acls, &in_force);
        // Ports last: they are the one thing that cannot be taken back.
        let (mut slots, mut dealt, mut macs) = (Vec::new(), Vec::new(), Vec::new());
        for (ifindex, interface) in (0u8..).zip(view.interfaces()) {
            let device = view.str(interface.device);
            let name = view.str(interface.name);
            if let Some(other) = view
                .interfaces()
                .iter()
                .take_while(|i| !std::ptr::eq(*i, interface))
                .find(|i| view.str(i.device) == device)
            {
                return Err(format!("interface {name}: {device} is {}'s already", view.str(other.name)));
            }
            let dealing = Dealing::of(view.nat(), ifindex);
            let port = ports
                .obtain(device, interface, dealing, desks)
                .map_err(|e| format!("interface {name}: {device}: {e}"))?;
            slots.push(Some(port.slot));
            dealt.push(port.dealt);
            macs.push(port.mac);
        }
        // Nothing can be wrong any more: sessions that are open see the pools as they are from here on.
        self.pools.follow(&specs.iter().flatten().cloned().collect::<Vec<_>>());
        let tls = tls.into_iter().zip(&specs).map(|(tls, spec)| {
            let pooling = self.pools.pooling(spec.as_ref().map(|spec| spec.name.as_str()));
            tls.map(|tls: ProxyTls| Arc::new(tls.pooled(pooling)))
        });
        let tls = tls.collect();
        (self.acls, self.in_force, self.looked) = (Arc::new(acls), in_force, now);
        (self.slots, self.dealt, self.macs, self.tls) = (slots, dealt, macs, tls);
        self.partners = Arc::new(partners);
        self.policy = Some(checked.clone());
        self.policy_generation = generation;
        Ok(self.runtime(checked))
    }

    /// Takes a domain table. Without a policy there is nothing to publish yet: it comes into force with the first one.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn take_domains(&mut self, fd: OwnedFd, generation: u64) -> Result<Option<Runtime>, String> {
        let region = Region::map_rw(fd).map_err(|e| format!("domain table: {e}"))?;
        let reader = DomainReader::attach(region).map_err(|e| format!("domain table: {e}"))?;
        self.domains = Some(Arc::new(reader));
        self.domains_generation = generation;
        Ok(self.policy.clone().map(|policy| self.runtime(policy)))
    }

    /// An image for Unix second `now` where a time-range has begun or ended since the last look.
    pub fn look(&mut self, now: i64) -> Option<Runtime> {
        let policy = self.policy.clone().filter(|_| self.looked != now)?;
        self.looked = now;
        let in_force = time_ranges::in_force(&policy.view(), now);
        if in_force == self.in_force {
            return None;
        }
        self.acls = Arc::new(runtime::compile(&policy.view(), &self.acls, &in_force));
        self.in_force = in_force;
        Some(self.runtime(policy))
    }

    fn runtime(&self, policy: Arc<Checked>) -> Runtime {
        let mut runtime = Runtime::new(policy, self.acls.clone(), self.domains.clone());
        runtime.slots.clone_from(&self.slots);
        runtime.dealt.clone_from(&self.dealt);
        runtime.macs.clone_from(&self.macs);
        runtime.tls.clone_from(&self.tls);
        runtime.federation.partners = self.partners.clone();
        // Here, so that no worker has to.
        runtime.view().ways();
        runtime
    }
}
