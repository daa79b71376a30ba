//! What systemd wants to know, and what it gives: readiness, a watchdog, sockets, the
//! journal. Without systemd, all of it does nothing.

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::fs::fstat;
use sd_notify::NotifyState;

/// Says that requests are served (`sd_notify(3)`).
pub fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the configuration is read again, until [`ready`] is said again.
pub fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // Wanted by units of the type notify-reload.
    states.extend(NotifyState::monotonic_usec_now().ok());
    notify(&states);
}

/// Says that it ends.
pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing running responses")]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd can't be told");
    }
}

/// How often systemd is to be told that this process is alive, if it wants to be.
pub fn watchdog_interval() -> Option<Duration> {
    // Twice in the time after which it would be killed.
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Says that it is alive.
pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// A socket that systemd listens on.
#[derive(Debug)]
pub enum Given {
    /// `ListenStream=` with a port.
    Tcp(TcpListener),
    /// `ListenStream=` with a path.
    Unix(UnixListener),
}

/// The socket that systemd listens on for this process, if it does
/// (`sd_listen_fds(3)`).
pub fn listener() -> io::Result<Option<Given>> {
    let mut given = ListenFd::from_env();
    if given.len() > 1 {
        let problem = format!("systemd gave {} sockets, expected one", given.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    // Fails, and leaves it, where it is of the other kind.
    if let Ok(Some(listener)) = given.take_unix_listener(0) {
        listener.set_nonblocking(true)?;
        return Ok(Some(Given::Unix(listener)));
    }
    let Some(listener) = given.take_tcp_listener(0)? else { return Ok(None) };
    listener.set_nonblocking(true)?;
    Ok(Some(Given::Tcp(listener)))
}

/// Whether standard error is the journal (`systemd.exec(5)`, `$JOURNAL_STREAM`).
pub fn logs_to_journal() -> bool {
    let Ok(stream) = env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = fstat(io::stderr().as_fd()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}
