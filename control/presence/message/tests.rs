// SPDX-License-Identifier: MIT OR Apache-2.0
use super::{inner_uri, number, param, parts};

#[test]
fn lists_are_cut_outside_quotes_and_brackets_only() {
    let list = r#"<sip:a@x;lr,q>;p="1,2", "a\",<" <sip:b@x> ,<sip:c@x>"#;
    let cut: Vec<_> = parts(list, b',').collect();
    assert_eq!(cut, [r#"<sip:a@x;lr,q>;p="1,2""#, r#""a\",<" <sip:b@x>"#, "<sip:c@x>"]);
    assert_eq!(cut.iter().map(|e| inner_uri(e)).collect::<Vec<_>>(), ["sip:a@x;lr,q", "sip:b@x", "sip:c@x"]);
    assert_eq!(inner_uri("sip:d@x;tag=1"), "sip:d@x");
}

#[test]
fn numbers_are_digits_and_never_overflow() {
    assert_eq!(number(" 3600 "), Some(3600));
    assert_eq!(number("99999999999999999999"), Some(u32::MAX));
    for bad in ["", "-1", "+1", "1.5", "0x10", "1 2"] {
        assert_eq!(number(bad), None, "{bad}");
    }
}

#[test]
fn parameters_by_name() {
    assert_eq!(param("active;expires=60;Reason=\"x;y\"", "reason"), Some("x;y"));
    assert_eq!(param("active;expires=60", "expires"), Some("60"));
    assert_eq!(param("active;lr", "lr"), Some(""));
    assert_eq!(param("active", "expires"), None);
}
