// SPDX-License-Identifier: MIT OR Apache-2.0
//! The SOAP service as clients of Cisco Unified Presence use it: `soap.py` is one, made from the WSDL.

use std::process::Command;

use serde_json::json;

use crate::page::{done, python};
use crate::web::Web;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_made_from_the_wsdl() {
    let python = python();
    let web = Web::start("", "");
    let url = format!("https://localhost:{}", web.node.addresses[1].port());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/soap.py");
    done(Command::new(python).arg(script).arg(url).arg(web.folder.path().join("ca")));
    // The same as by any other way in.
    let bob = web.node.show("bob@local.example");
    let contacts: Vec<&str> = bob["contacts"]
        .as_array()
        .expect("contacts")
        .iter()
        .filter_map(|one| one["address"].as_str())
        .collect();
    assert_eq!(contacts, ["ann@local.example", "x@foreign.example"]);
    let decided = json!([{ "who": "x@foreign.example", "verdict": "block" }, { "who": "foreign.example", "verdict": "allow" }]);
    assert_eq!(bob["decisions"], decided);
    assert_eq!(bob["preferences"]["unknown-watchers"], "ask");
}
