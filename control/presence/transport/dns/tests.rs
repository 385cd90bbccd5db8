// SPDX-License-Identifier: MIT OR Apache-2.0
use hickory_resolver::proto::op::ResponseCode;

use super::*;

#[path = "../../../names/tests/server.rs"]
#[expect(dead_code, reason = "the appliance's tests of names misuse it in more ways")]
mod server;

use server::Server;

fn hops_of(server: &Server, host: &str, port: Option<u16>) -> Result<Vec<(String, Vec<String>)>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let at = SocketAddr::from(([127, 0, 0, 1], server.port));
    let found = runtime.block_on(async {
        let resolver = Resolver::new(&[at]).expect("a resolver");
        resolver.hops(host, port, |_| 0).await
    });
    found.map(|all| all.into_iter().map(|hop| (hop.address.to_string(), hop.names)).collect())
}

fn hop(address: &str, names: &[&str]) -> (String, Vec<String>) {
    (address.to_owned(), names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn the_edges_of_a_domain_in_their_order() {
    let server = Server::start();
    {
        let mut zone = server.zone.lock().expect("not poisoned");
        let owner = "_sipfederationtls._tcp.foreign.example.";
        zone.srv(owner, 60, (20, 0, 5061), "edge.hosted.example.");
        zone.srv(owner, 60, (10, 5, 5062), "Edge1.foreign.example.");
        zone.a("edge1.foreign.example.", 60, "198.51.100.1");
        zone.a("edge.hosted.example.", 60, "198.51.100.2");
        zone.srv("_sips._tcp.foreign.example.", 60, (0, 0, 5061), "other.foreign.example.");
    }
    // A target elsewhere has to show the domain's own name.
    let expected = vec![
        hop("198.51.100.1:5062", &["edge1.foreign.example", "foreign.example"]),
        hop("198.51.100.2:5061", &["foreign.example"]),
    ];
    assert_eq!(hops_of(&server, "foreign.example", None), Ok(expected));
}

#[test]
fn the_second_service_then_the_host_itself() {
    let server = Server::start();
    {
        let mut zone = server.zone.lock().expect("not poisoned");
        zone.srv("_sips._tcp.a.example.", 60, (0, 0, 5061), "a.example.");
        zone.a("a.example.", 60, "198.51.100.3");
        zone.a("b.example.", 60, "198.51.100.4");
        zone.srv("_sipfederationtls._tcp.c.example.", 60, (0, 0, 0), ".");
        zone.a("c.example.", 60, "198.51.100.5");
        zone.codes.insert("_sipfederationtls._tcp.d.example.".to_owned(), ResponseCode::ServFail);
        zone.a("d.example.", 60, "198.51.100.6");
    }
    assert_eq!(hops_of(&server, "a.example", None), Ok(vec![hop("198.51.100.3:5061", &["a.example"])]));
    assert_eq!(hops_of(&server, "b.example", None), Ok(vec![hop("198.51.100.4:5061", &["b.example"])]));
    assert_eq!(hops_of(&server, "c.example", None), Ok(Vec::new()), "it says that it has none");
    assert!(hops_of(&server, "d.example", None).is_err(), "nobody has denied it");
    assert_eq!(hops_of(&server, "nowhere.example", None), Ok(Vec::new()));
    // With a port there is nothing to look for.
    assert_eq!(hops_of(&server, "d.example", Some(5071)), Ok(vec![hop("198.51.100.6:5071", &["d.example"])]));
    assert_eq!(hops_of(&server, "192.0.2.7", None), Ok(vec![hop("192.0.2.7:5061", &["192.0.2.7"])]));
}

#[test]
fn a_name_that_only_ends_like_the_domain_is_not_below_it() {
    let address = || vec![IpAddr::from([192, 0, 2, 1])];
    let names = |target: &str| hops(address(), 1, target, "foreign.example").remove(0).names;
    assert_eq!(names("evilforeign.example"), ["foreign.example"]);
    assert_eq!(names("foreign.example.evil.example"), ["foreign.example"]);
    assert_eq!(names("foreign.example"), ["foreign.example"]);
    assert_eq!(names("sip.foreign.example"), ["sip.foreign.example", "foreign.example"]);
}

#[test]
fn the_lot_falls_by_weight() {
    let record =
        |priority, weight, target: &str| Srv { priority, weight, port: 1, target: target.to_owned() };
    let records =
        || vec![record(1, 0, "none"), record(1, 10, "a"), record(1, 30, "b"), record(2, 99, "late")];
    let first = |draw: u32| in_order(records(), |below| draw.min(below - 1))[0].target.clone();
    assert_eq!([0, 1, 10, 11, 40].map(first), ["none", "a", "a", "b", "b"]);
    for draw in [0, 5, 40] {
        let order = in_order(records(), |below| draw.min(below - 1));
        assert_eq!((order.len(), order[3].target.as_str()), (4, "late"));
    }
}
