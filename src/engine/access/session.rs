//! Sessions: exec, attach, port-forward and proxy, from their start to their end.
//!
//! The log knows that a stream was opened, not that a process started in it, and when it was closed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Access, Object, Outcome, RollUp, SessionStep};
use crate::engine::time::EventTime;

/// Clients try twice when they are refused, in one way and in the other: what is refused again within
/// this time is one attempt.
const ATTEMPT: Duration = Duration::from_secs(2);

/// One session, or several that are rolled up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Which request it was.
    pub request: [u8; 16],
    /// Who.
    pub actor: Option<Arc<str>>,
    /// On whose behalf: the real caller.
    pub on_behalf_of: Option<Arc<str>>,
    /// Where.
    pub cluster: Option<Arc<str>>,
    /// In what.
    pub object: Option<Object<Arc<str>>>,
    /// From where.
    pub source_ip: Option<Arc<str>>,
    /// What was to be run.
    pub command: Option<String>,
    /// When it was opened; if the log tells of its end alone, when it was asked for, as far as that is known.
    pub start: Option<EventTime>,
    /// When it was closed, as far as the log tells.
    pub end: Option<EventTime>,
    /// How long it lasted.
    pub duration: Option<Duration>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The status.
    pub code: Option<u16>,
    /// How often it was tried; of several, how many they are.
    pub attempts: u64,
    /// Several: how many, and when they were opened. When each was closed is not told.
    pub rolled_up: Option<RollUp>,
}

impl Session {
    /// What is known of how it went, in a word.
    pub const fn state(&self) -> &'static str {
        match (self.outcome, self.end) {
            (Some(Outcome::Denied), _) => "denied",
            (Some(Outcome::Error), _) => "failed",
            _ if self.rolled_up.is_some() => "rolled_up",
            (_, Some(_)) => "ended",
            // A 101 says that the stream was opened; the command may never have begun.
            (_, None) => "opened",
        }
    }

    /// How many sessions it stands for.
    pub fn count(&self) -> u64 {
        self.rolled_up.map_or(1, |rolled_up| rolled_up.count)
    }

    /// Whether it was open then, or was closed at that moment, if it had begun. Of several: whether they were opened up to
    /// then at least.
    pub fn is_open_at(&self, time: EventTime) -> bool {
        if let Some(rolled_up) = self.rolled_up {
            return rolled_up.last >= time;
        }
        self.end.map_or(self.state() == "opened", |end| end >= time)
    }

    /// Whether it is of a time that begins then: it was heard of first in it, or was open when it began.
    pub fn is_of(&self, from: EventTime) -> bool {
        self.at() >= from || self.is_open_at(from)
    }

    /// When it was heard of first.
    pub fn at(&self) -> EventTime {
        self.start.or(self.end).unwrap_or(EventTime::MIN)
    }
}

/// Joins starts and ends.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: Vec<Session>,
    by_request: BTreeMap<[u8; 16], usize>,
}

impl Sessions {
    /// Adds the next access, in the order of time; what is no session is passed over.
    pub fn add(&mut self, access: &Access) {
        let Some(step) = access.session else { return };
        if access.rolled_up.is_some() {
            self.sessions.push(Session::several(access));
            return;
        }
        if let Some(session) =
            self.by_request.get(&access.request).and_then(|index| self.sessions.get_mut(*index))
        {
            session.join(access, step);
            return;
        }
        let mut session = Session::new(access);
        session.join(access, step);
        if session.outcome == Some(Outcome::Denied)
            && let Some(index) = self.sessions.iter().rposition(|one| one.is_again(&session))
            && let Some(before) = self.sessions.get_mut(index)
        {
            before.attempts += 1;
            self.by_request.insert(access.request, index);
            return;
        }
        self.by_request.insert(access.request, self.sessions.len());
        self.sessions.push(session);
    }

    /// What those are in that have no end yet.
    pub fn entered(&self) -> BTreeSet<Object<Arc<str>>> {
        let opened = self.sessions.iter().filter(|session| session.state() == "opened");
        opened.filter_map(|session| session.object.clone()).collect()
    }

    /// Adds a later access, if it is of one of these sessions.
    pub fn add_later(&mut self, access: &Access) {
        if self.by_request.contains_key(&access.request) {
            self.add(access);
        }
    }

    /// All of them, in the order in which they were heard of.
    pub fn finish(self) -> Vec<Session> {
        self.sessions
    }
}

impl Session {
    /// Of its first access, whichever step it tells of.
    fn new(access: &Access) -> Session {
        Session {
            request: access.request,
            actor: access.actor.id.clone(),
            on_behalf_of: access.on_behalf_of.clone(),
            cluster: access.cluster.clone(),
            object: access.object.clone(),
            source_ip: access.source_ip.clone(),
            command: access.detail.command.clone(),
            start: None,
            end: None,
            duration: None,
            outcome: access.outcome,
            code: access.code,
            attempts: 1,
            rolled_up: None,
        }
    }

    /// Of a roll-up.
    fn several(access: &Access) -> Session {
        let (rolled_up, attempts) = (access.rolled_up, access.count());
        Session { start: Some(access.at), attempts, rolled_up, ..Session::new(access) }
    }

    fn join(&mut self, access: &Access, step: SessionStep) {
        self.outcome = access.outcome.or(self.outcome);
        self.code = access.code.or(self.code);
        if step == SessionStep::Start {
            self.start = Some(self.start.map_or(access.at, |start| start.min(access.at)));
        } else {
            self.end = Some(access.at);
            self.duration = access.duration.map(Duration::from_micros);
            self.start = self.start.or(self.duration.map(|duration| access.at.minus(duration)));
        }
        if let (None, Some(start), Some(end)) = (self.duration, self.start, self.end) {
            self.duration = Some(end.since(start));
        }
    }

    /// Whether another attempt is the same that was refused a moment before.
    fn is_again(&self, other: &Session) -> bool {
        self.outcome == Some(Outcome::Denied)
            && self.rolled_up.is_none()
            && self.actor == other.actor
            && self.on_behalf_of == other.on_behalf_of
            && self.source_ip == other.source_ip
            && self.cluster == other.cluster
            && self.object == other.object
            && self.command == other.command
            && other.at().since(self.at()) <= ATTEMPT
    }
}
