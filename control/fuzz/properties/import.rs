// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates and keys that an operator pastes or names: PEM, base64, PKCS#12 under the passphrase `secret`. Any octets end in
//! certificates that read the same when written again, in an identity whose key is its certificate's, or in a sentence. Fuzzed by
//! `fuzz_targets`, replayed by `tests/fuzzed.rs`.

use fedgate_control::trust::import;

/// Holds for any octets.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(found) = import::certificates(&text) {
        assert!(!found.is_empty());
        assert_eq!(import::certificates(&import::to_pem(&found)).as_ref(), Ok(&found));
        let chain = import::completed(vec![found[0].clone()], &found);
        assert!(chain[0] == found[0] && chain.len() <= found.len());
    }
    if let Ok(bytes) = import::base64(&text) {
        assert_eq!(import::base64(&import::encoded("X", &bytes)), Ok(bytes));
    }
    if let Ok(identity) = import::pkcs12(data, "secret") {
        let chain = import::to_pem(&identity.chain);
        assert_eq!(import::certificates(&chain), Ok(identity.chain));
        assert!(identity.key.contains("PRIVATE KEY"));
    }
}
