//! The commands of the control socket, and the JSON that answers them.
//!
//! Reading is done from the published snapshots; every change is a request to an identity's machine.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::Value;

mod backup;
mod boxes;
mod carrier;
mod clock;
pub(super) mod compose;
mod contacts;
mod identities;
mod queue;
mod requests;

use self::backup::Leases;
use super::gateways::Listening;
use super::home::Home;
use super::hosts::account::{LocalAccount, Registry};
use super::hosts::carrier::CarrierHost;
use super::hosts::identity::Identities;
use super::hosts::passwords;
use super::runtime::Runtime;
use super::runtime::clock::now;
use super::runtime::supervision::Ending;
use crate::backup::Last;
use crate::base::{ContactId, Timestamp, limits};
use crate::control::reply::{
    self, Disk, Done, FolderMessage, IdentityStatus, LastBackup, Listen, Listeners, MailServer, MailSettings, Network,
    NewPassword, OpenInvitation, Status, WrongPassword, write,
};
use crate::control::{Code, Command, Draft, Failure, Handler, Request as Asked};
use crate::engine::state::Password;
use crate::engine::state::mailbox::{Flags, Folder};
use crate::engine::{Book, Request, RequestError, Response, Snapshot};
use crate::gateway::pacer::Stale;
use crate::mail::revocation::Extent;
use crate::mail::{LocalPart, headers};

/// How much of a message is read for its header, in bytes.
const HEADER_WINDOW: u64 = 16 * 1024;

/// Answers commands. Each command is given the parts of this that it needs, and no more.
pub(super) struct Commands {
    pub(super) home: Arc<Home>,
    pub(super) runtime: Runtime,
    pub(super) registry: Arc<Registry>,
    pub(super) identities: Arc<Identities>,
    pub(super) carrier: Arc<CarrierHost>,
    pub(super) leases: Arc<Leases>,
    /// `None` where the node is only a carrier.
    pub(super) listening: Option<Listening>,
}

impl Handler for Commands {
    fn handle(&self, request: Asked) -> Pin<Box<dyn Future<Output = Result<Value, Failure>> + Send + '_>> {
        Box::pin(self.command(request))
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let message = error.to_string();
        match error {
            RequestError::NoSuchFolder | RequestError::UnknownRecipient { .. } | RequestError::NotFound(_) => {
                Self::new(Code::NotFound, message)
            }
            RequestError::Invitation(_) | RequestError::NoRecipient => Self::new(Code::Usage, message),
            RequestError::Disk | RequestError::Stopping | RequestError::BeingSent => Self::new(Code::Busy, message),
            _ => Self::new(Code::Failed, message),
        }
    }
}

