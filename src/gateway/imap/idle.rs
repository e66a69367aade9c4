//! IDLE (RFC 2177): changes are pushed as soon as they are committed.

use crate::base::limits;

use super::reply::{Done, End, Reply};
use super::session::{GONE, Session, guarded};

impl Session {
    pub(super) async fn idle(&mut self) -> Done {
        self.writer.line("+ idling");
        // Changes since the last command are told before the session waits.
        self.user()?.updates.mark_unchanged();
        self.report(true)?;
        let deadline = tokio::time::Instant::now() + self.shared.limits.idle;
        loop {
            self.writer.flush().await?;
            let patience = deadline.saturating_duration_since(tokio::time::Instant::now());
            let Some(user) = self.user.as_mut() else { return Err(End::Silent.into()) };
            let line = tokio::select! {
                line = guarded(&mut self.stop, patience, self.reader.line(limits::IMAP_LINE_BYTES_BEFORE_LOGIN)) => Some(line?),
                changed = user.updates.changed() => {
                    changed.map_err(|_| End::Bye(GONE))?;
                    None
                }
            };
            match line {
                Some(line) if line.trim_ascii().eq_ignore_ascii_case(b"DONE") => {
                    self.report(true)?;
                    return Ok(Reply::ok("done"));
                }
                Some(_) => return Ok(Reply::bad("expected DONE")),
                None => self.report(true)?,
            }
        }
    }
}
