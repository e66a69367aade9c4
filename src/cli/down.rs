//! `runepeer down`: the daemon stops, and has let go of its directory.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Context;
use super::show::done;
use crate::control::reply::Done;
use crate::control::{Code, Command, Failure};

/// A daemon stops within ten seconds; a busy machine may need longer.
const STOP: Duration = Duration::from_secs(20);

pub(super) fn run(context: &Context) -> Result<(), Failure> {
    context.ask::<Done>(Command::Stop)?;
    wait_until_stopped(&context.data, STOP)?;
    done(context, "The daemon has stopped.");
    Ok(())
}

/// Waits until the daemon has let go of the data directory, but no longer than this.
fn wait_until_stopped(data: &Path, longest: Duration) -> Result<(), Failure> {
    let begin = Instant::now();
    loop {
        match crate::daemon::DataDir::open_to_read(data) {
            Err(failure) if failure.code == Code::Busy && begin.elapsed() < longest => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(failure) if failure.code == Code::Busy => return Err(failure),
            // Whatever else is wrong with the directory, no daemon holds it.
            _ => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::DataDir;

    #[test]
    fn whoever_stops_a_daemon_waits_until_nobody_holds_the_directory_and_not_for_ever() {
        let home = tempfile::tempdir().unwrap();
        let (data, while_held) = (home.path().join("data"), Duration::from_millis(200));
        assert!(wait_until_stopped(&data, while_held).is_ok(), "nobody ever ran there");
        let held = DataDir::open(&data).unwrap();
        let begin = Instant::now();
        assert_eq!(wait_until_stopped(&data, while_held).unwrap_err().code, Code::Busy);
        assert!((while_held..10 * while_held).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(while_held);
            drop(held);
        });
        assert!(wait_until_stopped(&data, STOP).is_ok());
        assert!(leaving.is_finished() || leaving.join().is_ok());
    }
}
