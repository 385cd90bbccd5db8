// SPDX-License-Identifier: MIT OR Apache-2.0
//! The classes against the RFC's own lists, and the cursor's corners.

use super::*;

#[test]
fn token_is_the_rfc_list() {
    for b in 0..=255u8 {
        assert_eq!(is(b, TOKEN), b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b), "{b:#x}");
    }
}

#[test]
fn number_is_digits_only_and_checked() {
    assert_eq!(number("0068", 255), Some(68));
    assert_eq!(number("255", 255), Some(255));
    for bad in ["", "256", "+5", "-1", "0x10", "1e3", " 5", "5 ", "999999999999999999999999999999"] {
        assert_eq!(number(bad, 255), None, "{bad:?}");
    }
    assert_eq!(number("18446744073709551615", u64::MAX), Some(u64::MAX));
    assert_eq!(number("18446744073709551616", u64::MAX), None);
}

#[test]
fn quoted_string_corners() {
    let quoted = |s| Cursor::new(s).quoted();
    assert_eq!(quoted("\"a\\\"b\" <"), Some("\"a\\\"b\""));
    assert_eq!(quoted("\"\\\0\\\x07\\\x7f\""), Some("\"\\\0\\\x07\\\x7f\""));
    assert_eq!(quoted("\"дом\""), Some("\"дом\""));
    for bad in ["\"open", "\"\0\"", "\"\x07\"", "\"\\", "\"\\\r\n \"", "\"\\д\"", "none"] {
        assert_eq!(quoted(bad), None, "{bad:?}");
    }
}

#[test]
fn escapes_need_two_hex_digits() {
    assert!(all_escaped("a%20b%fF", USER));
    for bad in ["%", "%2", "%zz", "a%2"] {
        assert!(!all_escaped(bad, USER), "{bad:?}");
    }
}

#[test]
fn params_refuse_empty_names_and_values() {
    let parse = |s| {
        let mut c = Cursor::new(s);
        c.params(|_, _| true) && c.at_end()
    };
    assert!(parse("; a = b ;c;d=\"x;y\";e=[::1];f=2001:db8::1"));
    for bad in [";", ";;", ";a=", ";a=;b", ";=x", ";a=b c", ";a=\"", "; a b", ";a=[zz]"] {
        assert!(!parse(bad), "{bad:?}");
    }
}
