//! The driver of a session: it moves bytes and performs the session's steps. It decides nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use super::receiver::DataProblem;
use super::session::{Identity, Session, Step};
use super::{Seat, Shared, reply};
use crate::base::limits::{SUBMISSION_GAIN_BYTES, UPLOAD_SMALL_BYTES};
use crate::engine::api::{DeliveryOptions, Submission};
use crate::engine::{Request, RequestError, Response};
use crate::gateway::account::Account;
use crate::gateway::pacer::{Tries, TurnedAway};
use crate::gateway::places::Place;
use crate::gateway::uploads::Upload;
use crate::mail::Address;
use crate::mail::outgoing::{self, Prepared};

const CHUNK: usize = 16 * 1024;
/// A message of more bytes than this is prepared on another thread than the one that serves the sessions, which it
/// would occupy for more than a millisecond.
const LARGE: usize = 32 * 1024;
/// A client that must give way gets this long to take the reason.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(super) async fn run<S>(shared: &Arc<Shared>, stream: S, shutdown: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let session = Session::new(shared.config.bounds.message);
    let (place, giving_way) = shared.before_login.enter();
    let mut connection = Connection {
        shared,
        stream,
        session,
        shutdown,
        since: Instant::now(),
        account: None,
        place: Some(place),
        tries: shared.config.bounds.pacer.tries(),
        seat: None,
        upload: None,
        buffer: vec![0; CHUNK],
    };
    // An error means that the client went away: there is nobody left to tell, and the client still has the messages
    // without a 250.
    let _gone: io::Result<()> = tokio::select! {
        ended = connection.run() => ended,
        () = giving_way.wait() => {
            connection.session.close("421 4.7.0 another connection needs the place; log in sooner");
            timeout(FAREWELL, connection.run()).await.unwrap_or(Ok(()))
        }
    };
}

struct Connection<'a, S> {
    shared: &'a Arc<Shared>,
    stream: S,
    session: Session,
    shutdown: watch::Receiver<bool>,
    since: Instant,
    account: Option<Arc<dyn Account>>,
    /// The place of a connection that has not logged in; `None` afterwards.
    place: Option<Place>,
    tries: Tries,
    seat: Option<Seat>,
    /// The memory reserved for the arriving message, and how much of it.
    upload: Option<(Upload, usize)>,
    buffer: Vec<u8>,
}

