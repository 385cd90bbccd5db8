// SPDX-License-Identifier: MIT OR Apache-2.0
//! The page in a real browser: `page.py` is the users, in Debian's Chromium by Playwright; this is the foreign user on the other side.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{EDGE, Peer, header, status};
use crate::web::Web;

/// The Python that has what `requirements.txt` names: made once for a target folder, by whichever test comes first.
pub fn python() -> PathBuf {
    let wanted = include_str!("requirements.txt");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = std::fs::File::create(folder.join("web-python.lock")).expect("a lock");
    lock.lock().expect("locked");
    let (venv, made) = (folder.join("web-python"), folder.join("web-python/requirements.txt"));
    let python = venv.join("bin/python");
    if std::fs::read_to_string(&made).ok().as_deref() != Some(wanted) {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/requirements.txt");
        done(Command::new("/usr/bin/python3").args(["-m", "venv", "--clear"]).arg(&venv));
        done(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-r",
            source,
        ]));
        std::fs::write(&made, wanted).expect("written");
    }
    python
}

/// Runs a tool, which must succeed; what it has said otherwise.
pub fn done(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|why| panic!("{command:?}: {why}; scripts/setup installs it"));
    let said = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    assert!(out.status.success(), "{command:?}\n{}\n{}", said(&out.stdout), said(&out.stderr));
    said(&out.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_and_a_foreign_one_in_a_browser() {
    let python = python();
    let web = Web::start("", "");
    let extra = "Event: presence\r\nContact: <sip:x@127.0.0.2:9;transport=tcp>\r\n";
    let mut peers = Vec::new();
    for name in ["x", "y"] {
        let mut peer = Peer::connect(EDGE, web.node.addresses[0]).await;
        peer.request("SUBSCRIBE", &format!("{name}@foreign.example"), "bob@local.example", extra, "").await;
        assert_eq!(peer.response().await.map(|answer| status(&answer)), Some(200));
        let pending = peer.receive().await.expect("a NOTIFY");
        assert!(header(&pending, "Subscription-State").starts_with("pending"), "{pending}");
        peer.answer(&pending, 200).await;
        peers.push(peer);
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/page.py");
    let url = format!("https://localhost:{}", web.node.addresses[1].port());
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&pictures).expect("a folder");
    let mut command = Command::new(python);
    command.arg(script).arg(url).arg(pictures);
    let browser = tokio::task::spawn_blocking(move || done(&mut command));
    // x is let in, and told what bob is; y is not, and sees somebody who is offline.
    for (peer, expected) in peers.iter_mut().zip(["open", "closed"]) {
        let mut notify = None;
        for _ in 0..20 {
            notify = peer.receive().await;
            if notify.is_some() {
                break;
            }
        }
        let notify = notify.expect("a NOTIFY");
        assert!(header(&notify, "Subscription-State").starts_with("active"), "{notify}");
        assert!(notify.contains(&format!("<basic>{expected}</basic>")), "{notify}");
        peer.answer(&notify, 200).await;
    }
    browser.await.expect("the browser's users are content");
}
