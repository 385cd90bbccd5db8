// SPDX-License-Identifier: MIT OR Apache-2.0
//! What holds for any text (the parser ends, never panics, and points into the text) and for any model (what is printed
//! loads to the same model).

use super::super::check::check;
use super::super::diag::Severity;
use super::super::grammar::all;
use super::super::model::*;
use super::super::print::to_text;
use super::super::types::*;
use super::lists::{add_names, groups, line, net, object_addr, service};
use super::try_load;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Words that make many lines nearly right, and some that are not words.
fn word() -> impl Strategy<Value = String> {
    let known: Vec<String> = all()
        .flat_map(|s| s.words.split(' ').chain(s.usage.split([' ', '{', '}', '|', '[', ']'])))
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect();
    let values = [
        "any",
        "host",
        "10.0.0.1",
        "255.255.255.0",
        "0.0.0.0",
        "eq",
        "range",
        "tcp",
        "icmp",
        "echo",
        "(inside,outside)",
        "(inside)",
        "interface",
        "static",
        "source",
        "dynamic",
        "no",
        "\"",
        "*.a.b",
        "a.b",
        "5061",
        "0:05:00",
        "0000:03:00.0",
        "inside",
        "object",
    ];
    prop_oneof![
        4 => prop::sample::select(known),
        4 => prop::sample::select(values.map(str::to_owned).to_vec()),
        1 => "\\PC{0,6}",
        1 => any::<String>(),
    ]
}

proptest! {
    // Many a model at random does not pass the check.
    #![proptest_config(ProptestConfig { max_global_rejects: 16_384, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_text_panics(lines in vec((0usize..3, vec(word(), 0..9)), 0..12)) {
        let text: String = lines.iter().map(|(indent, words)| format!("{}{}\n", " ".repeat(*indent), words.join(" "))).collect();
        let report = match try_load(&text) {
            Ok(loaded) => loaded.report,
            Err(report) => report,
        };
        let count = text.lines().count().max(1);
        for d in &report.diagnostics {
            prop_assert!((1..=count).contains(&(d.problem.span.line as usize)));
            prop_assert!(d.problem.span.start <= d.problem.span.end);
        }
        report.render(false);
    }

    #[test]
    fn no_bytes_panic(text in any::<String>()) {
        if let Err(report) = try_load(&text) {
            report.render(true);
        }
    }

    #[test]
    fn printed_models_load_to_the_same(model in models()) {
        let faults = check(&model);
        prop_assume!(faults.iter().all(|(_, fault)| fault.severity == Severity::Warning));
        let text = to_text(&model);
        match try_load(&text) {
            Ok(loaded) => prop_assert_eq!(loaded.config.model, model, "{}", text),
            Err(report) => prop_assert!(false, "{}\n{}", text, report.render(false)),
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9_.-]{0,6}"
}

fn domain() -> impl Strategy<Value = String> {
    "[a-z]{1,5}\\.[a-z]{1,5}\\.example"
}

fn note() -> impl Strategy<Value = Note> {
    let comment = option::of("[a-z#!]{1,5}( [a-z0-9-]{1,5})?".prop_map(Into::into));
    (option::of((0i64..60_000_000).prop_map(Minute)), comment)
        .prop_map(|(until, comment)| Note { until, comment })
}

fn tcp_udp() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![6u8, 17])
}

fn device() -> impl Strategy<Value = Device> {
    prop_oneof![
        "[a-z][a-z0-9]{0,14}".prop_map(Device::Tap),
        ("/[a-z ]{1,9}", any::<bool>(), any::<u32>()).prop_map(|(socket, server, id)| Device::Memif {
            socket,
            server,
            id
        }),
        ("/[a-z]{1,9}", "/[a-z ]{1,9}").prop_map(|(rx, tx)| Device::Pcap { rx, tx }),
        (0u32..16).prop_map(Device::Null),
        Just(Device::Pci("0000:0a:1f.7".into())),
        "(Gigabit|TenGigabit|Fast|)Ethernet[0-9](/[0-9]{1,2}){0,2}".prop_map(Device::Slot),
    ]
}