/// The result of waiting for input.
enum Waited {
    Bytes(usize),
    Silence,
    Shutdown,
    GivesWay,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<'_, S> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.session.next() {
                Step::Read => {
                    self.flush().await?;
                    self.make_room().await;
                    match self.wait().await? {
                        Waited::GivesWay => {
                            self.upload = None;
                            self.session.give_way();
                        }
                        Waited::Bytes(0) => return Ok(()),
                        Waited::Bytes(count) => {
                            if let Some((upload, _)) = &self.upload {
                                upload.moved(count);
                            }
                            self.session.receive(self.buffer.get(..count).unwrap_or_default());
                        }
                        Waited::Silence => self.session.close("421 4.4.2 silent for too long"),
                        Waited::Shutdown => self.session.close("421 4.3.2 the daemon is stopping"),
                    }
                }
                Step::Login { user, password } => {
                    self.flush().await?;
                    self.login(&user, password).await;
                }
                Step::Submit { recipients, message, asked } => {
                    self.flush().await?;
                    if let Some((upload, _)) = &self.upload {
                        upload.complete();
                    }
                    let reply = self.submit(recipients, message, asked).await;
                    self.upload = None;
                    self.session.submitted(&reply);
                }
                Step::Close => {
                    self.flush().await?;
                    return self.stream.shutdown().await;
                }
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let sent = timeout(self.shared.config.bounds.idle, async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        });
        sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reserves memory for the next bytes of a message: a small share at first, then enough for all of it.
    async fn make_room(&mut self) {
        let Some((stored, announced)) = self.session.arriving() else {
            self.upload = None;
            return;
        };
        let Some(account) = &self.account else { return };
        let wanted = stored.saturating_add(CHUNK);
        let has = self.upload.as_ref().map_or(0, |(_, room)| *room);
        if wanted <= has || self.session.gave_way() {
            return;
        }
        let bounds = &self.shared.config.bounds;
        let room = room(wanted, announced, bounds.message.saturating_add(CHUNK));
        self.upload = None;
        match bounds.uploads.begin(&account.address().to_string(), room).await {
            Some(upload) => self.upload = Some((upload, room)),
            None => self.session.give_way(),
        }
    }

    async fn wait(&mut self) -> io::Result<Waited> {
        let stopping = async {
            let _sender_gone = self.shutdown.wait_for(|stop| *stop).await;
        };
        // A message may arrive to its end; the daemon ends the task when its patience is over.
        let may_stop = !self.session.is_receiving();
        // A client that has not logged in gets as long for its whole session as others for one command, so that it
        // cannot keep its place with NOOP.
        let idle = self.shared.config.bounds.idle;
        let patience = if self.account.is_some() { idle } else { idle.saturating_sub(self.since.elapsed()) };
        if patience.is_zero() {
            return Ok(Waited::Silence);
        }
        let gives_way = async {
            match &mut self.upload {
                Some((upload, _)) => upload.gives_way().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = gives_way => Ok(Waited::GivesWay),
            read = timeout(patience, self.stream.read(&mut self.buffer)) => match read {
                Ok(count) => count.map(Waited::Bytes),
                Err(_) => Ok(Waited::Silence),
            },
            () = stopping, if may_stop => Ok(Waited::Shutdown),
        }
    }

    async fn login(&mut self, user: &str, password: Zeroizing<String>) {
        let found = self.shared.accounts.login(user, &password).await;
        let Some(account) = found else {
            let answer = self.tries.wrong(user.as_bytes(), password.as_bytes());
            drop(password);
            let stopping = async {
                let _sender_gone = self.shutdown.wait_for(|stop| *stop).await;
            };
            tokio::select! {
                () = stopping => self.session.close("421 4.3.2 the daemon is stopping"),
                answer = answer => match answer {
                    Ok(()) => self.session.login_failed(),
                    Err(TurnedAway) => self.session.close("421 4.7.0 too many wrong passwords; try again later"),
                },
            }
            return;
        };
        drop(password);
        self.tries.right(user.as_bytes());
        let address = account.address();
        let Some(seat) = Seat::take(self.shared, address.clone()) else {
            self.session.close("421 4.7.0 too many sessions of this account; close one");
            return;
        };
        let (resolve, of) = (Arc::clone(&self.shared.config.resolve), Arc::clone(&account));
        (self.seat, self.place) = (Some(seat), None);
        self.account = Some(account);
        let refuses = move |name: &str| {
            let why = resolve(of.as_ref(), name).err()?;
            Some(RequestError::unknown_recipient(&of.snapshot().borrow().book, name, why))
        };
        self.session.logged_in(Identity { address, refuses: Box::new(refuses) });
    }

    /// Prepares the message and hands it to the queue; returns the reply for the client.
    async fn submit(&self, recipients: Vec<String>, message: Vec<u8>, asked: DeliveryOptions) -> String {
        let Some(account) = &self.account else { return "530 5.7.0 log in first".to_owned() };
        let config = &self.shared.config;
        let large = message.len() > LARGE;
        let prepare = {
            let (shared, account) = (Arc::clone(self.shared), Arc::clone(account));
            move || {
                let config = &shared.config;
                let resolve = |name: &str| (config.resolve)(account.as_ref(), name).ok();
                let snapshot = account.snapshot().borrow().clone();
                let petname_of = |address: &Address| snapshot.book.petname_of(address).map(str::to_owned);
                let (now, mut rng) = ((config.clock)(), (config.rng)());
                outgoing::prepare(&message, &account.address(), now, &resolve, &petname_of, rng.as_mut())
            }
        };
        let prepared = if large { tokio::task::spawn_blocking(prepare).await } else { Ok(prepare()) };
        let Ok(prepared) = prepared else { return "451 4.3.0 the message was not queued; try again".to_owned() };
        let Prepared { message, visible, written_id } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return reply::of_outgoing(&error),
        };
        if message.len() > config.bounds.message.saturating_add(SUBMISSION_GAIN_BYTES) {
            return reply::of_data(DataProblem::TooLarge);
        }
        let asked = DeliveryOptions { message_id: written_id, ..asked };
        let submission = Submission { recipients, visible, message: message.into(), asked };
        match account.request(Request::Submit(submission)).await {
            Ok(Response::Submitted(id)) => format!("250 2.0.0 queued as {id}"),
            Ok(_) => "451 4.3.0 the message was not queued; try again".to_owned(),
            Err(error) => reply::of_request(&error),
        }
    }
}

/// How much memory to reserve for `wanted` bytes of a message that was announced as `announced`: the share of a small
/// message first, then the announced size, and `most` for a message that grows larger than that.
fn room(wanted: usize, announced: usize, most: usize) -> usize {
    match wanted <= UPLOAD_SMALL_BYTES {
        true => UPLOAD_SMALL_BYTES,
        false if wanted <= announced => announced.max(UPLOAD_SMALL_BYTES + 1),
        false => most,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_room_of_a_small_one_then_what_it_announced_then_all() {
        const SMALL: usize = UPLOAD_SMALL_BYTES;
        let most = 100 * SMALL;
        for (wanted, announced, expected) in [
            (1, 0, SMALL),
            (SMALL, 9 * SMALL, SMALL),
            (SMALL + 1, 9 * SMALL, 9 * SMALL),
            (SMALL + 1, SMALL + 1, SMALL + 1),
            (9 * SMALL, 9 * SMALL, 9 * SMALL),
            (9 * SMALL + 1, 9 * SMALL, most),
            (SMALL + 1, 0, most),
        ] {
            assert_eq!(room(wanted, announced, most), expected, "{wanted} of {announced}");
        }
    }
}
