// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commits that are gone back to, by command and by themselves; lists by the file; entries that end.

use std::time::Duration;

use super::{CONFIG, Lab, generation, permitted, wait};
use crate::operate::daemon::Unconfirmed;
use crate::operate::protocol::{FAILED, USAGE};

/// As if the time to confirm had come.
fn time_is_up(lab: &Lab) {
    let path = lab.path("confirm");
    let mut kept: Unconfirmed = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    kept.until = 0;
    std::fs::write(&path, serde_json::to_string(&kept).unwrap()).unwrap();
}

#[test]
fn rollback_goes_back_with_the_domain_lists() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    let first = lab.running();
    lab.good("permit domain one.example comment of the first");
    lab.good("hostname second");
    lab.good("block domain foreign.example");
    lab.good("no permit domain one.example");
    lab.good("access-list out extended permit udp any any eq sip");
    let third = lab.running();
    let commits = lab.good("show configuration commits");
    let newest = commits.lines().nth(1).unwrap();
    assert!(
        newest.contains(" 0 ") && newest.ends_with("access-list out extended permit udp any any eq sip"),
        "{commits}"
    );
    assert_eq!(commits.lines().count(), 4, "{commits}");
    let diff = lab.good("show diff 1");
    assert!(diff.contains("\n+access-list out extended permit udp any any eq sip\n"), "{diff}");
    assert!(diff.contains("\n-permit domain one.example comment of the first\n"), "{diff}");
    lab.good("rollback 2");
    assert_eq!(lab.running(), first);
    assert_eq!(lab.good("show running-config"), first);
    assert!(permitted(&fake, "foreign.example") && !permitted(&fake, "one.example"));
    // Going back is a commit too, and can be gone back from.
    lab.good("rollback 1");
    assert_eq!(lab.running(), third);
    assert!(!permitted(&fake, "foreign.example"));
    assert_eq!(lab.cli("rollback 99").0, FAILED);
    assert_eq!(lab.cli("rollback").0, USAGE);
    assert_eq!(lab.good("show diff 0"), "");
    assert!(lab.good("show diff").contains("+hostname second\n"));
}

#[test]
fn what_is_not_confirmed_is_taken_back_by_the_next_control_too() {
    let lab = Lab::new();
    let fake = lab.fake();
    let control = lab.control();
    lab.good("permit domain before.example");
    let before = lab.running();
    lab.good("commit confirmed 5");
    lab.good("hostname tried");
    lab.good("no permit domain before.example");
    assert!(lab.cli("write memory").2.contains("wait to be confirmed"));
    assert!(lab.good("show configuration commits").starts_with("Back to commit "));
    drop(control);
    time_is_up(&lab);
    let _control = lab.control();
    wait("goes back", || lab.good("show running-config") == before);
    assert!(permitted(&fake, "before.example"));
    wait("is told", || !lab.path("confirm").exists());
    assert_eq!(lab.running(), before);
    assert_eq!(lab.cli("commit").0, FAILED);
    // Confirmed, it stays.
    lab.good("commit confirmed 1");
    lab.good("hostname stays");
    lab.good("commit");
    assert!(!lab.path("confirm").exists());
    lab.good("write memory");
}

#[test]
fn a_replacement_may_be_for_a_while() {
    let lab = Lab::new();
    let _fake = lab.fake();
    let control = lab.control();
    let before = lab.running();
    std::fs::write(lab.path("other.cfg"), CONFIG.replace("hostname fw", "hostname other")).unwrap();
    lab.good(&format!("configure replace {} confirmed 1", lab.path("other.cfg").display()));
    assert!(lab.running().contains("hostname other\n"));
    drop(control);
    time_is_up(&lab);
    let _control = lab.control();
    wait("goes back", || lab.running() == before);
    // One that is refused leaves nothing to go back from.
    std::fs::write(lab.path("bad.cfg"), "hostnme x\n").unwrap();
    wait("is done", || !lab.path("confirm").exists());
    assert_eq!(
        lab.cli(&format!("configure replace {} confirmed 1", lab.path("bad.cfg").display())).0,
        FAILED
    );
    assert!(!lab.path("confirm").exists());
}

#[test]
fn a_dataplane_that_starts_anew_has_nothing_to_go_back_from() {
    let lab = Lab::new();
    let fake = lab.fake();
    let control = lab.control();
    lab.good("commit confirmed 5");
    lab.good("hostname tried");
    drop((control, fake));
    time_is_up(&lab);
    let _fake = lab.fake();
    let _control = lab.control();
    assert!(!lab.path("confirm").exists());
    assert!(lab.good("show configuration commits").lines().nth(1).unwrap().ends_with("startup-config"));
}

