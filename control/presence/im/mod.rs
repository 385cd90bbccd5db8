// SPDX-License-Identifier: MIT OR Apache-2.0
//! The conversation of two users: texts into one session, whoever invited.
//!
//! Foreign domains take texts in sessions, local devices send them one by one. A conversation holds what one user has said and the other's
//! server has not acknowledged: one text at a time is on its way, the others wait in order. Without a session one is invited to;
//! a session that either side made serves both.
//!
//! A session may be gone without our knowing: a text that is answered 481, 480, 408 or not at all (503) is said once more in a new
//! session, and only then reported failed. A peer that invites anew has forgotten the old session; it is left as soon as the text on
//! its way there is answered. When both invite at once, both are accepted, and the inviter of the one with the greater Call-ID
//! ends it: both ends know which that is.
//!
//! Each text ends in exactly one [`Do::Done`]. Bound: [`MAX_QUEUE`] texts. Pure; the core does what it says.

pub mod sdp;

use std::collections::VecDeque;

use crate::ids::Tag;

/// Texts that wait for one conversation.
const MAX_QUEUE: usize = 32;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Do<T> {
    /// Invite to a session, and say which ([`Conversation::inviting`]).
    Invite,
    /// Send [`Conversation::sending`] in this session.
    Send(Tag),
    /// End this session.
    End(Tag),
    /// Tell who said it what became of it.
    Done(T, u16),
}

#[derive(Debug)]
struct Item<T> {
    text: T,
    again: bool,
}

/// The conversation of a local and a foreign user.
#[derive(Debug)]
pub struct Conversation<T> {
    queue: VecDeque<Item<T>>,
    /// On its way, and in which session.
    sending: Option<(Tag, Item<T>)>,
    active: Option<Tag>,
    inviting: Option<Tag>,
    /// An INVITE has been asked for that is not on its way yet.
    asked: bool,
    /// Ends when the text on its way there is answered.
    leaving: Option<Tag>,
}

impl<T> Default for Conversation<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            sending: None,
            active: None,
            inviting: None,
            asked: false,
            leaving: None,
        }
    }
}

impl<T> Conversation<T> {
    /// A user says something. `Err` where too much waits already.
    pub fn say(&mut self, text: T) -> Result<Vec<Do<T>>, T> {
        if self.queue.len() >= MAX_QUEUE {
            return Err(text);
        }
        self.queue.push_back(Item { text, again: false });
        Ok(self.next())
    }

    /// The INVITE that was asked for is on its way.
    pub fn inviting(&mut self, tag: Tag) {
        self.asked = false;
        self.inviting = Some(tag);
    }

    /// The session that texts go into.
    pub fn active(&self) -> Option<Tag> {
        self.active
    }

    /// The text on its way.
    pub fn sending(&self) -> Option<&T> {
        self.sending.as_ref().map(|(_, item)| &item.text)
    }

    /// Whether nothing waits and no session is there.
    pub fn is_over(&self) -> bool {
        self.is_quiet() && self.active.is_none()
    }

    /// Whether nothing is on its way.
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.sending.is_none() && self.inviting.is_none() && !self.asked
    }

    /// Our INVITE has made a session; `ours_stays` says which of two that crossed stays.
    pub fn invited(&mut self, tag: Tag, ours_stays: bool) -> Vec<Do<T>> {
        if self.inviting == Some(tag) {
            self.inviting = None;
        }
        if self.active.is_some() && !ours_stays {
            return vec![Do::End(tag)];
        }
        // The other one is its inviter's to end.
        self.active = Some(tag);
        self.next()
    }

    /// Our INVITE has been refused.
    pub fn refused(&mut self, tag: Tag, status: u16) -> Vec<Do<T>> {
        if self.inviting == Some(tag) {
            self.inviting = None;
        }
        if self.active.is_some() {
            return self.next();
        }
        self.queue.drain(..).map(|item| Do::Done(item.text, status)).collect()
    }

    /// The peer has made a session.
    pub fn peer_invited(&mut self, tag: Tag) -> Vec<Do<T>> {
        let mut todo = Vec::new();
        if let Some(old) = self.active.replace(tag) {
            if self.sending.as_ref().is_some_and(|(on, _)| *on == old) {
                // One that was being left already waits for nothing.
                todo.extend(self.leaving.replace(old).filter(|left| *left != old).map(Do::End));
            } else {
                todo.push(Do::End(old));
            }
        }
        todo.extend(self.next());
        todo
    }

    /// The text on its way in session `tag` has been answered.
    pub fn answered(&mut self, tag: Tag, status: u16) -> Vec<Do<T>> {
        let Some((_, mut item)) = self.sending.take_if(|(on, _)| *on == tag) else { return Vec::new() };
        let mut todo = Vec::new();
        let left = self.leaving.take_if(|left| *left == tag).is_some();
        let gone = matches!(status, 408 | 480 | 481 | 503);
        if gone && self.active == Some(tag) {
            self.active = None;
        }
        if left || (gone && status != 481) {
            todo.push(Do::End(tag));
        }
        if gone && !item.again {
            item.again = true;
            self.queue.push_front(item);
        } else {
            todo.push(Do::Done(item.text, if (200..300).contains(&status) { 200 } else { status }));
        }
        todo.extend(self.next());
        todo
    }

    /// A session has ended: the peer's BYE, or ours.
    pub fn ended(&mut self, tag: Tag) -> Vec<Do<T>> {
        if self.active == Some(tag) {
            self.active = None;
        }
        if self.leaving == Some(tag) {
            self.leaving = None;
        }
        self.next()
    }

    fn next(&mut self) -> Vec<Do<T>> {
        if self.sending.is_some() || self.queue.is_empty() {
            return Vec::new();
        }
        match (self.active, self.inviting) {
            (Some(tag), _) => {
                self.sending = self.queue.pop_front().map(|item| (tag, item));
                vec![Do::Send(tag)]
            }
            (None, None) if !self.asked => {
                self.asked = true;
                vec![Do::Invite]
            }
            (None, _) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
