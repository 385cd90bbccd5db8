// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why a framed message is refused by the scanner, the status that earns, and whether an answer may be sent at all.
//!
//! The status and reason phrase go to the peer; the kind, which says more, goes to counters and logs only. Plain data,
//! made on worker cores without allocation.

use crate::headers::HeaderName;

/// A message that is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ScanError {
    /// What is wrong.
    pub kind: ScanFault,
    /// It is a request other than ACK, so that it may be answered. Responses and ACKs never are: drop them.
    pub answerable: bool,
}

/// The kinds of [`ScanError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ScanFault {
    /// The first line is neither a request line nor a status line.
    #[error("malformed start line")]
    StartLine,
    /// The method is no token, longer than 128 octets, or `MSRP`, which begins another protocol's frame.
    #[error("malformed method")]
    Method,
    /// The Request-URI is no URI, or has headers in it.
    #[error("malformed Request-URI")]
    RequestUri,
    /// A SIP version other than 2.0.
    #[error("SIP version not supported")]
    Version,
    /// The status code is not three digits from 100 to 699.
    #[error("malformed status code")]
    StatusCode,
    /// The head does not end as it must, or has a CR or LF outside a line end.
    #[error("malformed line ends")]
    LineEnd,
    /// The first header begins with white space.
    #[error("folded start line")]
    Fold,
    /// The head is not UTF-8.
    #[error("head is not UTF-8")]
    Utf8,
    /// A control character outside a quoted pair.
    #[error("control character")]
    Control,
    /// A header whose name is no token or begins with `-`, or that has no colon.
    #[error("malformed header name")]
    HeaderName,
    /// A header that may stand once stands twice.
    #[error("more than one {0}")]
    Duplicate(HeaderName),
    /// A header that must be there is not.
    #[error("no {0}")]
    Missing(HeaderName),
    /// A header's value breaks its grammar or range.
    #[error("malformed {0}")]
    Malformed(HeaderName),
    /// CSeq names another method than the request line.
    #[error("CSeq names another method")]
    CSeqMethod,
    /// Content-Length is not the length of the body.
    #[error("Content-Length is not the length of the body")]
    BodyLength,
    /// More headers than [`crate::frame::Limits::headers`].
    #[error("too many headers")]
    TooManyHeaders,
    /// More Via values than [`crate::frame::Limits::vias`].
    #[error("too many Vias")]
    TooManyVias,
    /// A response that has passed a host that cannot exist (RFC 4475 section 3.3.10).
    #[error("response with an unroutable Via")]
    UnroutableVia,
    /// The Request-URI has no SIP domain by its scheme.
    #[error("unsupported URI scheme")]
    UriScheme,
    /// Max-Forwards is 0.
    #[error("Max-Forwards is 0")]
    TooManyHops,
}

impl ScanError {
    /// The SIP status it earns.
    pub fn status(&self) -> u16 {
        match self.kind {
            ScanFault::UriScheme => 416,
            ScanFault::TooManyHops => 483,
            ScanFault::Version => 505,
            ScanFault::TooManyHeaders | ScanFault::TooManyVias => 513,
            ScanFault::StartLine
            | ScanFault::Method
            | ScanFault::RequestUri
            | ScanFault::StatusCode
            | ScanFault::LineEnd
            | ScanFault::Fold
            | ScanFault::Utf8
            | ScanFault::Control
            | ScanFault::HeaderName
            | ScanFault::Duplicate(_)
            | ScanFault::Missing(_)
            | ScanFault::Malformed(_)
            | ScanFault::CSeqMethod
            | ScanFault::BodyLength
            | ScanFault::UnroutableVia => 400,
        }
    }

    /// The reason phrase for the answer: the status's own, without detail.
    pub fn reason(&self) -> &'static str {
        crate::answer::reason_phrase(self.status())
    }

    /// Name of its counter.
    pub fn name(&self) -> &'static str {
        match self.kind {
            ScanFault::StartLine | ScanFault::StatusCode => "start_line",
            ScanFault::Method => "method",
            ScanFault::RequestUri => "request_uri",
            ScanFault::Version => "version",
            ScanFault::LineEnd | ScanFault::Control => "ctl_char",
            ScanFault::Fold => "fold_bad",
            ScanFault::Utf8 => "utf8",
            ScanFault::HeaderName => "hdr_name",
            ScanFault::Duplicate(_) => "dup_single",
            ScanFault::Missing(_) => "missing",
            ScanFault::Malformed(HeaderName::From) => "from_garbage",
            ScanFault::Malformed(_) => "malformed",
            ScanFault::CSeqMethod => "cseq_method",
            ScanFault::BodyLength => "reframe_fail",
            ScanFault::TooManyHeaders | ScanFault::TooManyVias => "size_limit",
            ScanFault::UnroutableVia => "stray_resp",
            ScanFault::UriScheme => "uri_scheme",
            ScanFault::TooManyHops => "maxfwd",
        }
    }
}
