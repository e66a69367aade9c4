//! `loopback:DIR`: peers on one machine, found as Unix sockets named by their onion.
//!
//! For the demo and for tests: nothing is hidden from the machine's own user, and the directory is closed to others.
//! The name of a socket is the 56 characters of its onion. A socket file outlives a killed process; it is replaced once
//! no process answers behind it. Replacing happens under a lock on the directory, so that two
//! processes cannot take a name from each other.
//! Failures: a directory open to others, a path too long for the system, a name in use.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::private::make_private_directory;
use super::transport::{
    DialError, Intake, Isolation, Later, ListenError, Listener, Reachability, StartError, Stream, Transport,
    TransportStatus, within_dial,
};
use crate::base::{IdentityId, Onion, OnionSeed};

/// `sockaddr_un.sun_path` holds this many bytes with its final zero (unix(7)).
const SUN_PATH: usize = 108;
/// An onion's 56 characters and the slash before them.
const NAME: usize = 57;
/// The pause before a busy directory lock or a full backlog is tried again.
const PAUSE: Duration = Duration::from_millis(5);
/// The directory lock is held for microseconds; a holder that takes longer is stuck.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Unix sockets in one directory.
pub struct Loopback {
    place: Arc<Directory>,
    status: watch::Sender<TransportStatus>,
    stopped: CancellationToken,
}

impl Loopback {
    /// Uses this directory, and makes it (closed to others) where it does not exist.
    pub fn open(dir: &Path) -> Result<Self, StartError> {
        Ok(Self {
            place: Arc::new(Directory::open(dir)?),
            status: watch::Sender::new(TransportStatus::ready()),
            stopped: CancellationToken::new(),
        })
    }

    async fn connect(&self, to: Onion) -> Result<UnixStream, DialError> {
        let path = self.place.socket(to);
        loop {
            match UnixStream::connect(&path).await {
                Ok(stream) => return Ok(stream),
                Err(error) => match error.kind() {
                    // The peer's backlog is full: the peer is there, but busy.
                    io::ErrorKind::WouldBlock => sleep(PAUSE).await,
                    io::ErrorKind::NotFound => return Err(DialError::Unreachable),
                    io::ErrorKind::ConnectionRefused => return Err(DialError::Unreachable),
                    io::ErrorKind::PermissionDenied => return Err(DialError::Refused),
                    _ => return Err(DialError::Local),
                },
            }
        }
    }
}

impl Transport for Loopback {
    fn dial(&self, to: Onion, _: Isolation) -> Later<'_, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move {
            tokio::select! {
                biased;
                () = self.stopped.cancelled() => Err(DialError::Stopped),
                stream = within_dial(self.connect(to)) => stream.map(|stream| Box::new(stream) as Box<dyn Stream>),
            }
        })
    }

    fn listen<'a>(&'a self, _: IdentityId, seed: &'a OnionSeed) -> Later<'a, Result<Listener, ListenError>> {
        Box::pin(async move {
            if self.stopped.is_cancelled() {
                return Err(ListenError::Stopped);
            }
            let onion = Onion::of_seed(seed);
            let (socket, published) = self.place.publish(onion).await?;
            let (intake, incoming) = Intake::of_onion();
            let (reachability, watcher) = watch::channel(Reachability::Reachable);
            let end = self.stopped.child_token();
            tokio::spawn(accept(socket, published, intake, reachability, end.clone()));
            Ok(Listener::new(onion, watcher, move || Box::new(end.drop_guard()), incoming))
        })
    }

    fn status(&self) -> watch::Receiver<TransportStatus> {
        self.status.subscribe()
    }

    fn stop(&self) -> Later<'_, ()> {
        Box::pin(async move {
            self.stopped.cancel();
            self.status.send_replace(TransportStatus::stopped());
        })
    }
}

/// Accepts streams until the listener or the transport ends. While the listener is full, peers stay in the system's
/// backlog.
async fn accept(
    socket: UnixListener,
    published: Published,
    intake: Intake,
    reachability: watch::Sender<Reachability>,
    end: CancellationToken,
) {
    let accepting = async {
        while let Some(place) = intake.place().await {
            match socket.accept().await {
                Ok((stream, _)) => {
                    if !intake.give(stream, place) {
                        return;
                    }
                }
                // There are no file descriptors left, or the peer is already gone: neither ends the service.
                Err(_) => sleep(PAUSE).await,
            }
        }
    };
    tokio::select! {
        () = end.cancelled() => {}
        () = accepting => {}
    }
    // The name is removed before the socket closes: a socket that another process binds in between is not ours to
    // remove.
    drop(published);
    drop(socket);
    reachability.send_replace(Reachability::Stopped);
}

