// SPDX-License-Identifier: MIT OR Apache-2.0
//! Envelopes of SOAP 1.1 and 1.2, in and out.
//!
//! One request is one element of the service's namespace in the body. A header that must be understood and is not ours is refused,
//! as both versions have it. The document is read by [`crate::xml`], with its bounds: no document types, no entities, little depth.
//!
//! Pure.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::xml::{self, Element, escape};

/// The namespace of the service.
const EPAS: &str = "urn:cisco:epas:soap";

/// Which SOAP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V11,
    V12,
}

/// Why a request is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    kind: Kind,
    why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sender,
    Receiver,
    MustUnderstand,
    Version,
}

impl Fault {
    pub(super) fn sender(why: &str) -> Self {
        Self { kind: Kind::Sender, why: why.to_owned() }
    }

    pub(super) fn ending() -> Self {
        Self { kind: Kind::Receiver, why: "the node does not answer".to_owned() }
    }
}

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) version: Version,
    pub(super) session_key: Option<String>,
    pub(super) request: Element,
}

impl Envelope {
    /// Reads one; with a fault comes the version to say it in, where that is known.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, (Option<Version>, Fault)> {
        let root = xml::parse(bytes).map_err(|why| (None, Fault::sender(&why.to_string())))?;
        let version = [Version::V11, Version::V12].into_iter().find(|version| version.namespace() == root.ns);
        let version = version.filter(|_| root.name == "Envelope").ok_or_else(|| {
            let why = "neither an envelope of SOAP 1.1 nor one of 1.2".to_owned();
            (None, Fault { kind: Kind::Version, why })
        })?;
        Self::of(version, root).map_err(|fault| (Some(version), fault))
    }

    fn of(version: Version, root: Element) -> Result<Self, Fault> {
        let part = |name: &str| {
            let found =
                root.children.iter().find(|child| child.ns == version.namespace() && child.name == name);
            found.map(|part| part.children.as_slice())
        };
        let mut session_key = None;
        for entry in part("Header").unwrap_or_default() {
            if entry.ns == EPAS && entry.name == "session-key" {
                session_key = Some(entry.text.trim().to_owned());
            } else if must_be_understood(entry) {
                let why = format!("the header {} is not understood", entry.name);
                return Err(Fault { kind: Kind::MustUnderstand, why });
            }
        }
        match part("Body") {
            Some([request]) if request.ns == EPAS => {
                Ok(Self { version, session_key, request: request.clone() })
            }
            Some(_) => Err(Fault::sender(&format!("the body is not one element of {EPAS}"))),
            None => Err(Fault::sender("there is no body")),
        }
    }
}

fn must_be_understood(entry: &Element) -> bool {
    entry.attributes.iter().any(|(name, value)| {
        let local = name.rsplit(':').next().unwrap_or_default();
        local == "mustUnderstand" && matches!(value.trim(), "1" | "true")
    })
}

