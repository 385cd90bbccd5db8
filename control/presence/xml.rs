// SPDX-License-Identifier: MIT OR Apache-2.0
//! XML from peers: a small tree, or a named error.
//!
//! What makes XML dangerous is refused rather than survived: a document type (and with it every entity of its own), more depth,
//! elements, attributes or octets than presence documents have, prefixes that are bound to nothing, anything but one root. Of references
//! there are the five of XML itself and characters. quick-xml pulls the events and resolves namespaces; it expands nothing.
//!
//! Pure; called by the core on bodies that the framer has bounded already.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// Octets of a document.
pub const MAX_LEN: usize = 65_536;
/// Elements inside each other.
const MAX_DEPTH: usize = 32;
/// Elements in all.
const MAX_ELEMENTS: usize = 2_000;
/// Attributes of one element.
const MAX_ATTRIBUTES: usize = 32;

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// More than [`MAX_LEN`].
    #[error("the document is too long")]
    Long,
    /// Not UTF-8.
    #[error("the document is not UTF-8")]
    Utf8,
    /// Deeper than 32.
    #[error("the document is too deep")]
    Deep,
    /// Too many elements or attributes.
    #[error("the document has too many parts")]
    Many,
    /// It brings a document type.
    #[error("the document declares a type of its own")]
    Doctype,
    /// A reference to an entity of its own, or to a character that cannot stand in XML.
    #[error("a reference to an unknown entity")]
    Entity,
    /// A prefix bound to nothing.
    #[error("an unbound namespace prefix")]
    Prefix,
    /// Not well formed.
    #[error("not well-formed XML")]
    Malformed,
}

/// One element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its namespace; empty for none.
    pub ns: String,
    /// Its local name.
    pub name: String,
    /// Its attributes by the names they were written with, declarations of namespaces left out.
    pub attributes: Vec<(String, String)>,
    /// All text directly in it.
    pub text: String,
    /// The elements in it.
    pub children: Vec<Element>,
}

impl Element {
    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// This element and all in it, in document order.
    pub fn descendants(&self) -> Vec<&Element> {
        let mut all = vec![self];
        let mut at = 0;
        while let Some(element) = all.get(at) {
            let children: Vec<_> = element.children.iter().collect();
            at += 1;
            all.splice(at..at, children);
        }
        all
    }
}

/// Reads one document.
pub fn parse(bytes: &[u8]) -> Result<Element, XmlError> {
    if bytes.len() > MAX_LEN {
        return Err(XmlError::Long);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Utf8)?;
    let mut reader = NsReader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut count = 0;
    loop {
        let (ns, event) = reader.read_resolved_event().map_err(|_| XmlError::Malformed)?;
        match event {
            Event::Start(_) | Event::Empty(_) if root.is_some() => return Err(XmlError::Malformed),
            Event::Start(start) => {
                open.push(element(&ns, &start, &mut count)?);
                if open.len() > MAX_DEPTH {
                    return Err(XmlError::Deep);
                }
            }
            Event::Empty(start) => {
                if open.len() >= MAX_DEPTH {
                    return Err(XmlError::Deep);
                }
                let empty = element(&ns, &start, &mut count)?;
                close(empty, &mut open, &mut root);
            }
            Event::End(_) => {
                let closed = open.pop().ok_or(XmlError::Malformed)?;
                close(closed, &mut open, &mut root);
            }
            Event::Text(text) => add_text(&text.xml_content(XmlVersion::Implicit1_0), &mut open)?,
            Event::CData(data) => add_text(&data.xml_content(XmlVersion::Implicit1_0), &mut open)?,
            Event::GeneralRef(reference) => {
                let mut buffer = [0; 4];
                let text = match reference.resolve_char_ref().map_err(|_| XmlError::Entity)? {
                    Some(c) if is_xml_char(c) => &*c.encode_utf8(&mut buffer),
                    Some(_) => return Err(XmlError::Entity),
                    None => resolve_predefined_entity(&reference).ok_or(XmlError::Entity)?,
                };
                let inner = open.last_mut().ok_or(XmlError::Malformed)?;
                inner.text.push_str(text);
            }
            Event::DocType(_) => return Err(XmlError::Doctype),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    if open.is_empty() { root.ok_or(XmlError::Malformed) } else { Err(XmlError::Malformed) }
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn add_text(text: &str, open: &mut [Element]) -> Result<(), XmlError> {
    match open.last_mut() {
        _ if !text.chars().all(is_xml_char) => Err(XmlError::Malformed),
        Some(element) => {
            element.text.push_str(text);
            Ok(())
        }
        None if text.trim().is_empty() => Ok(()),
        None => Err(XmlError::Malformed),
    }
}

fn element(ns: &ResolveResult<'_>, start: &BytesStart<'_>, count: &mut usize) -> Result<Element, XmlError> {
    *count += 1;
    if *count > MAX_ELEMENTS {
        return Err(XmlError::Many);
    }
    let ns = match ns {
        ResolveResult::Bound(ns) => ns.0.to_owned(),
        ResolveResult::Unbound => String::new(),
        ResolveResult::Unknown(_) => return Err(XmlError::Prefix),
    };
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| XmlError::Malformed)?;
        let key = attribute.key.as_ref();
        if key == "xmlns" || key.starts_with("xmlns:") {
            continue;
        }
        if attributes.len() >= MAX_ATTRIBUTES {
            return Err(XmlError::Many);
        }
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| XmlError::Entity)?;
        if !value.chars().all(is_xml_char) {
            return Err(XmlError::Malformed);
        }
        attributes.push((key.to_owned(), value.into_owned()));
    }
    let name = start.local_name().as_ref().to_owned();
    Ok(Element { ns, name, attributes, text: String::new(), children: Vec::new() })
}

/// `Char` of XML 1.0.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Text as it may stand in a document; what cannot stand in XML at all is left out.
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_xml_char) {
        return quick_xml::escape::escape(text);
    }
    let clean: String = text.chars().filter(|c| is_xml_char(*c)).collect();
    Cow::Owned(quick_xml::escape::escape(clean.as_str()).into_owned())
}

#[cfg(test)]
mod tests;
