//! Where requests happen: turns a [`Request`] into its events and puts them in order of time.

use std::{cmp::Ordering, collections::BinaryHeap, collections::VecDeque, time::Duration};

use super::{
    cluster::Cluster,
    event::{Moment, Request, write_event},
    rng::Rng,
};
use crate::engine::time::EventTime;

/// One event that is due.
#[derive(Clone, Debug)]
pub(crate) struct Emission {
    /// The event as JSON.
    pub(crate) payload: Vec<u8>,
    /// Index of the story that it belongs to.
    pub(crate) story: Option<usize>,
}

/// What has to be done later.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    /// Hand out an event.
    Event(Emission),
    /// End a watch.
    WatchEnd(WatchEnd),
    /// The next command of a person, who has so many left in this session.
    Command { person: usize, left: u64 },
    /// Something that happens now and then, however busy the cluster is.
    Background,
    /// What a control plane writes all the time, however quiet the cluster is.
    Heartbeat,
    /// Begin a story.
    Story(usize),
}

/// A watch that was started. Kept small: a busy cluster has a hundred thousand of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WatchEnd {
    /// Who and what: an index that the traffic understands.
    pub(crate) watch: u32,
    /// Its `auditID`.
    pub(crate) audit_id: AuditId,
    /// When it was asked for.
    pub(crate) received: EventTime,
}

/// Text of an `auditID`.
pub(crate) type AuditId = [u8; 36];

/// Everything that has to be done later, soonest first; what is due at one time in the order in
/// which it was entered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    entries: BinaryHeap<Scheduled>,
    entered: u64,
}

#[derive(Clone, Debug)]
struct Scheduled {
    time: EventTime,
    number: u64,
    due: Due,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Scheduled) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Scheduled) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Scheduled) -> Ordering {
        // The heap has its greatest on top; we want the soonest.
        (other.time, other.number).cmp(&(self.time, self.number))
    }
}

impl Agenda {
    /// Enters something.
    pub(crate) fn enter(&mut self, time: EventTime, due: Due) {
        self.entries.push(Scheduled { time, number: self.entered, due });
        self.entered += 1;
    }

    /// When the next thing is due.
    pub(crate) fn next_time(&self) -> Option<EventTime> {
        self.entries.peek().map(|entry| entry.time)
    }

    /// Takes the next thing.
    pub(crate) fn take(&mut self) -> Option<(EventTime, Due)> {
        self.entries.pop().map(|entry| (entry.time, entry.due))
    }
}

/// A place and a time for requests to happen.
pub(crate) struct Scene<'g> {
    /// Who and what there is.
    pub(crate) cluster: &'g Cluster,
    /// Chance.
    pub(crate) rng: &'g mut Rng,
    /// When the next request is answered; [`Scene::wait`] moves it on.
    pub(crate) now: EventTime,
    /// The story that is told, if any.
    pub(crate) story: Option<usize>,
    /// Whether requests leave a `RequestReceived` event too.
    pub(crate) received_stage: bool,
    /// What the shipper calls the cluster; empty if nothing.
    pub(crate) cluster_name: &'g str,
    /// Until then nothing is written.
    pub(crate) silent_until: &'g mut EventTime,
    /// Events that are due now.
    pub(crate) ready: &'g mut VecDeque<Emission>,
    /// Everything else.
    pub(crate) agenda: &'g mut Agenda,
    /// The generator's time: what lies after it goes to the agenda.
    pub(crate) clock: EventTime,
}

impl Scene<'_> {
    /// Lets time pass before the next request.
    pub(crate) fn wait(&mut self, span: Duration) {
        self.now = self.now.plus(span);
    }

    /// Lets so many milliseconds pass, give or take a third.
    pub(crate) fn pause(&mut self, millis: u64) {
        let span = self.rng.between(millis * 2 / 3, millis * 4 / 3);
        self.wait(Duration::from_millis(span));
    }

    /// A new `auditID`.
    pub(crate) fn audit_id(&mut self) -> AuditId {
        let mut text = Vec::with_capacity(36);
        self.rng.push_uuid(&mut text);
        text.try_into().unwrap_or([b'0'; 36])
    }

    /// A request and its answer, now.
    pub(crate) fn request(&mut self, request: &Request<'_>) {
        let audit_id = self.audit_id();
        let took = Duration::from_micros(800 + self.rng.exponential(4_000.0).min(400_000));
        // API servers do not write quite in the order of their clocks.
        let early = if self.rng.chance(20) { self.rng.below(45_000) } else { 0 };
        let answered = self.now.minus(Duration::from_micros(early));
        let received = answered.minus(took);
        self.begin(request, &audit_id, received);
        self.stage(request, "ResponseComplete", &audit_id, received, answered);
    }

    /// A long-running request, now, that lasts so long: it leaves two events.
    pub(crate) fn long_request(&mut self, request: &Request<'_>, lasts: Duration) {
        let audit_id = self.audit_id();
        let received = self.now.minus(Duration::from_micros(self.rng.between(2_000, 30_000)));
        self.begin(request, &audit_id, received);
        self.stage(request, "ResponseStarted", &audit_id, received, self.now);
        self.stage(request, "ResponseComplete", &audit_id, received, self.now.plus(lasts));
    }

    /// A login that failed, now: `ResponseStarted` is all that it leaves.
    pub(crate) fn failed_login(&mut self, request: &Request<'_>) {
        let audit_id = self.audit_id();
        let received = self.now.minus(Duration::from_micros(self.rng.between(300, 2_000)));
        self.begin(request, &audit_id, received);
        self.stage(request, "ResponseStarted", &audit_id, received, self.now);
    }

    /// A watch that starts now. Its end is entered for later.
    pub(crate) fn watch(&mut self, request: &Request<'_>, watch: u32) {
        let audit_id = self.audit_id();
        let received = self.now.minus(Duration::from_micros(self.rng.between(300, 3_000)));
        self.begin(request, &audit_id, received);
        self.stage(request, "ResponseStarted", &audit_id, received, self.now);
        // The API server ends watches after five to ten minutes; clients that go away end sooner.
        let short = self.rng.chance(150);
        let millis = if short {
            self.rng.between(1_000, 30_000)
        } else {
            self.rng.between(300_000, 600_000)
        };
        let end = WatchEnd { watch, audit_id, received };
        self.agenda.enter(self.now.plus(Duration::from_millis(millis)), Due::WatchEnd(end));
    }

    /// The `RequestReceived` stage, if it is wanted.
    fn begin(&mut self, request: &Request<'_>, audit_id: &AuditId, received: EventTime) {
        if self.received_stage {
            self.stage(request, "RequestReceived", audit_id, received, received);
        }
    }

    /// Writes one event and puts it where it belongs.
    pub(crate) fn stage(
        &mut self,
        request: &Request<'_>,
        stage: &str,
        audit_id: &AuditId,
        received: EventTime,
        stage_time: EventTime,
    ) {
        let bodies = request.sent.len() + request.returned.len();
        let mut payload = Vec::with_capacity(1_500 + bodies);
        let at = Moment { stage, audit_id, received, stage_time };
        write_event(&mut payload, request, at, true, self.cluster_name);
        let emission = Emission { payload, story: self.story };
        if stage_time <= self.clock {
            self.ready.push_back(emission);
        } else {
            self.agenda.enter(stage_time, Due::Event(emission));
        }
    }
}
