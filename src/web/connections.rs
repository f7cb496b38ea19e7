//! Who is connected and what each connection is about: deadlines, and whom to close for a newcomer.
//!
//! It is told the time and does no I/O. Whoever serves a connection holds its [`Guard`], says what it is
//! about, and closes it when the guard says so.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::subject::network_of;
use crate::telemetry::Refusal;

/// What clients can hold, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections. At the limit the idlest makes room for a newcomer.
    pub connections: usize,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request, or the beginning of the connection, to the end of its head.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// From the head of a request to the beginning of the answer; its body comes meanwhile.
    pub answer: Duration,
    /// Until the client has taken the answer.
    pub write: Duration,
}

impl Default for Limits {
    /// 128 connections; 10 s for a handshake and a head, 2 min idle, 75 s for an answer, 30 s to take it.
    fn default() -> Limits {
        Limits {
            connections: 128,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            answer: Duration::from_secs(75),
            write: Duration::from_secs(30),
        }
    }
}

/// What a connection is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// TLS is negotiated.
    Handshake,
    /// The client is asked for the next request, if it has one.
    Idle,
    /// A head is coming; the first one is due at once.
    Head,
    /// The request is worked on. Only here it is not the client whom all wait for.
    Answering,
    /// The answer goes out.
    Writing,
}

struct Entry {
    network: IpAddr,
    phase: Phase,
    phase_began: Instant,
    /// When it was last answered; before, when it came.
    quiet_since: Instant,
    close: CancellationToken,
}

/// Tells that a client was refused, and why.
pub(super) type OnRefused = Arc<dyn Fn(Refusal) + Send + Sync>;

/// All open connections of one listener.
pub(super) struct Connections {
    limits: Limits,
    on_refused: OnRefused,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next_id: u64,
    entries: BTreeMap<u64, Entry>,
}

impl Connections {
    pub(super) fn new(limits: Limits, on_refused: OnRefused) -> Arc<Connections> {
        Arc::new(Connections { limits, on_refused, table: Mutex::default() })
    }

    /// Takes a newcomer in. If there is no room, another one is closed: of the networks that hold most the
    /// one that has been quiet longest; one that is being answered only if all are.
    pub(super) fn admit(
        self: &Arc<Connections>,
        address: IpAddr,
        phase: Phase,
        now: Instant,
    ) -> Guard {
        let mut table = self.table();
        if table.entries.len() >= self.limits.connections
            && let Some(idlest) = table.idlest()
        {
            (self.on_refused)(Refusal::Full);
            table.close(idlest);
        }
        let close = CancellationToken::new();
        let network = network_of(address);
        let entry =
            Entry { network, phase, phase_began: now, quiet_since: now, close: close.clone() };
        let id = table.next_id;
        table.next_id += 1;
        table.entries.insert(id, entry);
        Guard { connections: Arc::clone(self), id, close }
    }

    /// Closes the connections whose clients are too slow.
    pub(super) fn close_overdue(&self, now: Instant) {
        let mut table = self.table();
        let overdue = |entry: &Entry| now.duration_since(entry.phase_began) > self.may_take(entry);
        let ids: Vec<u64> =
            table.entries.iter().filter(|(_, entry)| overdue(entry)).map(|(id, _)| *id).collect();
        for id in ids {
            let was_asked = table.entries.get(&id).is_some_and(|entry| entry.phase != Phase::Idle);
            table.close(id);
            if was_asked {
                (self.on_refused)(Refusal::Slow);
            }
        }
    }

    fn may_take(&self, entry: &Entry) -> Duration {
        match entry.phase {
            Phase::Handshake => self.limits.handshake,
            Phase::Idle => self.limits.idle,
            Phase::Head => self.limits.head,
            Phase::Answering => self.limits.answer,
            Phase::Writing => self.limits.write,
        }
    }

    /// A map stays usable when a thread that held it panicked.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn idlest(&self) -> Option<u64> {
        let mut held: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for entry in self.entries.values() {
            *held.entry(entry.network).or_default() += 1;
        }
        let rank = |(_, entry): &(&u64, &Entry)| {
            let is_answered = entry.phase == Phase::Answering;
            let since = if is_answered { entry.phase_began } else { entry.quiet_since };
            (is_answered, Reverse(held.get(&entry.network).copied()), since)
        };
        self.entries.iter().min_by_key(rank).map(|(id, _)| *id)
    }

    fn close(&mut self, id: u64) {
        if let Some(entry) = self.entries.remove(&id) {
            entry.close.cancel();
        }
    }
}

/// One connection's place among the others; given back when it is dropped.
pub(super) struct Guard {
    connections: Arc<Connections>,
    id: u64,
    close: CancellationToken,
}

impl Guard {
    /// Cancelled when the connection is to be closed.
    pub(super) fn close(&self) -> &CancellationToken {
        &self.close
    }

    /// What the connection is about from now on.
    pub(super) fn enter(&self, phase: Phase, now: Instant) {
        self.change(|entry| {
            if phase == Phase::Idle {
                entry.quiet_since = now;
            }
            (entry.phase, entry.phase_began) = (phase, now);
        });
    }