impl Commands {
    async fn command(&self, asked: Asked) -> Result<Value, Failure> {
        let identity = asked.identity.as_deref();
        match asked.command {
            Command::Status => write(&self.status()),
            Command::Stop => {
                Ending::Asked.request(self.runtime.supervisor.ending());
                write(&Done {})
            }
            command @ (Command::IdentityList
            | Command::IdentityNew { .. }
            | Command::IdentityDefault { .. }
            | Command::IdentityShow
            | Command::IdentityRename { .. }
            | Command::IdentityHoldings { .. }
            | Command::IdentityRemove { .. }
            | Command::IdentityRevoke { .. }
            | Command::IdentityKnock { .. }
            | Command::IdentityListen { .. }) => self.identity_command(identity, command).await,
            Command::Invite { public, life_secs, label } => {
                write(&invite(&*self.account(identity)?, public, life_secs, label).await?)
            }
            Command::InviteList => write(&invitations(&*self.account(identity)?)),
            Command::InviteRevoke { id } => write(&revoke(&*self.account(identity)?, &id).await?),
            Command::ContactAdd { invitation, petname } => {
                write(&contacts::add(&*self.account(identity)?, invitation, petname).await?)
            }
            Command::ContactList => write(&contacts::list(&*self.account(identity)?)),
            Command::ContactRevoked { statement } => {
                write(&contacts::take_revocation(&*self.account(identity)?, &statement).await?)
            }
            Command::ContactShow { who } => write(&contacts::show(&*self.account(identity)?, &who)?),
            Command::ContactRename { who, petname } => {
                write(&contacts::rename(&*self.account(identity)?, &who, petname).await?)
            }
            Command::ContactVerify { who, same } => {
                write(&contacts::verify(&*self.account(identity)?, &who, same).await?)
            }
            Command::ContactIntroduce { guest, host, text } => {
                write(&requests::introduce(&*self.account(identity)?, &guest, &host, text).await?)
            }
            Command::RequestList => write(&requests::list(&*self.account(identity)?)),
            Command::RequestDecide { what, accept } => {
                write(&requests::decide(&*self.account(identity)?, &what, accept).await?)
            }
            Command::ContactAccept { who } => self.part(identity, &who, Request::Accept).await,
            Command::ContactBlock { who } => self.part(identity, &who, Request::Block).await,
            Command::ContactUnblock { who } => self.part(identity, &who, Request::Unblock).await,
            Command::ContactRemove { who } => self.part(identity, &who, Request::RemoveContact).await,
            Command::ContactReplace { who, by } => {
                write(&contacts::replace(&*self.account(identity)?, &who, &by).await?)
            }
            Command::ContactSet(change) => write(&contacts::set(&*self.account(identity)?, change).await?),
            Command::Send { to, draft } => write(&send(self.account(identity)?, to, draft).await?),
            Command::Ls { folder } => write(&ls(&*self.account(identity)?, &folder).await?),
            Command::Read { folder, uid } => write(&read(&*self.account(identity)?, &folder, uid).await?),
            Command::QueueList { ended } => {
                let snapshot = self.account(identity)?.state();
                let queue = if ended { queue::ended(&snapshot) } else { queue::waiting(&snapshot) };
                write(&reply::Queue { queue })
            }
            Command::QueueShow { id } => write(&queue::show(&self.account(identity)?.state(), &id)?),
            Command::QueueRetry { id } => write(&queue::retry(&*self.account(identity)?, id.as_deref()).await?),
            Command::QueueCancel { id } => write(&queue::cancel(&*self.account(identity)?, &id).await?),
            Command::PasswordNew { name } => write(&new_password(&*self.account(identity)?, name).await?),
            Command::PasswordList => write(&password_list(&*self.account(identity)?)),
            Command::PasswordRevoke { name } => {
                self.account(identity)?.ask(Request::RevokePassword { name }).await?;
                write(&Done {})
            }
            Command::BackupBegin => write(&backup::begin(&self.home, &self.registry, &self.leases).await?),
            Command::BackupHold { lease } => write(&backup::hold(&self.leases, &lease, false)?),
            Command::BackupEnd { lease } => write(&backup::hold(&self.leases, &lease, true)?),
            Command::CarrierEnable => write(&self.carrier.switch_on().await?),
            Command::CarrierDisable => write(&self.carrier.switch_off().await?),
            Command::CarrierShow => write(&self.carrier.show()?),
            Command::CarrierInvite(asked) => write(&self.carrier.invite(&asked).await?),
            Command::CarrierLimits(change) => write(&self.carrier.limit(&change).await?),
            Command::CarrierRevoke => write(&self.carrier.revoke().await?),
            Command::CarrierEvict { name } => write(&self.carrier.evict(&name).await?),
            Command::BoxAdd { invitation, name } => {
                write(&boxes::rent(&self.runtime.pool, &*self.account(identity)?, invitation, name).await?)
            }
            Command::BoxList => {
                let carriers = boxes::list(&self.account(identity)?.state());
                write(&reply::Boxes { carriers })
            }
            Command::BoxCheck { name } => write(&boxes::check(&*self.account(identity)?, name).await?),
            Command::BoxRemove { name } => write(&boxes::leave(&*self.account(identity)?, name).await?),
            Command::MailSettings => write(&mail_settings(self.listening, &*self.account(identity)?)?),
        }
    }

    /// A command about identities themselves.
    async fn identity_command(&self, identity: Option<&str>, command: Command) -> Result<Value, Failure> {
        match command {
            Command::IdentityList => {
                write(&identities::list(&self.home, &self.registry, &self.runtime.network.status()))
            }
            Command::IdentityNew { name } => {
                let made = self.identities.make_another(name.as_deref()).await?;
                write(&self.profile(&made))
            }
            Command::IdentityDefault { name } => {
                let account = self.account(Some(&name))?;
                identities::choose(&self.home, &account).await?;
                write(&self.profile(&account))
            }
            Command::IdentityRename { name, to } => {
                let account = self.account(Some(&name))?;
                let table = self.identities.rename(&account, &to).await?;
                write(&reply::Renamed { identity: self.profile(&account), settings_of: table })
            }
            Command::IdentityHoldings { name } => write(&identities::holdings(&*self.account(Some(&name))?)),
            Command::IdentityRemove { name } => {
                let account = self.account(Some(&name))?;
                write(&identities::remove(&self.identities, &self.leases, &account).await?)
            }
            Command::IdentityRevoke { onion, key } => {
                let account = self.account(identity)?;
                let (statement, contacts) = identities::revoke(&account, Extent { onion, key }).await?;
                write(&reply::Revocation { identity: self.profile(&account), contacts, statement })
            }
            Command::IdentityShow => write(&self.profile(&*self.account(identity)?)),
            Command::IdentityListen { on, anyway } => {
                let account = self.account(identity)?;
                identities::listen(&account, on, anyway).await?;
                write(&self.profile(&account))
            }
            Command::IdentityKnock { on } => {
                let account = self.account(identity)?;
                account.ask(Request::SetKnocks { contact: None, on }).await?;
                write(&self.profile(&account))
            }
            _ => Err(unexpected()),
        }
    }

