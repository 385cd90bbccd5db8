// SPDX-License-Identifier: MIT OR Apache-2.0
//! The methods of the IANA registry, and one for all others.
//!
//! Methods are case-sensitive (RFC 3261 section 7.1) and never decoded: `RE%47ISTER` is an unknown method, not
//! REGISTER. An unknown method is no error here; what to do about it is policy.

use std::fmt;

macro_rules! methods {
    ($($variant:ident $name:literal $rfc:literal;)+) => {
        /// A SIP method.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Method {
            $(#[doc = $rfc] $variant,)+
            /// Any other token; [`crate::message::Message::method_name`] has its text.
            Other,
        }

        impl Method {
            /// The method with this name.
            pub fn of(name: &str) -> Self {
                match name { $($name => Self::$variant,)+ _ => Self::Other }
            }

            /// Its name; `"other"` for [`Method::Other`].
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ Self::Other => "other" }
            }
        }
    };
}

methods! {
    Ack "ACK" "RFC 3261";
    Bye "BYE" "RFC 3261";
    Cancel "CANCEL" "RFC 3261";
    Info "INFO" "RFC 6086";
    Invite "INVITE" "RFC 3261";
    Message "MESSAGE" "RFC 3428";
    Notify "NOTIFY" "RFC 6665";
    Options "OPTIONS" "RFC 3261";
    Prack "PRACK" "RFC 3262";
    Publish "PUBLISH" "RFC 3903";
    Refer "REFER" "RFC 3515";
    Register "REGISTER" "RFC 3261";
    Subscribe "SUBSCRIBE" "RFC 6665";
    Update "UPDATE" "RFC 3311";
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
