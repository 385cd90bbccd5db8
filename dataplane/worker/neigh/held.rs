// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packets that wait for their neighbours: one pool of nodes for all queues, set aside at the start.
//!
//! Each entry's queue is a list through the pool, oldest first; the pool's length is the bound on all of them together.
//! Nothing is allocated after [`Pool::new`]. Called by [`super::Neighbours`] only.

const NIL: u16 = u16::MAX;

#[derive(Debug)]
struct Node<P> {
    packet: Option<P>,
    next: u16,
}

/// Room for packets.
#[derive(Debug)]
pub(super) struct Pool<P> {
    nodes: Vec<Node<P>>,
    free: u16,
    len: usize,
}

/// One entry's packets. Dropping a queue that is not empty loses its nodes: it is popped empty first.
#[derive(Debug)]
pub(super) struct Queue {
    head: u16,
    tail: u16,
    len: u16,
}

impl Default for Queue {
    fn default() -> Self {
        Self { head: NIL, tail: NIL, len: 0 }
    }
}

impl Queue {
    pub(super) fn len(&self) -> u16 {
        self.len
    }
}

impl<P> Pool<P> {
    /// A pool for `room` packets, at most 65,535.
    pub(super) fn new(room: usize) -> Self {
        let room = room.min(usize::from(NIL)) as u16;
        let nodes = (1..=room).map(|next| Node { packet: None, next: if next == room { NIL } else { next } });
        Self { nodes: nodes.collect(), free: if room == 0 { NIL } else { 0 }, len: 0 }
    }

    /// Packets in all queues.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends a packet, or gives it back where there is no room.
    pub(super) fn push(&mut self, queue: &mut Queue, packet: P) -> Result<(), P> {
        let at = self.free;
        let Some(node) = self.nodes.get_mut(usize::from(at)) else { return Err(packet) };
        self.free = node.next;
        *node = Node { packet: Some(packet), next: NIL };
        match self.nodes.get_mut(usize::from(queue.tail)) {
            Some(last) => last.next = at,
            None => queue.head = at,
        }
        queue.tail = at;
        queue.len += 1;
        self.len += 1;
        Ok(())
    }

    /// Takes the oldest packet.
    pub(super) fn pop(&mut self, queue: &mut Queue) -> Option<P> {
        let at = queue.head;
        let node = self.nodes.get_mut(usize::from(at))?;
        let packet = node.packet.take();
        queue.head = std::mem::replace(&mut node.next, self.free);
        self.free = at;
        if queue.head == NIL {
            queue.tail = NIL;
        }
        queue.len -= 1;
        self.len -= 1;
        packet
    }
}
