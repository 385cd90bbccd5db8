// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;

use super::*;

fn fault(text: &str) -> XmlError {
    parse(text.as_bytes()).expect_err(text)
}

#[test]
fn what_is_refused_and_why() {
    let bomb = "<!DOCTYPE a [<!ENTITY x \"xxxxxxxxxx\"><!ENTITY y \"&x;&x;&x;\">]><a>&y;</a>";
    assert_eq!(fault(bomb), XmlError::Doctype);
    assert_eq!(fault("<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><a/>"), XmlError::Doctype);
    assert_eq!(fault("<a>&y;</a>"), XmlError::Entity);
    assert_eq!(fault("<a b='&y;'/>"), XmlError::Entity);
    assert_eq!(fault("<a>&#1;</a>"), XmlError::Entity);
    assert_eq!(fault("<a>&#xD800;</a>"), XmlError::Entity);
    assert_eq!(fault("<p:a/>"), XmlError::Prefix);
    assert_eq!(fault("<a/><a/>"), XmlError::Malformed);
    assert_eq!(fault("<a/>text"), XmlError::Malformed);
    for text in [
        "",
        "text",
        "<a>",
        "<a></b>",
        "</a>",
        "<a",
        "<a b=1/>",
        "<a b='1' b='2'/>",
        "<a>\u{1}</a>",
        "<a b='\u{1}'/>",
    ] {
        assert_eq!(fault(text), XmlError::Malformed, "{text}");
    }
    assert_eq!(parse(&[b'<', b'a', b'>', 0xff, b'<', b'/', b'a', b'>']), Err(XmlError::Utf8));
}

#[test]
fn bounds_hold_at_their_edge() {
    let nested = |n: usize| "<a>".repeat(n) + &"</a>".repeat(n);
    assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(fault(&nested(MAX_DEPTH + 1)), XmlError::Deep);
    // Far deeper than any stack.
    assert_eq!(fault(&nested(9_000)), XmlError::Deep);
    let wide = |n: usize| format!("<r>{}</r>", "<a/>".repeat(n - 1));
    assert!(parse(wide(MAX_ELEMENTS).as_bytes()).is_ok());
    assert_eq!(fault(&wide(MAX_ELEMENTS + 1)), XmlError::Many);
    let long = |n: usize| format!("<a>{}</a>", "x".repeat(n - 7));
    assert!(parse(long(MAX_LEN).as_bytes()).is_ok());
    assert_eq!(fault(&long(MAX_LEN + 1)), XmlError::Long);
    let attributes: String = (0..=MAX_ATTRIBUTES).map(|i| format!(" a{i}='1'")).collect();
    assert_eq!(fault(&format!("<a{attributes}/>")), XmlError::Many);
}

#[test]
fn a_tree_with_its_namespaces() {
    let root = parse(b"\xef\xbb\xbf<?xml version='1.0'?><p xmlns='urn:a' xmlns:b='urn:b'>x<b:q k='1&lt;2'>&amp;&#65;</b:q>y</p>")
        .expect("a document");
    assert_eq!((root.ns.as_str(), root.name.as_str(), root.text.as_str()), ("urn:a", "p", "xy"));
    let q = &root.children[0];
    assert_eq!((q.ns.as_str(), q.name.as_str(), q.text.as_str()), ("urn:b", "q", "&A"));
    assert_eq!(q.attribute("k"), Some("1<2"));
    assert_eq!(root.descendants().len(), 2);
}

proptest! {
    #[test]
    fn any_text_survives_the_way_out_and_in(text in "\\PC*") {
        let clean: String = text.chars().filter(|c| is_xml_char(*c)).collect();
        let document = format!("<a b=\"{0}\">{0}</a>", escape(&text));
        let root = parse(document.as_bytes()).expect("our own");
        prop_assert_eq!(&root.text, &clean);
        prop_assert_eq!(root.attribute("b"), Some(clean.as_str()));
    }

    #[test]
    fn any_octets_end_in_a_tree_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn any_markup_ends_in_a_tree_or_an_error(
        parts in proptest::collection::vec(proptest::sample::select(
            &["<a>", "</a>", "<b x='1'>", "</b>", "<c/>", "&amp;", "&#65;", "text", "<!--x-->", "<?p?>", "<![CDATA[<]]>", "&x;", "<!DOCTYPE a>"][..]
        ), 0..20)
    ) {
        let _ = parse(parts.concat().as_bytes());
    }
}