/// The directory of sockets, open for as long as the transport lives.
struct Directory {
    path: PathBuf,
    /// The beginning of every socket's path: the directory's path, or its open descriptor where the path is too long.
    prefix: PathBuf,
    _handle: File,
}

impl Directory {
    fn open(path: &Path) -> Result<Self, StartError> {
        let handle = make_private_directory(path)?;
        let prefix = if path.as_os_str().len() + NAME < SUN_PATH {
            path.to_owned()
        } else {
            let through = PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()));
            if !through.is_dir() {
                return Err(StartError::LongPath { path: path.to_owned(), limit: SUN_PATH - NAME - 1 });
            }
            through
        };
        Ok(Self { path: path.to_owned(), prefix, _handle: handle })
    }

    fn socket(&self, onion: Onion) -> PathBuf {
        self.prefix.join(onion.label())
    }

    /// Binds the socket of this onion, and replaces one that a killed process left.
    async fn publish(&self, onion: Onion) -> Result<(UnixListener, Published), ListenError> {
        let lock = self.lock().await?;
        let path = self.socket(onion);
        let socket = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                match UnixStream::connect(&path).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    // A process answers, or has a full backlog.
                    _ => return Err(ListenError::InUse),
                }
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&error)),
                    _ => {}
                }
                UnixListener::bind(&path)
            }
            bound => bound,
        }
        .map_err(|error| io_error(&error))?;
        let inode = std::fs::symlink_metadata(&path).map_err(|error| io_error(&error))?.ino();
        drop(lock);
        Ok((socket, Published { path: self.path.join(onion.label()), inode }))
    }

    /// Holds the directory's lock until the file is dropped. Each call opens the file anew, because a lock belongs to
    /// an open file.
    async fn lock(&self) -> Result<File, ListenError> {
        let file = File::open(&self.path).map_err(|error| io_error(&error))?;
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(ListenError::Io(error.kind())),
            }
        }
    }
}

/// The name of a socket; removed when dropped, if it is still ours.
struct Published {
    path: PathBuf,
    inode: u64,
}

impl Drop for Published {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode) {
            // If this fails, the next start finds a stale socket and replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn io_error(error: &io::Error) -> ListenError {
    ListenError::Io(error.kind())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::base::ContactId;
    use crate::base::limits;
    use crate::net::TransportState;

    const ALICE: IdentityId = IdentityId::from_bytes([1; 16]);
    const BOB: IdentityId = IdentityId::from_bytes([2; 16]);

    fn seed(byte: u8) -> OnionSeed {
        OnionSeed::from_bytes([byte; 32])
    }

