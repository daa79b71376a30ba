//! What the server listens on: TCP, or a UNIX socket.

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::io::Errno;
use tokio::net::{TcpListener, UnixListener, UnixSocket};

use super::ServeError;
use super::stream::Stream;
use crate::config::ServerConfig;
use crate::systemd::{self, Given};

/// Who may open the UNIX socket: the server's user and group.
const MODE: u32 = 0o660;

/// Connections that wait to be accepted, at most; the kernel may allow fewer.
const BACKLOG: u32 = 1024;

/// How long other servers that begin or end are waited for, and how often it is looked.
const TURN: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(5);

/// A socket that connections come in at.
pub(super) enum Listener {
    /// Of every client.
    Tcp(TcpListener),
    /// Of proxies on this machine.
    Unix {
        listener: UnixListener,
        /// Where it isn't systemd's.
        _file: Option<SocketFile>,
    },
}

impl Listener {
    /// The socket that systemd gives; otherwise the UNIX socket that is configured; otherwise
    /// the address; without one, all, or all of IPv4 where there is no IPv6.
    pub(super) async fn open(config: &ServerConfig) -> Result<Self, ServeError> {
        match systemd::listener().map_err(ServeError::Socket)? {
            Some(Given::Tcp(listener)) => {
                return Ok(Self::Tcp(TcpListener::from_std(listener).map_err(ServeError::Socket)?));
            }
            Some(Given::Unix(listener)) => {
                let listener = UnixListener::from_std(listener).map_err(ServeError::Socket)?;
                return Ok(Self::Unix { listener, _file: None });
            }
            None => {}
        }
        if let Some(path) = &config.socket {
            let failed = |source| ServeError::UnixSocket { path: path.clone(), source };
            let (listener, file) = listen_at(path).map_err(failed)?;
            return Ok(Self::Unix { listener, _file: Some(file) });
        }
        let any: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        let addresses = config.address.as_ref().map_or(&any[..], std::slice::from_ref);
        let addresses: Vec<SocketAddr> =
            addresses.iter().map(|&address| SocketAddr::new(address, config.port)).collect();
        let listener =
            TcpListener::bind(&addresses[..]).await.map_err(|source| ServeError::Listen {
                address: addresses.last().map(SocketAddr::to_string).unwrap_or_default(),
                source,
            })?;
        Ok(Self::Tcp(listener))
    }

    /// Where that is, for people.
    pub(super) fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Self::Unix { listener, .. } => {
                let address = listener.local_addr()?;
                let path = address.as_pathname().map(|path| path.display().to_string());
                Ok(format!("unix:{}", path.unwrap_or_default()))
            }
        }
    }

    /// The next connection, and the address of its client; at a UNIX socket it has none.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // A response is often a small head and then a body: don't wait to join them.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Some(peer.ip().to_canonical())))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), None))
            }
        }
    }
}

/// Listens there, in place of a server that is gone.
fn listen_at(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    // Until it is listened there: nobody else takes it for left behind before.
    let _alone = alone(path)?;
    make_room(path)?;
    let socket = UnixSocket::new_stream()?;
    // What the file gets, less the umask: so at no time can others open it.
    fchmod(&socket, Mode::from_raw_mode(MODE))?;
    socket.bind(path)?;
    let (file, listener) = (SocketFile::at(path)?, socket.listen(BACKLOG)?);
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    Ok((listener, file))
}

/// Waits until no other server begins to listen, or ends, in the same directory, and has
/// those wait that come later, as long as what is returned is there (flock(2)).
fn alone(path: &Path) -> io::Result<File> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?,
        Some(_) | None => File::open(".")?,
    };
    let begin = Instant::now();
    loop {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(Errno::WOULDBLOCK) if begin.elapsed() < TURN => thread::sleep(AGAIN),
            Err(Errno::WOULDBLOCK) => {
                let problem = "something keeps the socket's directory locked";
                return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes a socket on which nobody listens, and nothing else.
fn make_room(path: &Path) -> io::Result<()> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !there.file_type().is_socket() {
        let problem = "there is something else than a socket, which is left alone";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, problem));
    }
    match StdUnixStream::connect(path) {
        Ok(_) => {
            let problem = "another server listens there";
            Err(io::Error::new(io::ErrorKind::AddrInUse, problem))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// The file of a UNIX socket, removed at the end, unless it is another one by then.
pub(super) struct SocketFile {
    path: PathBuf,
    id: FileId,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), id: id(path)? })
    }
}

/// What tells a file from all others: device, inode, and when it was made, as the number of
/// an inode is used again.
type FileId = (u64, u64, Option<SystemTime>);

fn id(path: &Path) -> io::Result<FileId> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino(), file.created().ok()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Without it, another server's might be removed that comes at this very moment.
        let Ok(_alone) = alone(&self.path) else { return };
        if id(&self.path).is_ok_and(|id| id == self.id) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_the_group_and_goes_with_its_server() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        let (listener, file) = listen_at(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, MODE);
        let taken = listen_at(&path).err().unwrap();
        assert!(taken.to_string().contains("another server"), "{taken}");
        drop(listener);
        // As after a crash: the file is there, and nobody listens.
        let (_listener, replaced) = listen_at(&path).unwrap();
        drop(file);
        assert!(path.exists(), "it is another's by now");
        drop(replaced);
        assert!(!path.exists());
    }

    /// Of those that saw what was left behind, one could remove the socket of another.
    #[tokio::test]
    async fn of_servers_that_begin_together_one_listens() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("socket");
        for _ in 0..300 {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let runtime = tokio::runtime::Handle::current();
            let together = std::sync::Barrier::new(4);
            let begin = || {
                let _runtime = runtime.enter();
                together.wait();
                listen_at(&path)
            };
            let servers: Vec<_> = thread::scope(|scope| {
                let servers: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
                servers.into_iter().map(|server| server.join().unwrap()).collect()
            });
            let listening = servers.iter().filter(|server| server.is_ok()).count();
            assert_eq!(listening, 1);
            StdUnixStream::connect(&path).unwrap();
        }
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "precious").unwrap();
        let error = listen_at(&path).err().unwrap();
        assert!(error.to_string().contains("left alone"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