impl Version {
    fn namespace(self) -> &'static str {
        match self {
            Self::V11 => "http://schemas.xmlsoap.org/soap/envelope/",
            Self::V12 => "http://www.w3.org/2003/05/soap-envelope",
        }
    }

    /// An answer with this element, or this fault, in it.
    pub(super) fn response(self, answer: Result<String, Fault>) -> Response {
        let (status, body) = match answer {
            Ok(element) => (StatusCode::OK, element),
            Err(fault) => self.fault(&fault),
        };
        let kind = match self {
            Self::V11 => "text/xml; charset=utf-8",
            Self::V12 => "application/soap+xml; charset=utf-8",
        };
        (status, [(header::CONTENT_TYPE, kind)], self.enveloped(&body)).into_response()
    }

    fn enveloped(self, body: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soap:Envelope xmlns:soap=\"{}\" xmlns:epas=\"{EPAS}\"><soap:Body>{body}</soap:Body></soap:Envelope>\n",
            self.namespace()
        )
    }

    /// By SOAP 1.1 section 6.2 a fault is a 500; by 1.2 (part 2, section 7.4.2) one of the sender's is a 400.
    fn fault(self, fault: &Fault) -> (StatusCode, String) {
        let why = escape(&fault.why);
        let (code, status) = match (self, fault.kind) {
            (Self::V11, Kind::Sender) => ("Client", StatusCode::INTERNAL_SERVER_ERROR),
            (Self::V11, Kind::Receiver) => ("Server", StatusCode::INTERNAL_SERVER_ERROR),
            (Self::V12, Kind::Sender) => ("Sender", StatusCode::BAD_REQUEST),
            (Self::V12, Kind::Receiver) => ("Receiver", StatusCode::INTERNAL_SERVER_ERROR),
            (_, Kind::MustUnderstand) => ("MustUnderstand", StatusCode::INTERNAL_SERVER_ERROR),
            (_, Kind::Version) => ("VersionMismatch", StatusCode::INTERNAL_SERVER_ERROR),
        };
        let body = match self {
            Self::V11 => {
                format!(
                    "<soap:Fault><faultcode>soap:{code}</faultcode><faultstring>{why}</faultstring></soap:Fault>"
                )
            }
            Self::V12 => format!(
                "<soap:Fault><soap:Code><soap:Value>soap:{code}</soap:Value></soap:Code>\
                 <soap:Reason><soap:Text xml:lang=\"en\">{why}</soap:Text></soap:Reason></soap:Fault>"
            ),
        };
        (status, body)
    }
}

/// What is fuzzed (`crate::fuzzed`): a request is one element of the service, and what is said to anything else is an envelope itself.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzzed(data: &[u8]) {
    match Envelope::read(data) {
        Ok(envelope) => assert_eq!(envelope.request.ns, EPAS),
        Err((version, fault)) => {
            let version = version.unwrap_or(Version::V11);
            let text = version.enveloped(&version.fault(&fault).1);
            let root = xml::parse(text.as_bytes()).expect("our own");
            assert_eq!((root.ns.as_str(), root.children.len()), (version.namespace(), 1), "{text}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "http://schemas.xmlsoap.org/soap/envelope/";
    const NEW: &str = "http://www.w3.org/2003/05/soap-envelope";

    fn read(ns: &str, header: &str, body: &str) -> Result<Envelope, (Option<Version>, Fault)> {
        let text = format!(
            "<s:Envelope xmlns:s='{ns}' xmlns:e='{EPAS}'><s:Header>{header}</s:Header>{body}</s:Envelope>"
        );
        Envelope::read(text.as_bytes())
    }

    #[test]
    fn a_request_in_either_version() {
        for (ns, version) in [(OLD, Version::V11), (NEW, Version::V12)] {
            let envelope = read(ns, "<e:session-key> k </e:session-key><x/>", "<s:Body><e:logout/></s:Body>")
                .expect("one");
            assert_eq!((envelope.version, envelope.session_key.as_deref()), (version, Some("k")));
            assert_eq!(envelope.request.name, "logout");
        }
    }

    #[test]
    fn what_is_no_request_is_named() {
        let must = "<x s:mustUnderstand='1'/>";
        for (ns, header, body, version, word) in [
            ("urn:soap", "", "<s:Body><e:logout/></s:Body>", None, "neither"),
            (OLD, must, "<s:Body><e:logout/></s:Body>", Some(Version::V11), "understood"),
            (NEW, "", "<s:Body><logout/></s:Body>", Some(Version::V12), "not one element"),
            (NEW, "", "<s:Body><e:a/><e:b/></s:Body>", Some(Version::V12), "not one element"),
            (NEW, "", "<s:Body/>", Some(Version::V12), "not one element"),
            (OLD, "", "<e:logout/>", Some(Version::V11), "no body"),
        ] {
            let (said, fault) = read(ns, header, body).expect_err(body);
            assert_eq!(said, version, "{body}");
            assert!(fault.why.contains(word), "{}", fault.why);
        }
        let doctype = "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>";
        let (_, fault) = Envelope::read(doctype.as_bytes()).expect_err("a document type");
        assert!(fault.why.contains("type of its own"), "{}", fault.why);
    }
}
