// SPDX-License-Identifier: MIT OR Apache-2.0
//! EAL's options as text, and what happens at a second start. The start itself
//! is [`Eal::for_tests`], which every other test of this crate goes through.

use super::*;

const MEMINFO: &str = "MemTotal:       24683780 kB\nHugePages_Total:     512\nHugePages_Free:      300\n\
                       HugePages_Rsvd:       44\nHugePages_Surp:        0\nHugepagesize:       2048 kB\n";

fn words(options: &EalOptions, hugepages: bool) -> Vec<String> {
    let arguments = arguments(options, hugepages, &[0, 1, 2, 3]).expect("good options");
    arguments.into_iter().map(|word| word.into_string().expect("text")).collect()
}

#[test]
fn free_hugepages_leave_out_the_reserved_ones() {
    assert_eq!(free_hugepages_mib(MEMINFO), 512);
    assert_eq!(free_hugepages_mib("HugePages_Free: 7\n"), 0);
    assert_eq!(free_hugepages_mib("HugePages_Free: x\nHugepagesize: 2048 kB\n"), 0);
    assert_eq!(free_hugepages_mib(""), 0);
    assert_eq!(
        free_hugepages_mib(&format!("HugePages_Free: {}\nHugepagesize: 1048576 kB\n", u64::MAX)),
        u32::MAX
    );
}

#[test]
fn lcores_are_mapped_to_the_cpus_asked_for() {
    let options = EalOptions { main_cpu: 3, worker_cpus: vec![1, 2, 1], ..EalOptions::default() };
    assert!(words(&options, false).contains(&"--lcores=0@3,1@1,2@2,3@1".to_owned()));
}

#[test]
fn memory_and_pci_options() {
    let plain = words(&EalOptions::default(), false);
    for expected in ["--no-huge", "--no-shconf", "--no-pci"] {
        assert!(plain.iter().any(|word| word == expected), "{expected} in {plain:?}");
    }
    let options = EalOptions { pci: true, extra: vec!["--iova-mode=va".into()], ..EalOptions::default() };
    let huge = words(&options, true);
    assert!(huge.contains(&"--in-memory".to_owned()));
    assert!(huge.contains(&format!("--allow={NO_PCI_DEVICE}")));
    assert!(!huge.contains(&"--no-pci".to_owned()) && !huge.contains(&"--no-huge".to_owned()));
    assert_eq!(huge.last().map(String::as_str), Some("--iova-mode=va"));
}

#[test]
fn bad_options_are_named() {
    let base = EalOptions::default();
    let bad = |options: EalOptions| arguments(&options, false, &[0, 1]).expect_err("bad options");
    assert!(matches!(
        bad(EalOptions { worker_cpus: vec![1, 7], ..base.clone() }),
        Error::NoSuchCpu { cpu: 7, .. }
    ));
    assert!(matches!(bad(EalOptions { main_cpu: 9, ..base.clone() }), Error::NoSuchCpu { cpu: 9, .. }));
    assert!(matches!(
        bad(EalOptions { worker_cpus: vec![1; 128], ..base.clone() }),
        Error::TooManyWorkers { asked: 128, max: 127 }
    ));
    assert!(matches!(bad(EalOptions { memory_mib: 0, ..base.clone() }), Error::BadOption { .. }));
    for prefix in ["", "../x", "a/b", ".x"] {
        let options = EalOptions { prefix: prefix.into(), ..base.clone() };
        assert!(matches!(bad(options), Error::BadOption { .. }), "{prefix:?}");
    }
    assert!(matches!(
        bad(EalOptions { extra: vec!["--x\0y".into()], ..base }),
        Error::BadOption { option, .. } if option == "--x\0y"
    ));
}

#[test]
fn too_few_hugepages_is_an_error_only_when_they_are_a_must() {
    assert!(!use_hugepages(Huge::No, u32::MAX).expect("no hugepages"));
    assert!(!use_hugepages(Huge::Auto, u32::MAX).expect("never enough"));
    let refused = use_hugepages(Huge::Yes, u32::MAX).expect_err("never enough");
    assert!(matches!(refused, Error::NoHugepages { needed_mib: u32::MAX, .. }));
}

#[test]
fn a_second_start_is_refused() {
    let eal = Eal::for_tests();
    let cpu = allowed_cpus().expect("cpus")[0];
    let options = EalOptions { main_cpu: cpu, huge: Huge::No, ..EalOptions::default() };
    assert!(matches!(Eal::init(&options), Err(Error::AlreadyInitialised)));
    assert!(std::ptr::eq(eal, Eal::get().expect("still there")));
    assert!(!eal.hugepages() && !eal.pci());
}

#[test]
fn threads_move_between_cpus() {
    let eal = Eal::for_tests();
    // On a thread of its own, so as not to pin the one that other tests may run on.
    std::thread::spawn(|| {
        let all = allowed_cpus().expect("cpus");
        let last = *all.last().expect("a cpu");
        pin_thread(&[last]).expect("a cpu of ours");
        assert_eq!(allowed_cpus().expect("cpus"), [last]);
        eal.unpin_thread().expect("the cpus of before");
        assert_eq!(allowed_cpus().expect("cpus"), all);
        assert!(matches!(pin_thread(&[u32::MAX]), Err(Error::NoSuchCpu { cpu: u32::MAX, .. })));
        assert!(matches!(pin_thread(&[]), Err(Error::Affinity { .. })));
    })
    .join()
    .expect("no panic");
}

#[test]
fn the_clock_ticks_at_about_the_rate_it_says() {
    let eal = Eal::for_tests();
    let (wall, from) = (std::time::Instant::now(), crate::tsc());
    std::thread::sleep(std::time::Duration::from_millis(50));
    let (ticks, seconds) = (crate::tsc() - from, wall.elapsed().as_secs_f64());
    let ratio = ticks as f64 / (eal.tsc_hz() as f64 * seconds);
    assert!((0.9..1.1).contains(&ratio), "measured over stated rate: {ratio}");
}