    /// Accepts, blocks, unblocks or removes a contact.
    async fn part(&self, identity: Option<&str>, who: &str, how: fn(ContactId) -> Request) -> Result<Value, Failure> {
        write(&contacts::part(&*self.account(identity)?, who, how).await?)
    }

    /// The identity with this name or address; where none is named, the default one, or the only one.
    fn account(&self, name: Option<&str>) -> Result<Arc<LocalAccount>, Failure> {
        identities::meant(&self.home, &self.registry, name)
    }

    /// An identity, as it is shown.
    fn profile(&self, account: &LocalAccount) -> reply::Identity {
        let usual = identities::usual(&self.home, &self.registry);
        identities::profile(account, usual, &self.runtime.network.status())
    }

    fn status(&self) -> Status {
        let accounts = self.registry.all();
        let network = self.runtime.network.status();
        let identities = accounts.iter().map(|account| IdentityStatus {
            name: account.name(),
            address: account.address.to_string(),
            reachable: account.is_reachable(&network),
            listen: listens(account),
            problem: problem(account),
            checked_at: account.presence.borrow().checked.map(|checked| checked.rfc3339()),
            contacts: account.state().book.contacts().count(),
            requests: account.state().book.requests(),
            introductions: account.state().introductions.pending(now()),
        });
        let snapshots = || accounts.iter().map(|account| account.state());
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            clock: now().rfc3339(),
            clock_problem: clock::problem(snapshots(), network.clock_problem.clone(), now()),
            identities: identities.collect(),
            listen: self
                .listening
                .map(|listen| Listeners { imap: listen.imap.to_string(), submission: listen.submission.to_string() }),
            wrong_passwords: wrong_passwords(&self.registry),
            tor: Network {
                state: network.state.as_str().to_owned(),
                percent: network.percent,
                blocked_reason: network.blocked_reason,
                gone_since: network.gone_since.map(|since| since.rfc3339()),
            },
            carrier: self.carrier.status(),
            carriers: snapshots().flat_map(|snapshot| boxes::list(&snapshot)).collect(),
            queue: snapshots().flat_map(|snapshot| queue::waiting(&snapshot)).collect(),
            backup: last_backup(&self.home),
            disk: self.home.vfs().free_space(self.home.path()).ok().map(disk),
            view_problem: view_problem(&self.home),
        }
    }
}

/// The wrong passwords that mail programs keep sending. A name that no identity has is not told, because it may be a
/// password that somebody typed into the wrong field.
fn wrong_passwords(registry: &Registry) -> Vec<WrongPassword> {
    let now = now();
    let told = |stale: Stale| {
        let user = String::from_utf8_lossy(&stale.user);
        WrongPassword {
            identity: registry.find(&user).map(|account| account.name()),
            times: stale.times,
            since: now.minus(stale.first).rfc3339(),
            last_at: now.minus(stale.last).rfc3339(),
        }
    };
    registry.pacer().stale().into_iter().map(told).collect()
}

fn last_backup(home: &Home) -> LastBackup {
    let last = Last::load(&**home.vfs(), home.path());
    let time = |at: Option<Timestamp>| at.map(|at| at.rfc3339());
    LastBackup { last: time(last.as_ref().map(|last| last.made)), verified: time(last.and_then(|last| last.verified)) }
}

/// Why the view cannot be used, if that is so, and what to do.
fn view_problem(home: &Home) -> Option<String> {
    (!home.view_works()).then(|| {
        format!(
            "the view, a copy of the mailbox for readers, cannot be used: starts and mail programs are slower, and \
             nothing is lost. Delete it while no daemon runs, which is safe because the next start makes it anew: \
             runepeer down, then rm -r '{}', then runepeer up",
            home.path().join("view").display()
        )
    })
}

/// The failure of a request that brings a name. Where the name is taken it says so, with the way out.
fn unless_taken(error: RequestError, taken: &str, way: impl Into<String>) -> Failure {
    match error {
        RequestError::NameTaken => Failure::new(Code::Failed, taken).hint(way),
        error => error.into(),
    }
}

