// SPDX-License-Identifier: MIT OR Apache-2.0
//! What operators do with trustpoints beside configuring them: keys are made, certificates asked for, imported and looked after.
//!
//! | what | module |
//! | --- | --- |
//! | key pairs and certificates on disk | [`store`] |
//! | requests, and certificates signed by their own key | [`enroll`] |
//! | PEM and PKCS#12 that operators bring | [`import`] |
//! | distinguished names | [`name`] |
//! | what a certificate says, and when it ends | [`facts`] |
//!
//! Nothing here changes a configuration: the commands (`operate/crypto.rs`) write files by these modules and then commit the
//! lines that name them, by the way that every line goes. All on control's one thread; none of it is ever near a packet.

pub mod crl;
pub mod enroll;
pub mod facts;
pub mod import;
pub mod name;
pub mod store;

#[cfg(test)]
mod tests;