/// Interfaces number `i` with networks of their own, the first two called `inside` and `outside`.
fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
    let settings = (
        (device(), device()),
        option::of(0u8..=100),
        any::<[u8; 6]>(),
        68u16..=9198,
        any::<(bool, bool, bool)>(),
    );
    vec(settings, 2..5).prop_map(|all| {
        let mut interfaces: Vec<Interface> = Vec::new();
        for (at, ((device, port), security_level, mac, mtu, (shutdown, no_proxy_arp, named))) in
            all.into_iter().enumerate()
        {
            if interfaces.iter().any(|i| i.device == device) {
                continue;
            }
            let named = named || at < 2;
            let nameif = named.then(|| ["inside", "outside", "dmz", "more", "last"][at].to_owned());
            let mac = Some(Mac(mac)).filter(|m| m.0[0] & 1 == 0 && m.0 != [0; 6]);
            let slots = matches!((&device, &port), (Device::Slot(_), Device::Tap(_) | Device::Pci(_)));
            interfaces.push(Interface {
                hardware: slots.then_some(port),
                address: Some((Ipv4Addr::new(10, at as u8, 0, 1), Ipv4Addr::new(255, 255, 0, 0))),
                mtu: if named { mtu } else { 1500 },
                no_proxy_arp: named && no_proxy_arp,
                ..Interface { nameif, security_level, mac, shutdown, ..Interface::new(device) }
            });
        }
        interfaces
    })
}

fn pair() -> impl Strategy<Value = IfPair> {
    prop_oneof![
        Just(IfPair { real: Some("inside".into()), mapped: Some("outside".into()) }),
        Just(IfPair { real: None, mapped: Some("outside".into()) }),
        Just(IfPair { real: Some("inside".into()), mapped: None }),
    ]
}

fn mapped() -> impl Strategy<Value = Mapped> {
    prop_oneof![
        Just(Mapped::Interface),
        Just(Mapped::Object("host-a".into())),
        (1u8..255).prop_map(|n| Mapped::Address(Ipv4Addr::new(203, 0, 113, n))),
    ]
}

fn pool() -> impl Strategy<Value = Pool> {
    any::<(bool, bool, bool, bool, bool, bool, bool)>().prop_map(
        |(pat, robin, flat, reserve, extended, blocks, interface)| Pool {
            pat,
            round_robin: pat && robin,
            extended: pat && extended,
            flat: pat && flat,
            include_reserve: pat && flat && reserve,
            blocks: pat && blocks && !extended,
            interface,
        },
    )
}

fn options(manual: bool) -> impl Strategy<Value = NatOptions> {
    (any::<(bool, bool, bool, bool)>(), option::weighted(0.2, "[a-z]{1,5}( [a-z]{1,5})?")).prop_map(
        move |((unidirectional, no_proxy_arp, route_lookup, inactive), description)| NatOptions {
            unidirectional: unidirectional && manual,
            no_proxy_arp,
            route_lookup,
            inactive: inactive && manual,
            description: description.filter(|_| manual),
        },
    )
}

fn object_nat() -> impl Strategy<Value = ObjectNat> {
    let service = option::of((tcp_udp(), any::<u16>(), any::<u16>()));
    (pair(), any::<bool>(), mapped(), pool(), service, options(false)).prop_map(
        |(pair, dynamic, mapped, pool, service, options)| {
            let pooled = dynamic && mapped != Mapped::Interface;
            ObjectNat {
                pair,
                dynamic,
                mapped,
                pool: if pooled { pool } else { Pool::default() },
                service: service.filter(|_| !dynamic),
                options: if dynamic { NatOptions::default() } else { options },
            }
        },
    )
}