async fn new_password(account: &LocalAccount, name: String) -> Result<NewPassword, Failure> {
    let password = passwords::generate();
    let asked = account.ask(Request::AddPassword { name: name.clone(), hash: passwords::hash(&password) }).await;
    asked.map_err(|error| {
        let way = format!("give another name, or withdraw that one first: runepeer mail password revoke {name}");
        unless_taken(error, &format!("there is a password {name} already"), way)
    })?;
    Ok(NewPassword { user: account.address.to_string(), password: password.to_string() })
}

fn mail_settings(listening: Option<Listening>, account: &LocalAccount) -> Result<MailSettings, Failure> {
    let listen = listening.ok_or_else(unexpected)?;
    let address = account.address.to_string();
    let server = |at: SocketAddr| MailServer { host: at.ip().to_string(), port: at.port(), user: address.clone() };
    Ok(MailSettings { name: account.name(), imap: server(listen.imap), submission: server(listen.submission), address })
}

/// How much space is left, and whether that is so little that mail is refused, a large message first.
const fn disk(free: u64) -> Disk {
    Disk { free, low: free < limits::ENOUGH_DISK_BYTES }
}

fn unexpected() -> Failure {
    Failure::new(Code::Failed, "the daemon could not do that; its log says more")
}

/// Whether the identity has a box in which mail can be left for it while its own onion is not published.
fn has_open_box(account: &LocalAccount) -> bool {
    account.state().boxes.own().any(|own_box| own_box.is_open())
}

/// Why no peer reaches an identity, where that is known.
fn problem(account: &LocalAccount) -> Option<String> {
    if let Some(revoked) = account.state().revocations.own() {
        return Some(format!(
            "you revoked its {} on {}: it sends no mail any more",
            revoked.extent.words(),
            revoked.at.rfc3339()
        ));
    }
    if account.state().hidden {
        let cut_off = !has_open_box(account);
        return cut_off.then(|| {
            "nobody can reach it: it does not listen, and has no box that works (runepeer carrier add, or runepeer \
             identity set --listen always)"
                .to_owned()
        });
    }
    account.presence.borrow().cut_since.map(|since| {
        format!(
            "nobody gets through to it since {}, although the network answers; it is being published anew, and your \
             contacts leave mail in your boxes or try again later",
            since.rfc3339()
        )
    })
}

fn listens(account: &LocalAccount) -> Listen {
    if account.state().hidden { Listen::Never } else { Listen::Always }
}

async fn invite(
    account: &LocalAccount,
    public: bool,
    life_secs: u64,
    label: Option<String>,
) -> Result<reply::Invitation, Failure> {
    // The text counts in hours (docs/protocol.md, "Invitation"): an hour that has begun counts whole.
    let expires = now().plus(Duration::from_secs(life_secs)).secs();
    let expires = Timestamp::from_secs(expires.saturating_add(3599) / 3600 * 3600);
    let book = account.state().book.clone();
    match account.ask(Request::Invite { public, expires, label: label.clone() }).await? {
        Response::Invited { id, text } => Ok(reply::Invitation {
            id: id.to_string(),
            invitation: text,
            expires_at: expires.rfc3339(),
            uses: (!public).then_some(1),
            name_taken: label.as_deref().and_then(|label| name_taken(&book, account.address.local(), label, now())),
            label,
        }),
        _ => Err(unexpected()),
    }
}

/// Why the person who uses an invitation for this name may get another one in this book, and what to do.
fn name_taken(book: &Book, own: &LocalPart, label: &str, now: Timestamp) -> Option<String> {
    let is_it = |name: &str| name.to_lowercase() == label.to_lowercase();
    let mut open = book.invitations().filter(|invitation| invitation.is_open(now));
    let (who, becomes) = match book.free_petname(label, own) {
        free if !is_it(&free) && is_it(own.as_str()) => (format!("{label} is your own name: whoever uses this"), free),
        free if !is_it(&free) => (format!("you have a contact {label} already: whoever uses this"), free),
        _ if open.any(|invitation| book.label(invitation.id).is_some_and(is_it)) => {
            let who =
                format!("another invitation for {label} is open (runepeer invite list): the second to use theirs");
            (who, format!("{label}-2"))
        }
        _ => return None,
    };
    Some(format!(
        "{who} becomes {becomes} in your address book. If that is not meant, withdraw this one (runepeer invite revoke) and \
         make another (runepeer invite --for NAME), or change the name later: runepeer contact rename {becomes} NAME"
    ))
}

