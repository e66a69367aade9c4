//! Dialling, sending, and what a bad network does to it.

use runepeer::base::{ContactId, Onion, SessionId};
use runepeer::engine::Input;
use runepeer::engine::io::{DIALLED_SESSIONS, DialError};
use runepeer::wire::{Code, Disposition};

use crate::carriers::CARRIERS;
use crate::climate::SECOND;
use crate::net::End;
use crate::node::Held;
use crate::world::{Event, NOWHERE, World};

impl World {
    pub(crate) fn latency(&mut self) -> i64 {
        let (low, high) = self.climate.latency;
        self.between(low, high)
    }

    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        if to >= CARRIERS {
            return self.hosts[self.nodes[from].host].present;
        }
        let (from, to) = (&self.hosts[self.nodes[from].host], &self.hosts[self.nodes[to].host]);
        from.present && to.present && (!self.partitioned || from.partition == to.partition)
    }

    pub(crate) fn dial(&mut self, n: usize, session: SessionId, onion: Onion, contact: Option<ContactId>) {
        let life = self.nodes[n].life;
        let book = self.nodes[n].running.as_ref().map(|running| &running.published.book);
        if let Some(entry) = book.zip(contact).and_then(|(book, contact)| book.contact(contact)) {
            assert_eq!(entry.address.onion(), onion, "the circuits of a contact lead to that contact alone");
        }
        let number = self.by_onion.get(&onion).copied();
        self.dials.push((n, self.now, number.unwrap_or(NOWHERE)));
        if let Some(running) = &mut self.nodes[n].running {
            running.open.insert(session);
        }
        let to = self.by_onion.get(&onion).copied();
        let there = to.filter(|to| self.reaches(n, *to) && self.is_up(*to));
        let fails = self.climate.dial_fails;
        let there = there.filter(|_| !self.chance(fails));
        let delay = match there {
            Some(_) => 3 * self.latency(),
            None => self.between(SECOND, 60 * SECOND),
        };
        self.at(delay, Event::Dialled(n, life, session, there));
    }

    pub(crate) fn dialled(&mut self, n: usize, life: u32, session: SessionId, to: Option<usize>) {
        if !self.lives(n, life) {
            return;
        }
        self.note(5, n, to.unwrap_or(NOWHERE));
        let there = to.filter(|to| self.reaches(n, *to) && self.is_up(*to));
        let Some(to) = there else {
            if let Some(running) = &mut self.nodes[n].running {
                running.open.remove(&session);
            }
            let online = self.hosts[self.nodes[n].host].present;
            let error = if online { DialError::Unreachable } else { DialError::Offline };
            return self.feed(n, Input::Dialled(session, Err(error)));
        };
        if let Some(c) = to.checked_sub(CARRIERS) {
            self.accept_at_carrier(c, (n, session));
            return self.feed(n, Input::Dialled(session, Ok(())));
        }
        let other = self.accept(to, (n, session));
        if let Some(other) = other {
            self.feed(to, Input::Accepted(other));
        }
        self.feed(n, Input::Dialled(session, Ok(())));
    }

    fn is_up(&self, to: usize) -> bool {
        match to.checked_sub(CARRIERS) {
            Some(c) => self.carrier_is_up(c),
            None => self.nodes[to].running.is_some(),
        }
    }

    fn life_of(&self, to: usize) -> u32 {
        match to.checked_sub(CARRIERS) {
            Some(c) => self.carrier_life(c),
            None => self.nodes.get(to).map_or(0, |node| node.life),
        }
    }

    /// A connection arrives at a node.
    pub(crate) fn accept(&mut self, to: usize, from: End) -> Option<SessionId> {
        let running = self.nodes[to].running.as_mut()?;
        running.next_session += 1;
        let other = SessionId(running.next_session);
        running.open.insert(other);
        self.net.connect(from, (to, other), self.now);
        Some(other)
    }

    pub(crate) fn transmit(&mut self, n: usize, session: SessionId, mut bytes: Vec<u8>) {
        let end = (n, session);
        self.note_sent(n, &bytes);
        let Some(to) = self.net.other(end) else { return };
        if to.0 < CARRIERS || to.0 == NOWHERE {
            self.overhear(end, to, &bytes);
        }
        if session.0 < DIALLED_SESSIONS && refuses(&bytes) {
            self.witness.refused.insert((to.0, n));
        }
        if self.nodes[n].hostile && self.chance(60) {
            self.tamper(&mut bytes);
        }
        let acknowledges = bytes.windows(4).any(|window| window == b"202 ");
        let odds = if acknowledges { self.climate.cut_acknowledgement } else { self.climate.cut };
        if self.chance(odds) {
            return self.cut(end);
        }
        self.send_pieces(end, bytes);
    }

    /// What a carrier says.
    pub(crate) fn transmit_from_carrier(&mut self, end: End, bytes: Vec<u8>) {
        let acknowledges = bytes.windows(4).any(|window| window == b"202 ");
        let odds = if acknowledges { self.climate.cut_acknowledgement } else { self.climate.cut };
        if self.chance(odds) {
            return self.cut(end);
        }
        self.send_pieces(end, bytes);
    }

    fn send_pieces(&mut self, end: End, bytes: Vec<u8>) {
        let mut pieces = vec![bytes];
        if self.below(8) == 0 && pieces[0].len() > 1 {
            let at = 1 + self.below(pieces[0].len() as u64 - 1) as usize;
            let rest = pieces[0].split_off(at);
            pieces.push(rest);
        }
        for piece in pieces {
            let latency = self.latency();
            let Some((to, at)) = self.net.send(end, self.now, latency) else { return };
            let life = self.life_of(to.0);
            self.at(at - self.now, Event::Bytes(to, life, piece));
        }
    }

    /// Remembers what is delivered, once all of it was acknowledged: what was refused may be taken when it comes again.
    pub(crate) fn overhear(&mut self, from: End, to: End, bytes: &[u8]) {
        let count = |what: &[u8]| bytes.windows(what.len()).filter(|window| *window == what).count();
        if from.1.0 >= DIALLED_SESSIONS {
            let objects = count(b"MESSAGE -");
            if objects > 0 {
                let (answers, pieces) = self.unanswered.entry(to).or_default();
                *answers += objects;
                pieces.push(bytes.to_vec());
            }
            return;
        }
        let Some((answers, _)) = self.unanswered.get_mut(&from) else { return };
        *answers = answers.saturating_sub(count(b"202 "));
        let refused = [&b" 4"[..], b" 7"].iter().any(|class| count(class) > 0) || bytes.starts_with(b"4");
        if refused {
            self.unanswered.remove(&from);
        } else if *answers == 0
            && let Some((_, pieces)) = self.unanswered.remove(&from)
        {
            self.overheard.extend(pieces.into_iter().map(|piece| (from.0, piece)));
            while self.overheard.len() > 20 {
                self.overheard.pop_front();
            }
        }
    }

    pub(crate) fn tamper(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len().max(1) as u64) as usize;
        match self.below(5) {
            0 => bytes.truncate(at),
            1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x41),
            2 => bytes.extend_from_slice(b"202 ROGER\n"),
            3 => {
                let again = bytes.clone();
                bytes.extend_from_slice(&again);
            }
            _ => drop(bytes.splice(..0, *b"SEND x\nMESSAGE - #99999999\n")),
        }
    }

    /// A connection breaks: one end notices, the other perhaps much later.
    pub(crate) fn cut(&mut self, end: End) {
        let Some(other) = self.net.other(end) else { return };
        for end in [end, other] {
            self.net.leave(end);
            let life = self.life_of(end.0);
            let late = if self.below(2) == 0 { 2 * SECOND } else { 90 * SECOND };
            let delay = self.between(0, late);
            self.at(delay, Event::Closed(end, life));
        }
    }

    pub(crate) fn close(&mut self, n: usize, session: SessionId) {
        let end = (n, session);
        if let Some(running) = &mut self.nodes[n].running {
            running.open.remove(&session);
            running.held.remove(&session);
        }
        self.close_end(end);
    }

    /// An end is closed by its owner.
    pub(crate) fn close_end(&mut self, end: End) {
        // After what was sent.
        if let Some((to, at)) = self.net.send(end, self.now, 1) {
            let life = self.life_of(to.0);
            self.at(at - self.now, Event::Closed(to, life));
        }
        self.net.leave(end);
    }

    pub(crate) fn bytes(&mut self, end: End, life: u32, bytes: Vec<u8>) {
        self.note(6, end.0, bytes.len());
        if let Some(c) = end.0.checked_sub(CARRIERS).filter(|_| end.0 != NOWHERE) {
            if self.carrier_life(c) == life && self.net.other(end).is_some() {
                self.arrive_at_carrier(c, end.1, Held::Bytes(bytes));
            }
            return;
        }
        if self.lives(end.0, life) && self.net.other(end).is_some() {
            self.arrive(end, Held::Bytes(bytes));
        }
    }

    pub(crate) fn closed(&mut self, end: End, life: u32) {
        self.net.leave(end);
        if let Some(c) = end.0.checked_sub(CARRIERS).filter(|_| end.0 != NOWHERE) {
            if self.carrier_life(c) == life {
                self.arrive_at_carrier(c, end.1, Held::Closed);
            }
            return;
        }
        if self.lives(end.0, life) {
            self.note(7, end.0, 0);
            self.arrive(end, Held::Closed);
        }
    }

    /// Something happens on a session; it waits while the machine reads no further.
    pub(crate) fn arrive(&mut self, (n, session): End, what: Held) {
        let Some(running) = &mut self.nodes[n].running else { return };
        if running.open.contains(&session) {
            running.held.entry(session).or_default().push_back(what);
            self.release(n);
            self.schedule_wake(n);
        }
    }

    pub(crate) fn release(&mut self, n: usize) {
        loop {
            let Some(running) = &mut self.nodes[n].running else { return };
            let ready = |session: &SessionId| !running.identity.is_blocked(*session);
            let Some(session) = running.held.keys().copied().find(|session| ready(session)) else { return };
            let Some(queue) = running.held.get_mut(&session) else { return };
            let input = match queue.pop_front() {
                None => {
                    running.held.remove(&session);
                    continue;
                }
                Some(Held::Bytes(bytes)) => Input::Received(session, bytes),
                Some(Held::Closed) => {
                    running.open.remove(&session);
                    running.held.remove(&session);
                    Input::Closed(session)
                }
            };
            self.tell_clock(n);
            let local = self.local(n);
            let node = &mut self.nodes[n];
            let Some(running) = &mut node.running else { return };
            let effects = running.identity.handle(local, &mut node.rng, input);
            self.perform(n, effects);
        }
    }
}

/// Whether one of these answers ends a message for good.
fn refuses(answers: &[u8]) -> bool {
    let codes = answers.split(|byte| byte.is_ascii_whitespace()).filter(|word| word.len() == 3);
    let mut codes = codes.filter_map(|word| Code::new(std::str::from_utf8(word).ok()?.parse().ok()?));
    codes.any(|code| code.disposition() == Disposition::Permanent)
}