fn manual_nat(after_auto: bool) -> impl Strategy<Value = ManualNat> {
    let real = prop_oneof![Just(None), Just(Some("host-a".to_owned())), Just(Some("host-b".to_owned()))];
    let services = option::of(Just(("svc-a".to_owned(), "svc-b".to_owned())));
    let destination = option::of(prop_oneof![Just(Mapped::Interface), Just(Mapped::Object("host-a".into()))]);
    let mapped = prop_oneof![
        Just(None),
        Just(Some(Mapped::Interface)),
        Just(Some(Mapped::Object("host-a".into()))),
        Just(Some(Mapped::Object("host-b".into())))
    ];
    let rest = (destination, services, pool(), options(true));
    (pair(), any::<bool>(), real, mapped, rest).prop_map(
        move |(pair, dynamic, real, mapped, (destination, service, pool, mut options))| {
            let pooled = dynamic && matches!(mapped, Some(Mapped::Object(_)));
            if dynamic {
                options = NatOptions {
                    inactive: options.inactive,
                    description: options.description,
                    ..NatOptions::default()
                };
            }
            ManualNat::Twice(TwiceNat {
                pair,
                after_auto,
                dynamic,
                real,
                mapped,
                pool: if pooled { pool } else { Pool::default() },
                destination: destination.map(|mapped| (mapped, "host-b".to_owned())),
                service,
                options,
            })
        },
    )
}

/// Models, most of which pass the check.
fn models() -> impl Strategy<Value = Model> {
    let objects = btree_map(name(), (option::of(object_addr()), option::weighted(0.3, object_nat())), 0..4);
    let services = (btree_map(name(), option::of(service()), 0..3), groups());
    let acls = btree_map(name(), vec(line(), 1..6), 0..4);
    let nat = (vec(manual_nat(false), 0..2), vec(manual_nat(true), 0..2));
    let routes = vec((net(), 2u8..250, 1u8..), 0..4);
    let entry = (option::of((option::of(domain()), note())), option::of(note()));
    let domains = (btree_set(domain(), 0..3), btree_map((domain(), any::<bool>()), entry, 0..6));
    let timers = (300u32..4_294_800, 60u32..4_294_967, 30u32..=300);
    let system = (option::of("[a-z]{1,9}"), option::of(domain()), any::<(bool, bool)>(), timers);
    (interfaces(), objects, services, acls, nat, routes, domains, system).prop_map(
        |(
            interfaces,
            objects,
            (services, groups),
            acls,
            nat,
            routes,
            (local, listed),
            (hostname, domain_name, same, timers),
        )| {
            let mut model =
                Model { interfaces, hostname, domain_name, local_domains: local, ..Model::default() };
            (model.same_security_inter, model.same_security_intra) = same;
            (model.timeouts.conn, model.timeouts.arp) = (Seconds(timers.0), Seconds(timers.1));
            model.timeouts.pat_xlate = Seconds(timers.2);
            for (name, (addr, nat)) in objects {
                let object = NetworkObject { addr, nat: nat.filter(|_| addr.is_some()), description: None };
                Arc::make_mut(&mut model.networks).insert(name, object);
            }
            model.services = Arc::new(services);
            model.groups = Arc::new(groups.into_iter().collect());
            add_names(&mut model);
            for (at, name) in acls.keys().enumerate() {
                let place =
                    [Place::In("inside".into()), Place::Out("outside".into()), Place::Global][at % 3].clone();
                model.access_groups.insert(place, name.clone());
                model.class_maps.insert(format!("class-{name}"), Some(ClassMatch::Acl(name.clone())));
            }
            let shared = |lines: Vec<AclLine>| Arc::new(lines.into_iter().map(Arc::new).collect());
            model.acls = acls.into_iter().map(|(name, lines)| (name.into(), shared(lines))).collect();
            let unique = |list: Vec<ManualNat>| {
                list.into_iter().fold(Vec::new(), |mut kept, rule| {
                    if !kept.contains(&rule) {
                        kept.push(rule);
                    }
                    kept
                })
            };
            (model.manual_nat, model.after_auto_nat) = (unique(nat.0), unique(nat.1));
            for (net, host, metric) in routes {
                let route =
                    Route { interface: "inside".into(), net, gateway: Ipv4Addr::new(10, 0, 0, host), metric };
                if !model.routes.contains(&route) {
                    model.routes.push(route);
                }
            }
            let domains = Arc::make_mut(&mut model.domains);
            for ((name, wildcard), (permit, block)) in listed {
                let entry = DomainEntry { permit: permit.map(|(peer, note)| Permit { peer, note }), block };
                if entry != DomainEntry::default() {
                    domains.insert(DomainKey { name, wildcard }, entry);
                }
            }
            model
        },
    )
}
