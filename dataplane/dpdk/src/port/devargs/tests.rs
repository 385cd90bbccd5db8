// SPDX-License-Identifier: MIT OR Apache-2.0
//! Device descriptions, good and bad.

use proptest::prelude::*;

use super::*;

#[test]
fn names_are_taken_from_the_front() {
    for (text, name, devargs) in [
        ("net_tap0,iface=x", "net_tap0", "net_tap0,iface=x"),
        ("net_null0", "net_null0", "net_null0"),
        ("vdev:net_memif0,role=server,socket=/tmp/a", "net_memif0", "net_memif0,role=server,socket=/tmp/a"),
        ("0000:03:00.0", "0000:03:00.0", "0000:03:00.0"),
        ("pci:0000:03:1F.7,x=1", "0000:03:1f.7", "0000:03:1f.7,x=1"),
        ("3b:00.1", "0000:3b:00.1", "0000:3b:00.1"),
    ] {
        let expected = Devargs { name: name.into(), devargs: devargs.into() };
        assert_eq!(parse(text, true).expect(text), expected);
    }
}

#[test]
fn bad_descriptions_say_what_is_wrong() {
    for (text, says) in [
        ("", "neither"),
        (",iface=x", "neither"),
        ("net tap0", "neither"),
        ("bus=pci,addr=1", "neither"),
        ("0000:03:00.8", "neither"),
        ("0000:03:20.0", "neither"),
        ("0:0000:03:00.0", "neither"),
        ("crypto_null0", "net_"),
        ("net_tap0,iface=x\n", "control"),
        ("net_tap0\0", "control"),
        (&format!("net_{}", "x".repeat(60)), "63"),
    ] {
        let error = parse(text, true).expect_err(text).to_string();
        assert!(error.contains(says), "{text:?}: {error}");
    }
    let error = parse("03:00.0", false).expect_err("no PCI").to_string();
    assert!(error.contains("without PCI"), "{error}");
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused_and_a_name_is_safe(text in ".{0,80}") {
        if let Ok(Devargs { name, devargs }) = parse(&text, true) {
            prop_assert!(devargs.starts_with(&name) && name.len() <= LONGEST_NAME);
            prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && b != b','));
        }
    }
}
