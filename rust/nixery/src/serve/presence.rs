//! Finding out that a client is gone without a word, as when a cable is cut: nothing ever
//! says so, and nothing that is sent to it comes back.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

use super::stream::Stream;

/// How often TCP asks before it gives up.
const TIMES: u32 = 4;

/// Below, a client that is there might not be able to answer in time.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest that Linux takes for the pauses between its questions (`MAX_TCP_KEEPIDLE` and
/// `MAX_TCP_KEEPINTVL` in include/net/tcp.h).
const LONGEST_PAUSE: Duration = Duration::from_secs(32_767);

/// For how long there may be no sign of a client, and when it is asked for one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Presence {
    /// Without a sign.
    silence: Duration,
}

impl Presence {
    /// After so much silence, whoever owes a sign is taken for gone: half of it passes before
    /// a client is asked that has nothing to say.
    pub(super) fn new(silence: Duration) -> Self {
        Self { silence }
    }

    /// Has the kernel end a connection whose other end doesn't acknowledge what was sent, or
    /// has no room for more, for so long; or doesn't answer when it is asked whether it is
    /// there, if there is nothing to send (tcp(7)). A UNIX socket has no cable.
    pub(super) fn look_after(self, stream: &Stream) {
        match stream {
            // Fails for a client that has left; that is noticed later.
            Stream::Tcp(stream) => drop(self.set(stream)),
            Stream::Unix(_) => {}
        }
    }

    fn set(self, stream: impl AsFd) -> rustix::io::Result<()> {
        // Otherwise what was sent is sent again and again, for a quarter of an hour and more.
        sockopt::set_tcp_user_timeout(&stream, self.silence_ms())?;
        sockopt::set_tcp_keepidle(&stream, self.pause(2))?;
        sockopt::set_tcp_keepintvl(&stream, self.pause(2 * TIMES))?;
        sockopt::set_tcp_keepcnt(&stream, TIMES)?;
        sockopt::set_socket_keepalive(&stream, true)
    }

    /// The kernel has a signed number of it.
    fn silence_ms(self) -> u32 {
        i32::try_from(self.silence.as_millis()).unwrap_or(i32::MAX).unsigned_abs()
    }

    /// A part of it, in whole seconds.
    fn pause(self, divisor: u32) -> Duration {
        (self.silence / divisor).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }

    /// How often a client of HTTP/2 is asked, by a ping: of programs that keep a connection
    /// open and don't look at it, TCP says nothing.
    pub(super) fn ping_every(self) -> Duration {
        (self.silence / 4).max(SHORTEST_PAUSE)
    }

    /// How long its answer may take.
    pub(super) fn ping_timeout(self) -> Duration {
        (self.silence / 6).max(SHORTEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_asks_for_two_minutes_and_others_in_proportion() {
        let seconds = Duration::from_secs;
        let presence = Presence::new(seconds(120));
        assert_eq!((presence.pause(2), presence.pause(2 * TIMES)), (seconds(60), seconds(15)));
        assert_eq!((presence.ping_every(), presence.ping_timeout()), (seconds(30), seconds(20)));
        assert_eq!(presence.silence_ms(), 120_000);
    }

    #[tokio::test]
    async fn the_kernel_takes_every_value_that_can_be_set() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        for (seconds, idle, interval, ms) in [
            (1, 1, 1, 1000),
            (120, 60, 15, 120_000),
            (31_536_000, 32_767, 32_767, i32::MAX.unsigned_abs()),
        ] {
            Presence::new(Duration::from_secs(seconds)).set(&stream).unwrap();
            assert_eq!(sockopt::tcp_keepidle(&stream).unwrap().as_secs(), idle, "{seconds}");
            assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap().as_secs(), interval, "{seconds}");
            assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), ms, "{seconds}");
            assert!(sockopt::socket_keepalive(&stream).unwrap());
        }
    }
}