    /// Bytes came: the next request begins, if none was under way.
    pub(super) fn heard(&self, now: Instant) {
        self.change(|entry| {
            if entry.phase == Phase::Idle {
                (entry.phase, entry.phase_began) = (Phase::Head, now);
            }
        });
    }

    /// All that was to be written has gone: an answer, perhaps.
    pub(super) fn flushed(&self, now: Instant) {
        self.change(|entry| {
            if entry.phase == Phase::Writing {
                entry.quiet_since = now;
                (entry.phase, entry.phase_began) = (Phase::Idle, now);
            }
        });
    }

    /// Tells that this client was refused.
    pub(super) fn refuse(&self, why: Refusal) {
        (self.connections.on_refused)(why);
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.connections.table().entries.get_mut(&self.id) {
            change(entry);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.connections.table().entries.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Fixture {
        connections: Arc<Connections>,
        refused: Arc<Mutex<Vec<Refusal>>>,
        begin: Instant,
    }

    fn fixture(connections: usize) -> Fixture {
        let refused: Arc<Mutex<Vec<Refusal>>> = Arc::default();
        let told = Arc::clone(&refused);
        let on_refused: OnRefused = Arc::new(move |why| told.lock().unwrap().push(why));
        let limits = Limits { connections, ..Limits::default() };
        Fixture {
            connections: Connections::new(limits, on_refused),
            refused,
            begin: Instant::now(),
        }
    }

    impl Fixture {
        fn came(&self, address: [u8; 4], second: u32) -> Guard {
            let now = self.begin + SECOND * second;
            self.connections.admit(address.into(), Phase::Head, now)
        }

        fn at(&self, second: u32) -> Instant {
            self.begin + SECOND * second
        }

        fn refused(&self) -> Vec<Refusal> {
            self.refused.lock().unwrap().clone()
        }
    }

    const HERE: [u8; 4] = [127, 0, 0, 1];

    #[test]
    fn the_idlest_makes_room_and_those_that_are_answered_stay() {
        let all = fixture(3);
        let guards = [0, 1, 2].map(|second| all.came(HERE, second));
        guards[0].enter(Phase::Answering, all.at(3));
        // The second one was answered since, so the third is idlest.
        guards[1].enter(Phase::Writing, all.at(4));
        guards[1].flushed(all.at(5));
        let newcomer = all.came(HERE, 6);
        let closed = guards.each_ref().map(|guard| guard.close().is_cancelled());
        assert_eq!(closed, [false, false, true]);
        assert_eq!(all.refused(), [Refusal::Full]);

        newcomer.enter(Phase::Answering, all.at(7));
        guards[1].enter(Phase::Answering, all.at(8));
        let _probe = all.came(HERE, 9);
        let closed = [&guards[0], &newcomer, &guards[1]].map(|guard| guard.close().is_cancelled());
        assert_eq!(closed, [true, false, false], "all are answered; the first for longest");
    }

    #[test]
    fn who_holds_most_makes_room_first() {
        let all = fixture(3);
        let quiet = all.came([10, 0, 0, 1], 0);
        let many = [1, 2].map(|second| all.came([10, 0, 0, 2], second));
        let _newcomer = all.came([10, 0, 0, 3], 3);
        assert!(!quiet.close().is_cancelled());
        assert!(many[0].close().is_cancelled() && !many[1].close().is_cancelled());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let all = fixture(3);
        let quiet = all.came([10, 0, 0, 1], 0);
        let many = [1, 2].map(|last| {
            let address = [0x2001, 0xdb8, 0, 0, 0, 0, 0, last];
            all.connections.admit(address.into(), Phase::Head, all.at(last.into()))
        });
        let _newcomer = all.came([10, 0, 0, 3], 3);
        assert!(!quiet.close().is_cancelled() && many[0].close().is_cancelled());
    }

    #[test]
    fn each_phase_has_its_time() {
        let limits = Limits::default();
        for (phase, span, is_refused) in [
            (Phase::Handshake, limits.handshake, true),
            (Phase::Head, limits.head, true),
            (Phase::Idle, limits.idle, false),
            (Phase::Answering, limits.answer, true),
            (Phase::Writing, limits.write, true),
        ] {
            let all = fixture(3);
            let guard = all.came(HERE, 0);
            guard.enter(phase, all.at(5));
            all.connections.close_overdue(all.at(5) + span);
            assert!(!guard.close().is_cancelled(), "{phase:?}");
            all.connections.close_overdue(all.at(5) + span + SECOND);
            assert!(guard.close().is_cancelled(), "{phase:?}");
            assert_eq!(all.refused().len(), usize::from(is_refused), "{phase:?}");
        }
    }

    #[test]
    fn a_head_in_drops_has_no_more_time_than_one_at_once() {
        let all = fixture(3);
        let guard = all.came(HERE, 0);
        guard.enter(Phase::Writing, all.at(1));
        guard.flushed(all.at(1));
        for second in 60..70 {
            guard.heard(all.at(second));
        }
        all.connections.close_overdue(all.at(71));
        assert!(guard.close().is_cancelled());
    }
}
