//! The driver of a session: moves bytes and does the steps. It decides nothing.

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
use crate::base::limits::{LOGIN_DELAY_DOUBLINGS, SUBMISSION_GAIN_BYTES};
use crate::engine::request::{Asked, Submission};
use crate::engine::{Request, Response};
use crate::gateway::account::Account;
use crate::mail::outgoing::{self, Prepared};

const CHUNK: usize = 16 * 1024;
/// A message that is larger than this is made ready on a thread of its own, in bytes: the one that serves the sessions is free again
/// within a millisecond.
const LARGE: usize = 32 * 1024;
/// A client that closes after it was refused gets this long to read why.
const REFUSAL: Duration = Duration::from_secs(5);

/// Serves a connection to its end.
pub(super) async fn run<S>(shared: &Arc<Shared>, stream: S, shutdown: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let session = Session::new(shared.config.bounds.message);
    let mut connection = Connection {
        shared,
        stream,
        session,
        shutdown,
        since: Instant::now(),
        account: None,
        seat: None,
        buffer: vec![0; CHUNK],
    };
    // The client went away: there is nobody to tell, and what it has no 250 for it keeps.
    let _gone: io::Result<()> = connection.run().await;
}

/// Turns away a connection beyond the bound.
pub(super) async fn refuse<S: AsyncWrite + Unpin>(mut stream: S) {
    let reply = b"421 4.3.2 too many connections; try again later\r\n";
    let _gone = timeout(REFUSAL, async {
        stream.write_all(reply).await?;
        stream.shutdown().await
    })
    .await;
}

struct Connection<'a, S> {
    shared: &'a Arc<Shared>,
    stream: S,
    session: Session,
    shutdown: watch::Receiver<bool>,
    since: Instant,
    account: Option<Arc<dyn Account>>,
    seat: Option<Seat>,
    buffer: Vec<u8>,
}

/// What came of waiting for input.
enum Waited {
    Bytes(usize),
    Silence,
    Shutdown,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<'_, S> {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            match self.session.next() {
                Step::Read => {
                    self.flush().await?;
                    match self.wait().await? {
                        Waited::Bytes(0) => return Ok(()),
                        Waited::Bytes(count) => self.session.receive(self.buffer.get(..count).unwrap_or_default()),
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
                    let reply = self.submit(recipients, message, asked).await;
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

    async fn wait(&mut self) -> io::Result<Waited> {
        let stopping = async {
            let _sender_gone = self.shutdown.wait_for(|stop| *stop).await;
        };
        // A message may come in to its end; the daemon ends the task when its patience is over.
        let may_stop = !self.session.is_receiving();
        // Whoever does not log in has as long for all of it as others for one command: NOOP keeps no place.
        let idle = self.shared.config.bounds.idle;
        let patience = if self.account.is_some() { idle } else { idle.saturating_sub(self.since.elapsed()) };
        if patience.is_zero() {
            return Ok(Waited::Silence);
        }
        tokio::select! {
            read = timeout(patience, self.stream.read(&mut self.buffer)) => match read {
                Ok(count) => count.map(Waited::Bytes),
                Err(_) => Ok(Waited::Silence),
            },
            () = stopping, if may_stop => Ok(Waited::Shutdown),
        }
    }

    async fn login(&mut self, user: &str, password: Zeroizing<String>) {
        let found = self.shared.accounts.login(user, &password).await;
        drop(password);
        let Some(account) = found else {
            let doublings = self.session.count_failed_login().saturating_sub(1).min(LOGIN_DELAY_DOUBLINGS);
            tokio::time::sleep(self.shared.config.bounds.login_delay * 2_u32.pow(doublings)).await;
            self.session.login_failed();
            return;
        };
        let address = account.address();
        let Some(seat) = Seat::take(self.shared, address.clone()) else {
            self.session.close("421 4.7.0 too many sessions of this account; close one");
            return;
        };
        let (resolve, of) = (Arc::clone(&self.shared.config.resolve), Arc::clone(&account));
        self.seat = Some(seat);
        self.account = Some(account);
        self.session.logged_in(Identity { address, knows: Box::new(move |name| resolve(of.as_ref(), name).is_some()) });
    }

    /// Prepares the message and hands it to the queue; the reply for the client.
    async fn submit(&self, recipients: Vec<String>, message: Vec<u8>, asked: Asked) -> String {
        let Some(account) = &self.account else { return "530 5.7.0 log in first".to_owned() };
        let config = &self.shared.config;
        let large = message.len() > LARGE;
        let prepare = {
            let (shared, account) = (Arc::clone(self.shared), Arc::clone(account));
            move || {
                let config = &shared.config;
                let resolve = |name: &str| (config.resolve)(account.as_ref(), name);
                let mut rng = (config.rng)();
                outgoing::prepare(&message, &account.address(), (config.clock)(), &resolve, rng.as_mut())
            }
        };
        let prepared = if large { tokio::task::spawn_blocking(prepare).await } else { Ok(prepare()) };
        let Ok(prepared) = prepared else { return "451 4.3.0 the message was not queued; try again".to_owned() };
        let Prepared { message, visible, written_id } = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return reply::of_outgoing(&error),
        };
        if message.len() > config.bounds.message.saturating_add(SUBMISSION_GAIN_BYTES) {
            return reply::of_data(DataProblem::TooLarge).to_owned();
        }
        let asked = Asked { message_id: written_id, ..asked };
        let submission = Submission { recipients, visible, message: message.into(), asked };
        match account.request(Request::Submit(submission)).await {
            Ok(Response::Submitted(id)) => format!("250 2.0.0 queued as {id}"),
            Ok(_) => "451 4.3.0 the message was not queued; try again".to_owned(),
            Err(error) => reply::of_request(&error),
        }
    }
}