#[test]
fn a_list_by_the_file_is_one_commit() {
    let lab = Lab::new();
    let fake = lab.fake();
    let control = lab.control();
    let path = lab.path("list.txt");
    let mut names = String::from("# partners\n*.wild.example peer edge.wild.example\n");
    (0..9000).for_each(|n| names.push_str(&format!("d{n}.example\n")));
    std::fs::write(&path, &names).unwrap();
    let before = generation(&fake);
    assert_eq!(lab.good(&format!("import domains permit {}", path.display())), "9001 entries changed\n");
    assert!(permitted(&fake, "d8999.example") && permitted(&fake, "x.wild.example"));
    assert_eq!(generation(&fake), before, "no policy was pushed");
    assert_eq!(lab.good(&format!("import domains permit {}", path.display())), "0 entries changed\n");
    drop(control);
    let control = lab.control();
    assert!(lab.running().contains("permit domain d7.example\n"));
    // One bad line, and nothing happens.
    std::fs::write(&path, "good.example\n*.com\nours.example\n").unwrap();
    let (code, _, err) = lab.cli(&format!("import domains permit {}", path.display()));
    assert_eq!(code, FAILED);
    assert!(
        err.contains("list.txt:2") && err.contains("list.txt:3") && !permitted(&fake, "good.example"),
        "{err}"
    );
    lab.good("rollback 1");
    assert!(!permitted(&fake, "d7.example") && permitted(&fake, "foreign.example"));
    drop(control);
    let _control = lab.control();
    assert!(!lab.running().contains("d7.example"));
}

#[test]
fn an_entry_ends_when_it_says() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    lab.good("permit domain past.example until 2020-01-01 comment was for a while");
    lab.good("permit domain later.example until 2090-01-01T12:00");
    lab.good("block domain foreign.example until 1999-12-31");
    wait("ends", || !permitted(&fake, "past.example") && permitted(&fake, "foreign.example"));
    std::thread::sleep(Duration::from_millis(50));
    assert!(permitted(&fake, "later.example"));
    let running = lab.running();
    assert!(
        running.contains("permit domain later.example until 2090-01-01T12:00\n")
            && !running.contains("past.example")
    );
    assert_eq!(lab.cli("permit domain a.example until 2026-02-30").0, USAGE);
}

/// One that cannot be taken out keeps no other, and all that have ended go at once.
#[test]
fn an_entry_that_does_not_go_keeps_no_other() {
    let lab = Lab::new();
    let names: String = (0..40).map(|n| format!("permit domain d{n}.example until 2010-01-01\n")).collect();
    super::syslog::certificates(&lab);
    let lines = "crypto ca trustpoint t\n ca file ca.crt\npermit domain stays.example trustpoint t until 2000-01-01\n";
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}{lines}{names}")).unwrap();
    let fake = lab.fake();
    // The first is in force; taking out what is bound to a trustpoint is another.
    fake.state().most_policies = 1;
    let _control = lab.control();
    wait("the others end", || (0..40).all(|n| !permitted(&fake, &format!("d{n}.example"))));
    assert!(permitted(&fake, "stays.example"));
}

/// The command by itself costs a line, not the list.
#[test]
fn one_domain_more_does_not_write_the_others() {
    let lab = Lab::new();
    let _fake = lab.fake();
    let _control = lab.control();
    let names: String = (0..5000).map(|n| format!("d{n}.example\n")).collect();
    std::fs::write(lab.path("list.txt"), names).unwrap();
    lab.good(&format!("import domains block {}", lab.path("list.txt").display()));
    let files = || {
        let entries = std::fs::read_dir(lab.folder.path()).unwrap().flatten();
        let sizes = entries
            .filter(|e| e.file_type().unwrap().is_file())
            .map(|e| (e.path(), e.metadata().unwrap().len()));
        sizes.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = files();
    lab.good("permit domain more.example");
    let more: Vec<u64> =
        files().iter().map(|(path, len)| len - before.get(path).copied().unwrap_or(0)).collect();
    assert_eq!(more.iter().sum::<u64>(), "00000000 permit domain more.example\n".len() as u64);
}

/// Names by the file and by command, through a restart and back; what each costs is printed. A million of them take a minute and a gigabyte
/// (`FEDGATE_NAMES=1000000 cargo nextest run -p fedgate-control --lib --no-capture many_names`).
#[test]
fn many_names_and_one() {
    let many: usize = std::env::var("FEDGATE_NAMES").map_or(20_000, |n| n.parse().unwrap());
    let lab = Lab::new();
    let fake = lab.fake();
    let control = lab.control();
    let clock = |what: &str, since: std::time::Instant| {
        eprintln!("{what}: {:.1} ms", since.elapsed().as_secs_f64() * 1e3)
    };
    let names: String = (0..many).map(|n| format!("partner{n}.example peer edge{n}.example\n")).collect();
    std::fs::write(lab.path("list.txt"), names).unwrap();
    let start = std::time::Instant::now();
    lab.good(&format!("import domains permit {}", lab.path("list.txt").display()));
    clock("import of them", start);
    assert!(permitted(&fake, &format!("partner{}.example", many - 1)));
    let start = std::time::Instant::now();
    for n in 0..1000 {
        lab.good(&format!("permit domain more{n}.example"));
    }
    clock("a thousand domain commands", start);
    let start = std::time::Instant::now();
    lab.good("hostname other");
    clock("a commit of something else", start);
    drop(control);
    let start = std::time::Instant::now();
    let _control = lab.control();
    clock("the next control takes over", start);
    assert!(permitted(&fake, "more999.example"));
    let start = std::time::Instant::now();
    lab.good("rollback 1");
    clock("rollback of the commands", start);
    assert!(!permitted(&fake, "more999.example") && permitted(&fake, "partner7.example"));
}
