// SPDX-License-Identifier: MIT OR Apache-2.0
//! Signatures in certificates and revocation lists that have been verified before.
//!
//! A partner has few edges, and each calls again and again with the same chain: the signature of its CA under its certificate is a fifth of
//! what a session's handshakes cost, and says the same every time. What is remembered is arithmetic and nothing else: that this key
//! made this signature under these bytes. Dates, purposes, constraints, names and revocation are looked at anew in every handshake, and so is the
//! peer's own signature, which proves that it has its key.
//!
//! A table of [`PLACES`] digests a thread, so a worker shares it with nobody and its memory is bounded; a digest has one place, where it displaces
//! what was there. Whoever fills it with certificates of its own (only signed ones count) costs others the time that was saved, no more.
//! Only success is remembered. Called by webpki through [`super::peers`], on the worker's core.

use aws_lc_rs::digest;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use std::cell::RefCell;

/// Signatures remembered by a thread, 8 KiB; a power of two.
const PLACES: usize = 256;
type Digest = [u8; digest::SHA256_OUTPUT_LEN];

thread_local! {
    static VERIFIED: RefCell<Vec<Digest>> = const { RefCell::new(Vec::new()) };
}

/// An algorithm that is run once for the same key, message and signature.
#[derive(Debug)]
pub(super) struct Known(pub(super) &'static dyn SignatureVerificationAlgorithm);

impl Known {
    /// Names a verification: no two differ in any part of it and share a digest.
    fn digest(&self, parts: [&[u8]; 3]) -> Digest {
        let mut context = digest::Context::new(&digest::SHA256);
        let (key, signature) = (self.0.public_key_alg_id(), self.0.signature_alg_id());
        for part in [key.as_ref(), signature.as_ref()].into_iter().chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut out = Digest::default();
        out.copy_from_slice(context.finish().as_ref());
        out
    }
}

/// Where a digest is kept. Its bits are as good as random.
fn place(digest: &Digest) -> usize {
    usize::from(u16::from_le_bytes([digest[0], digest[1]])) % PLACES
}

impl SignatureVerificationAlgorithm for Known {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let digest = self.digest([public_key, message, signature]);
        VERIFIED.with_borrow_mut(|verified| {
            if verified.get(place(&digest)) == Some(&digest) {
                return Ok(());
            }
            self.0.verify_signature(public_key, message, signature)?;
            verified.resize(PLACES, Digest::default());
            verified[place(&digest)] = digest;
            Ok(())
        })
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.0.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.0.signature_alg_id()
    }

    fn fips(&self) -> bool {
        self.0.fips()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::alg_id;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Holds what is signed by itself backwards, and counts how often it is asked.
    #[derive(Debug)]
    struct Backwards(AtomicUsize, AlgorithmIdentifier);

    impl SignatureVerificationAlgorithm for Backwards {
        fn verify_signature(
            &self,
            key: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<(), InvalidSignature> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let holds = signature.iter().rev().eq(key.iter().chain(message));
            holds.then_some(()).ok_or(InvalidSignature)
        }

        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            self.1
        }

        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            self.1
        }
    }

    fn known(id: AlgorithmIdentifier) -> (&'static Backwards, Known) {
        let inner: &'static Backwards = Box::leak(Box::new(Backwards(AtomicUsize::new(0), id)));
        (inner, Known(inner))
    }

    fn signed(key: &[u8], message: &[u8]) -> Vec<u8> {
        key.iter().chain(message).rev().copied().collect()
    }

    #[test]
    fn the_same_is_asked_once_and_an_error_every_time() {
        let (inner, known) = known(alg_id::ECDSA_SHA256);
        let asked = || inner.0.load(Ordering::Relaxed);
        for _ in 0..3 {
            assert!(known.verify_signature(b"key", b"message", &signed(b"key", b"message")).is_ok());
        }
        assert_eq!(asked(), 1);
        for n in 2..5 {
            assert!(known.verify_signature(b"key", b"message", b"forged").is_err());
            assert_eq!(asked(), n);
        }
    }

    /// The same bytes say nothing by another algorithm, nor in another thread's table.
    #[test]
    fn another_algorithm_is_asked_itself() {
        let (first, one) = known(alg_id::ECDSA_SHA256);
        let (second, two) = known(alg_id::ED25519);
        let signature = signed(b"k", b"m");
        for known in [&one, &two, &one, &two] {
            assert!(known.verify_signature(b"k", b"m", &signature).is_ok());
        }
        assert_eq!((first.0.load(Ordering::Relaxed), second.0.load(Ordering::Relaxed)), (1, 1));
    }

    proptest! {
        /// Whatever was asked before, the answer is the algorithm's own; bytes moved over a border make another question.
        #[test]
        fn says_what_the_algorithm_says(
            asked in prop::collection::vec((prop::collection::vec(0u8..3, 0..4), prop::collection::vec(0u8..3, 0..4), any::<bool>()), 1..200),
        ) {
            let (inner, known) = known(alg_id::ECDSA_SHA256);
            for (key, message, forged) in asked {
                let mut signature = signed(&key, &message);
                if forged {
                    signature.push(1);
                }
                let said = known.verify_signature(&key, &message, &signature);
                prop_assert_eq!(said.is_ok(), inner.verify_signature(&key, &message, &signature).is_ok());
            }
        }
    }

    /// Many more than there is room for: none is taken for another, and memory stays.
    #[test]
    fn the_table_is_bounded() {
        let (_, known) = known(alg_id::ECDSA_SHA256);
        for n in 0..10_000_u32 {
            let message = n.to_be_bytes();
            assert!(known.verify_signature(b"k", &message, &signed(b"k", &message)).is_ok());
            assert!(known.verify_signature(b"j", &message, &signed(b"k", &message)).is_err());
        }
        VERIFIED.with_borrow(|verified| assert_eq!(verified.len(), PLACES));
    }
}
