//! LOGIN and AUTHENTICATE (PLAIN, LOGIN; RFC 4616, RFC 4959).
//!
//! A wrong password is answered late, at a pace that all connections share ([`Pacer`](crate::gateway::pacer::Pacer));
//! the answer does not tell whether the user or the password was wrong. Passwords are wiped after use.

use imap_codec::imap_types::auth::AuthMechanism;
use zeroize::Zeroizing;

use crate::base::limits;
use crate::gateway::pacer::TurnedAway;

use super::reply::{Done, End, Fail, Reply};
use super::session::{CAPABILITIES, Session, User, guarded, stopped};

const WRONG: Reply = Reply::no("wrong user name or password");

impl Session {
    pub(super) async fn login(&mut self, user: &[u8], password: &[u8]) -> Done {
        if self.user.is_some() {
            return Ok(Reply::bad("already logged in"));
        }
        let account = match (std::str::from_utf8(user), std::str::from_utf8(password)) {
            (Ok(user), Ok(password)) => self.shared.accounts.login(user, password).await,
            _ => None,
        };
        let Some(account) = account else { return self.fail_late(user, password).await };
        self.tries.right(user);
        let Some(place) = self.shared.enter(&account.address()) else {
            return Ok(Reply::no("too many sessions of this account; close one").code("LIMIT"));
        };
        self.user = Some(User::new(account, place));
        self.unknown = None;
        Ok(Reply::ok("welcome").code(format!("CAPABILITY {CAPABILITIES}")))
    }

    async fn fail_late(&mut self, user: &[u8], password: &[u8]) -> Done {
        tokio::select! {
            () = stopped(&mut self.stop) => Err(End::Bye("the daemon is stopping").into()),
            answer = self.tries.wrong(user, password) => match answer {
                Ok(()) => Ok(WRONG.code("AUTHENTICATIONFAILED")),
                Err(TurnedAway) => Err(End::Bye("too many wrong passwords; try again later").into()),
            },
        }
    }

    pub(super) async fn authenticate(
        &mut self,
        mechanism: &AuthMechanism<'_>,
        initial: Option<Zeroizing<Vec<u8>>>,
    ) -> Done {
        if self.user.is_some() {
            return Ok(Reply::bad("already logged in"));
        }
        match mechanism {
            AuthMechanism::Plain => {
                let response = self.response(initial, "+ ").await?;
                let mut parts = response.split(|&byte| byte == 0);
                let (authorise, user, password) = (parts.next(), parts.next(), parts.next());
                match (authorise, user, password, parts.next()) {
                    (Some(authorise), Some(user), Some(password), None)
                        if authorise.is_empty() || authorise == user =>
                    {
                        self.login(user, password).await
                    }
                    (_, user, _, _) => self.fail_late(user.unwrap_or_default(), &response).await,
                }
            }
            AuthMechanism::Login => {
                let user = self.response(initial, "+ VXNlcm5hbWU6").await?;
                let password = self.response(None, "+ UGFzc3dvcmQ6").await?;
                self.login(&user, &password).await
            }
            _ => Ok(Reply::no("that mechanism is not offered here").code("CANNOT")),
        }
    }

    /// The client's next answer: the initial response, or the line that it sends after this prompt.
    async fn response(
        &mut self,
        initial: Option<Zeroizing<Vec<u8>>>,
        prompt: &str,
    ) -> Result<Zeroizing<Vec<u8>>, Fail> {
        if let Some(initial) = initial {
            return Ok(initial);
        }
        self.writer.line(prompt);
        self.writer.flush().await?;
        let patience = self.shared.limits.idle_before_login;
        let reading = self.reader.line(limits::IMAP_LINE_BYTES_BEFORE_LOGIN);
        let line = Zeroizing::new(guarded(&mut self.stop, patience, reading).await?);
        if line.as_slice() == b"*" {
            return Err(Reply::bad("cancelled").into());
        }
        let decoded = data_encoding::BASE64.decode(&line);
        decoded.map(Zeroizing::new).map_err(|_| Reply::bad("that is not base64").into())
    }
}
