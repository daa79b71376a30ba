//! Waiting until Nix may run for an image.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::counters;
use crate::places::site;

/// Builds for which Nix may run at a time. Those that wait are let in client by client, so
/// that what somebody wants waits for one build of each other client at most, however many
/// they have begun before.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Clients that wait, in the order in which they are let in, with what is to be told
    /// for each of their builds, the first first.
    clients: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    client: Option<IpAddr>,
    builds: VecDeque<oneshot::Sender<Taken>>,
}

/// A turn, until this is dropped.
#[derive(Debug)]
struct Taken(Turns);

impl Turns {
    pub(super) fn new(number: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: number, clients: VecDeque::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each step leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn that is free, or who will tell of one.
    fn ask(&self, client: Option<IpAddr>) -> Result<Taken, oneshot::Receiver<Taken>> {
        let client = client.map(site);
        let mut state = self.lock();
        if state.free > 0 {
            state.free -= 1;
            return Ok(Taken(self.clone()));
        }
        let (tell, told) = oneshot::channel();
        match state.clients.iter_mut().find(|waiting| waiting.client == client) {
            Some(waiting) => waiting.builds.push_back(tell),
            None => state.clients.push_back(Waiting { client, builds: VecDeque::from([tell]) }),
        }
        Err(told)
    }

    /// Who is to have the turn that is given back; it is free if there is nobody.
    fn next(&self) -> Option<oneshot::Sender<Taken>> {
        let mut state = self.lock();
        while let Some(mut waiting) = state.clients.pop_front() {
            let next = waiting.builds.pop_front();
            if !waiting.builds.is_empty() {
                state.clients.push_back(waiting);
            }
            match next {
                // Its build was given up.
                Some(tell) if tell.is_closed() => {}
                Some(tell) => return Some(tell),
                None => {}
            }
        }
        state.free += 1;
        None
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(tell) = self.0.next() {
            // If it is given up in this moment, what comes back is dropped, and so on.
            let _ = tell.send(Self(self.0.clone()));
        }
    }
}

/// The turn of one image: not taken until it needs Nix, and kept until it is made.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    client: Option<IpAddr>,
    taken: Option<Taken>,
}

impl<'a> Turn<'a> {
    /// `client` is for whom the image is made, if that is known.
    pub(super) fn new(turns: &'a Turns, client: Option<IpAddr>) -> Self {
        Self { turns, client, taken: None }
    }

    /// Waits for it, if it isn't taken yet.
    pub(super) async fn take(&mut self, image: &str) {
        if self.taken.is_some() {
            return;
        }
        let _waiting = counters::build_waiting();
        self.taken = match self.turns.ask(self.client) {
            Ok(taken) => Some(taken),
            Err(told) => {
                tracing::info!(image, "waiting for other builds");
                // Always told, as each turn that was taken is given back.
                told.await.ok()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    /// Who gets the turns that are given back one after the other.
    fn order(
        turns: &Turns,
        mut waiting: Vec<(&'static str, oneshot::Receiver<Taken>)>,
        first: Taken,
    ) -> Vec<&'static str> {
        let mut order = Vec::new();
        drop(first);
        while !waiting.is_empty() {
            let found = waiting
                .iter_mut()
                .enumerate()
                .find_map(|(index, (_, told))| told.try_recv().ok().map(|taken| (index, taken)));
            let (index, taken) = found.unwrap();
            assert_eq!(turns.lock().free, 0);
            order.push(waiting.remove(index).0);
            drop(taken);
        }
        order
    }

    #[test]
    fn who_has_begun_much_lets_others_go_first() {
        let turns = Turns::new(1);
        let first = turns.ask(Some(client(1))).unwrap();
        let mut waiting = Vec::new();
        for (name, number) in
            [("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("a4", 1), ("c1", 3), ("b2", 2)]
        {
            waiting.push((name, turns.ask(Some(client(number))).unwrap_err()));
        }
        assert_eq!(order(&turns, waiting, first), ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
        assert_eq!(turns.lock().free, 1);
        assert!(turns.lock().clients.is_empty());
    }

    #[test]
    fn what_is_given_up_takes_no_turn() {
        let turns = Turns::new(2);
        let (first, second) = (turns.ask(None).unwrap(), turns.ask(None).unwrap());
        let mut waiting: Vec<_> =
            (0..9).map(|number| turns.ask(Some(client(number % 3))).unwrap_err()).collect();
        let mut told = waiting.remove(5);
        drop(waiting);
        drop(first);
        let taken = told.try_recv().unwrap();
        drop(second);
        assert_eq!(turns.lock().free, 1);
        drop(taken);
        assert_eq!(turns.lock().free, 2);

        // Told, but gone before it could hear.
        let (first, second) = (turns.ask(None).unwrap(), turns.ask(None).unwrap());
        let told = turns.ask(None).unwrap_err();
        drop(first);
        drop(told);
        assert_eq!(turns.lock().free, 1);
        drop(second);
        assert_eq!(turns.lock().free, 2);
    }
}
