//! What drives a machine: its inputs, its effects, its clock, and the crypto pool.

use runepeer::base::{ClockStep, SealKeyId};
use runepeer::engine::api::RequestId;
use runepeer::engine::io::Refusal;
use runepeer::engine::{Effect, Input};

use crate::climate::{MINUTE, duration};
use crate::crypto;
use crate::node::Waiting;
use crate::world::{Event, Work, World};

impl World {
    /// Gives a machine an input, and does what it decides.
    pub(crate) fn feed(&mut self, n: usize, input: Input) {
        self.tell_clock(n);
        let local = self.local(n);
        let node = &mut self.nodes[n];
        let Some(running) = &mut node.running else { return };
        let effects = running.identity.handle(local, &mut node.rng, input);
        self.perform(n, effects);
        self.release(n);
        self.schedule_wake(n);
    }

    /// Tells a machine that its clock was set, as the driver does before anything else.
    pub(crate) fn tell_clock(&mut self, n: usize) {
        let (local, skew) = (self.local(n), self.hosts[self.nodes[n].host].skew);
        let node = &mut self.nodes[n];
        let Some(running) = &mut node.running else { return };
        let by = skew - std::mem::replace(&mut running.skew, skew);
        if by.abs() < MINUTE {
            return;
        }
        let span = duration(by.abs());
        let step = if by > 0 { ClockStep::Forward(span) } else { ClockStep::Back(span) };
        let effects = running.identity.handle(local, &mut node.rng, Input::ClockSet(step));
        self.perform(n, effects);
    }

    pub(crate) fn schedule_wake(&mut self, n: usize) {
        let skew = self.hosts[self.nodes[n].host].skew;
        let (now, life) = (self.now, self.nodes[n].life);
        let Some(running) = &mut self.nodes[n].running else { return };
        let Some(due) = running.identity.poll_timeout() else { return };
        let due = (due.millis() - skew).max(now);
        if due < running.wake {
            running.wake = due;
            self.at(due - now, Event::Wake(n, life));
        }
    }

    pub(crate) fn wake(&mut self, n: usize, life: u32) {
        if !self.lives(n, life) {
            return;
        }
        self.note(1, n, 0);
        self.tell_clock(n);
        let local = self.local(n);
        let node = &mut self.nodes[n];
        let Some(running) = &mut node.running else { return };
        if running.wake > self.now {
            return;
        }
        running.wake = i64::MAX;
        let effects = running.identity.handle_timeout(local, &mut node.rng);
        self.perform(n, effects);
        self.release(n);
        self.schedule_wake(n);
    }

    pub(crate) fn perform(&mut self, n: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Commit(op, transaction, durability) => {
                    self.ask_commit(n, Waiting { op, transaction, durability })
                }
                Effect::Open(op, object) => self.work(n, Work::Open(op, object)),
                Effect::VerifyCard(op, evidence) => self.work(n, Work::VerifyCard(op, evidence)),
                Effect::CheckCertificate(op, bytes, key) => self.work(n, Work::Check(op, bytes, key)),
                Effect::Seal(op, content, to, sizes) => self.work(n, Work::Seal(op, content, to, sizes)),
                Effect::SealBody(op, header, body, to, sizes) => {
                    self.work(n, Work::SealBody(op, header, body, to, sizes));
                }
                Effect::ForBox(op, keys, work) => self.work(n, Work::ForBox(op, keys, work)),
                Effect::MakeSealKey(op) => self.work(n, Work::MakeSealKey(op)),
                Effect::DestroySealKeys(op, ids) => self.work(n, Work::DestroySealKeys(op, ids)),
                Effect::ReadBody(op, body) => self.work(n, Work::Read(op, body)),
                Effect::Forget(bodies) => {
                    if let Some(running) = &mut self.nodes[n].running {
                        running.log.forget(bodies);
                    }
                }
                Effect::Dial(session, onion, contact) => self.dial(n, session, onion, contact),
                Effect::Transmit(session, bytes) => self.transmit(n, session, bytes),
                Effect::Close(session) => self.close(n, session),
                Effect::Respond(RequestId(id), answer) => drop(self.answers.insert((n, id), answer)),
                Effect::Publish(snapshot) => {
                    if let Some(running) = &mut self.nodes[n].running {
                        running.published = snapshot;
                    }
                }
            }
        }
    }

    pub(crate) fn work(&mut self, n: usize, work: Work) {
        let (delay, life) = (self.between(1, 40), self.nodes[n].life);
        self.at(delay, Event::Done(n, life, work));
    }

    pub(crate) fn done(&mut self, n: usize, life: u32, work: Work) {
        if !self.lives(n, life) {
            return;
        }
        self.note(2, n, 0);
        let own = self.nodes[n].fingerprint;
        let node = &mut self.nodes[n];
        let Some(running) = &mut node.running else { return };
        let input = match work {
            Work::Open(op, object) => {
                let opened = crypto::open(&own, &node.seal_keys, &object, &running.published);
                if let Some(opened) = opened.as_ref().ok().filter(|_| node.hostile) {
                    self.forger.notes(n, false, &opened.content, &opened.signature);
                }
                Input::Opened(op, opened)
            }
            Work::VerifyCard(op, evidence) => Input::CardVerified(op, crypto::verify_card(&own, &evidence)),
            Work::Check(op, bytes, key) => Input::CertificateChecked(op, crypto::fingerprint_of(&bytes) == Ok(key)),
            Work::MakeSealKey(op) => {
                let id = SealKeyId::random(&mut node.rng);
                node.seal_keys.push(id);
                Input::SealKeyMade(op, Ok((id, crypto::renewed(&own, id).into())))
            }
            Work::DestroySealKeys(op, ids) => {
                node.seal_keys.retain(|key| !ids.contains(key));
                Input::SealKeysHeld(op, Some(node.seal_keys.clone()))
            }
            Work::Seal(op, content, to, sizes) => {
                if let Some(sent) = &mut self.sent {
                    sent.entry(n).or_default().push(content.clone());
                }
                if node.hostile {
                    self.forger.notes(n, true, &content, &[]);
                }
                Input::Sealed(op, crypto::seal(&own, &to, &content, sizes, &mut node.rng))
            }
            Work::ForBox(op, keys, work) => {
                Input::BoxWorked(op, crypto::work_for_box(keys.expose(), work, &mut node.rng))
            }
            Work::SealBody(op, header, body, to, sizes) => {
                let sealed =
                    running.log.read_body(body, 0..u64::MAX).map_err(|_| Refusal::Temporary).and_then(|body| {
                        let content = [header.as_bytes(), &body].concat();
                        if node.hostile {
                            self.forger.notes(n, true, &content, &[]);
                        }
                        if let Some(sent) = &mut self.sent {
                            sent.entry(n).or_default().push(content.clone());
                        }
                        crypto::seal(&own, &to, &[header.as_bytes(), &body].concat(), sizes, &mut node.rng)
                    });
                Input::Sealed(op, sealed)
            }
            Work::Read(op, body) => Input::BodyRead(op, running.log.read_body(body, 0..u64::MAX).ok()),
        };
        self.feed(n, input);
    }
}