    /// A directory that does not exist yet, and the value that removes it afterwards.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let keep = tempfile::tempdir().unwrap();
        let dir = keep.path().join("peers");
        (keep, dir)
    }

    fn pair() -> Isolation {
        Isolation::Pair(ALICE, ContactId::from_bytes([2; 16]))
    }

    async fn carries(dialer: &Loopback, listener: &mut Listener) {
        let (dialled, accepted) = tokio::join!(dialer.dial(listener.onion(), pair()), listener.accept());
        let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
        dialled.write_all(b"ping").await.unwrap();
        let mut heard = [0; 4];
        accepted.read_exact(&mut heard).await.unwrap();
        accepted.write_all(&heard).await.unwrap();
        accepted.shutdown().await.unwrap();
        let mut back = Vec::new();
        dialled.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, b"ping");
    }

    #[tokio::test]
    async fn two_nodes_find_each_other_by_onion() {
        let (_keep, dir) = place();
        let (alice, bob) = (Loopback::open(&dir).unwrap(), Loopback::open(&dir).unwrap());
        let mut listener = bob.listen(BOB, &seed(2)).await.unwrap();
        assert_eq!(listener.onion(), Onion::of_seed(&seed(2)));
        assert!(listener.reachability().borrow().is_reachable());
        carries(&alice, &mut listener).await;
        assert_eq!(alice.dial(Onion::of_seed(&seed(3)), Isolation::Fresh).await.err(), Some(DialError::Unreachable));
    }

    #[tokio::test]
    async fn an_onion_has_one_listener_and_may_come_back() {
        let (_keep, dir) = place();
        let (alice, bob) = (Loopback::open(&dir).unwrap(), Loopback::open(&dir).unwrap());
        let first = bob.listen(BOB, &seed(2)).await.unwrap();
        assert_eq!(alice.listen(ALICE, &seed(2)).await.err(), Some(ListenError::InUse));
        let mut reachability = first.reachability();
        let onion = first.onion();
        drop(first);
        reachability.wait_for(|now| *now == Reachability::Stopped).await.unwrap();
        assert_eq!(alice.dial(onion, pair()).await.err(), Some(DialError::Unreachable));
        assert!(!dir.join(onion.label()).exists());
        carries(&alice, &mut bob.listen(BOB, &seed(2)).await.unwrap()).await;
    }

    #[tokio::test]
    async fn the_socket_of_a_killed_process_is_replaced() {
        let (_keep, dir) = place();
        let node = Loopback::open(&dir).unwrap();
        let path = dir.join(Onion::of_seed(&seed(2)).label());
        // Bound and closed without being removed, as after SIGKILL.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        assert_eq!(node.dial(Onion::of_seed(&seed(2)), pair()).await.err(), Some(DialError::Unreachable));
        carries(&node, &mut node.listen(BOB, &seed(2)).await.unwrap()).await;
    }

    #[tokio::test]
    async fn many_that_want_one_name_leave_it_to_one() {
        let (_keep, dir) = place();
        let nodes: Vec<_> = (0..16).map(|_| Loopback::open(&dir).unwrap()).collect();
        drop(std::os::unix::net::UnixListener::bind(dir.join(Onion::of_seed(&seed(2)).label())).unwrap());
        let wanted = seed(2);
        let mut won = Vec::new();
        for result in futures::future::join_all(nodes.iter().map(|node| node.listen(BOB, &wanted))).await {
            match result {
                Ok(listener) => won.push(listener),
                Err(error) => assert_eq!(error, ListenError::InUse),
            }
        }
        assert_eq!(won.len(), 1);
        let listener = won.first_mut().unwrap();
        // The other nodes connected to see whether a process answers.
        for _ in 1..nodes.len() {
            listener.accept().await.unwrap();
        }
        carries(nodes.first().unwrap(), listener).await;
    }

    #[tokio::test]
    async fn a_directory_with_a_long_path_works() {
        let (_keep, dir) = place();
        let long = dir.join("d".repeat(120)).join("e".repeat(120));
        let (alice, bob) = (Loopback::open(&long).unwrap(), Loopback::open(&long).unwrap());
        let mut listener = bob.listen(BOB, &seed(2)).await.unwrap();
        carries(&alice, &mut listener).await;
        assert_eq!(alice.listen(ALICE, &seed(2)).await.err(), Some(ListenError::InUse));
    }

    #[tokio::test]
    async fn a_directory_open_to_others_is_refused() {
        let (_keep, dir) = place();
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(Loopback::open(&dir), Err(StartError::OpenDirectory(_))));
        let made = dir.join("made");
        Loopback::open(&made).unwrap();
        assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        let file = made.join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Loopback::open(&file), Err(StartError::NotDirectory(_))));
    }

    #[tokio::test]
    async fn stop_ends_listeners_and_refuses_dials() {
        let (_keep, dir) = place();
        let node = Loopback::open(&dir).unwrap();
        let mut listener = node.listen(BOB, &seed(2)).await.unwrap();
        node.stop().await;
        assert!(listener.accept().await.is_none());
        assert_eq!(node.status().borrow().state, TransportState::Stopped);
        assert_eq!(node.dial(listener.onion(), pair()).await.err(), Some(DialError::Stopped));
        assert_eq!(node.listen(BOB, &seed(2)).await.err(), Some(ListenError::Stopped));
    }

    #[tokio::test]
    async fn a_full_listener_keeps_peers_waiting_and_serves_them_later() {
        let (_keep, dir) = place();
        let node = Loopback::open(&dir).unwrap();
        let mut listener = node.listen(BOB, &seed(2)).await.unwrap();
        let mut dialled = Vec::new();
        let mut accepted = Vec::new();
        for _ in 0..limits::CONNECTIONS {
            dialled.push(node.dial(listener.onion(), pair()).await.unwrap());
            accepted.push(listener.accept().await.unwrap());
        }
        dialled.push(node.dial(listener.onion(), pair()).await.unwrap());
        assert!(futures::future::FutureExt::now_or_never(listener.accept()).is_none());
        accepted.pop();
        assert!(listener.accept().await.is_some());
    }
}