fn invitations(account: &LocalAccount) -> reply::OpenInvitations {
    let snapshot = account.state();
    let now = now();
    let all = snapshot.book.invitations();
    let open = all.filter(|invitation| invitation.used.is_none() && invitation.expires > now);
    let described = open.map(|invitation| OpenInvitation {
        id: invitation.id.to_string(),
        public: invitation.secret.is_none(),
        made_at: invitation.made.rfc3339(),
        expires_at: invitation.expires.rfc3339(),
        label: snapshot.book.label(invitation.id).map(str::to_owned),
    });
    reply::OpenInvitations { invitations: described.collect() }
}

async fn revoke(account: &LocalAccount, beginning: &str) -> Result<Done, Failure> {
    let snapshot = account.state();
    let mut matching =
        snapshot.book.invitations().map(|invitation| invitation.id).filter(|id| id.to_string().starts_with(beginning));
    match (matching.next(), matching.next()) {
        (Some(id), None) => {
            account.ask(Request::RevokeInvitation(id)).await?;
            Ok(Done {})
        }
        (None, _) => Err(Failure::new(Code::NotFound, "there is no such invitation").hint("see: runepeer invite list")),
        _ => Err(Failure::new(Code::Usage, "several invitations begin like that; give more of the id")),
    }
}

async fn send(account: Arc<LocalAccount>, to: Vec<String>, draft: Draft) -> Result<reply::QueueId, Failure> {
    // Files are decoded, encoded and searched on another thread than those that serve all sessions.
    let writer = Arc::clone(&account);
    let composed = tokio::task::spawn_blocking(move || compose::submission(&writer, to, draft, now()));
    let submission = composed.await.map_err(|_| unexpected())??;
    match account.ask(Request::SubmitAndKeep(submission)).await? {
        Response::Submitted(id) => Ok(reply::QueueId { id: id.to_string() }),
        _ => Err(unexpected()),
    }
}

fn folder(snapshot: &Snapshot, name: &str) -> Result<Arc<Folder>, Failure> {
    snapshot.mailbox.by_name(name).cloned().ok_or_else(|| {
        let mut names: Vec<&str> = snapshot.mailbox.folders().map(|folder| folder.name.as_str()).collect();
        names.sort_unstable();
        Failure::new(Code::NotFound, format!("there is no folder {name}"))
            .hint(format!("there is: {}", names.join(", ")))
    })
}

async fn ls(account: &LocalAccount, name: &str) -> Result<reply::Folder, Failure> {
    let folder = folder(&account.state(), name)?;
    let mut messages = Vec::with_capacity(folder.messages.len());
    for message in folder.messages.iter() {
        // A message that cannot be read hides none of the others.
        let (window, problem) = match account.read(message.body, 0..HEADER_WINDOW).await {
            Ok(window) => (window, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let (header, _) = headers::split(&window);
        messages.push(FolderMessage {
            uid: message.uid,
            date: message.date.rfc3339(),
            size: message.size,
            seen: message.flags.contains(Flags::SEEN),
            from: compose::header_text(header, "From"),
            to: compose::header_text(header, "To"),
            subject: compose::header_text(header, "Subject"),
            message_id: compose::header_text(header, "Message-ID"),
            problem,
        });
    }
    Ok(reply::Folder { folder: folder.name.clone(), messages })
}

async fn read(account: &LocalAccount, name: &str, uid: u32) -> Result<reply::Message, Failure> {
    let folder = folder(&account.state(), name)?;
    let message = folder.messages.get(uid).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("there is no message {uid} in {}", folder.name)).hint("see: runepeer ls")
    })?;
    let bytes = account
        .read(message.body, 0..u64::from(message.size))
        .await
        .map_err(|error| Failure::new(Code::Failed, error.to_string()))?;
    // Encoding a large message takes tens of milliseconds; no other session should wait for that.
    let text = tokio::task::spawn_blocking(move || BASE64.encode(&bytes)).await.map_err(|_| unexpected())?;
    Ok(reply::Message { uid, message: text })
}

fn password_list(account: &LocalAccount) -> reply::Passwords {
    let snapshot = account.state();
    let described =
        |password: &Password| reply::Password { name: password.name.clone(), created_at: password.created.rfc3339() };
    reply::Passwords { passwords: snapshot.passwords.iter().map(described).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_too_full_for_a_large_message_is_called_low() {
        let low = |free| disk(free).low;
        assert!(low(0) && low(limits::DISK_RESERVE_BYTES) && low(limits::DISK_RESERVE_BYTES + limits::MIB as u64));
        assert!(!low(limits::DISK_RESERVE_BYTES + limits::MESSAGE_BYTES as u64));
    }
}
