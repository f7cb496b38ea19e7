//! Makes the traffic of a busy cluster, with attacks in it: for the demo, for load tests, and for
//! people who have no cluster at hand.
//!
//! A seed and a start time determine every byte. The generator is told the time and never waits:
//! event times follow a simulated clock, and whoever wants them live paces the iterator. The bulk is
//! quiet: none of it should make a shipped rule fire. What should is in [`STORIES`].

mod body;
mod cluster;
mod event;
mod json;
mod people;
mod rng;
mod scene;
mod score;
mod stories;
mod traffic;

use std::{collections::VecDeque, time::Duration};

use jiff::tz::TimeZone;

use crate::engine::time::EventTime;
use cluster::Cluster;
use rng::Rng;
use scene::{Agenda, Due, Emission, Scene};
pub use score::{Score, StoryScore, score};
pub use stories::{STORIES, Story};

/// What every event that stands alone begins with; items of an EventList do not.
const TYPE_PREFIX: &[u8] = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#;

/// Mean microseconds between small mishaps ([`traffic::background`]).
const BACKGROUND_MEAN_MICROS: f64 = 12_000_000.0;

/// Time between two heartbeats ([`traffic::heartbeat`]) at least: 60 s. A busy cluster shows more signs of
/// life by itself.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// What traffic is wanted.
#[derive(Clone, Debug)]
pub struct GenerateSettings {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Event time of the beginning.
    pub start: EventTime,
    /// Events a second of simulated time, people and stories aside. At least 0.1; also decides how
    /// many nodes the cluster has.
    pub rate: f64,
    /// Partitions to spread records over, at least 1.
    pub partitions: u32,
    /// Whether every request leaves a `RequestReceived` event too, as under a policy that omits no
    /// stages.
    pub received_stage: bool,
    /// A name that each event has in a field `cluster`, as shippers add it; none if empty.
    pub cluster: String,
    /// So many of a thousand records are an EventList of 2 to 6 events.
    pub event_lists_per_mille: u32,
    /// If not 0, every record is an EventList of so many events, as API servers send them to webhooks.
    pub batch: u32,
    /// Which attacks happen when.
    pub stories: StoryPlan,
}

impl Default for GenerateSettings {
    /// 50 events a second from the epoch on, no stories.
    fn default() -> GenerateSettings {
        GenerateSettings {
            seed: 1,
            start: EventTime::from_micros(0),
            rate: 50.0,
            partitions: 1,
            received_stage: false,
            cluster: String::new(),
            event_lists_per_mille: 2,
            batch: 0,
            stories: StoryPlan::default(),
        }
    }
}

/// Which attacks happen when.
#[derive(Clone, Debug, Default)]
pub struct StoryPlan {
    /// Indexes into [`STORIES`], in the order in which they happen.
    pub stories: Vec<usize>,
    /// Simulated time before the first.
    pub first_after: Duration,
    /// Simulated time between the beginnings of two.
    pub gap: Duration,
    /// Begin again with the first, `gap` after the last.
    pub repeat: bool,
}

impl StoryPlan {
    /// All stories that need no history, evenly over a time.
    pub fn all_within(first_after: Duration, span: Duration) -> StoryPlan {
        StoryPlan::within(Story::all(false), first_after, span)
    }

    /// Stories, evenly over a time.
    pub fn within(stories: Vec<usize>, first_after: Duration, span: Duration) -> StoryPlan {
        let gap = span / u32::try_from(stories.len()).unwrap_or(u32::MAX).max(1);
        StoryPlan { stories, first_after, gap, repeat: false }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// When it would be sent: the latest event time in it. Never decreases.
    pub time: EventTime,
    /// The partition that it belongs to.
    pub partition: u32,
    /// One audit event as JSON, or an EventList.
    pub payload: Vec<u8>,
    /// How many events it holds.
    pub events: u32,
    /// The story that it belongs to: an index into [`STORIES`].
    pub story: Option<usize>,
}

/// An endless stream of records. Cost: about 2 µs each.
#[derive(Clone, Debug)]
pub struct Generator {
    settings: GenerateSettings,
    cluster: Cluster,
    zones: Vec<TimeZone>,
    bulk: Rng,
    people: Rng,
    story: Rng,
    spread: Rng,
    clock: EventTime,
    next_bulk: EventTime,
    mean_micros: f64,
    agenda: Agenda,
    ready: VecDeque<Emission>,
    stories_begun: Vec<(usize, EventTime)>,
    story_number: usize,
    /// Until then nothing is written, though everything goes on.
    silent_until: EventTime,
}

impl Generator {
    /// Sets the scene. Cost: some milliseconds for a cluster of many nodes.
    pub fn new(settings: GenerateSettings) -> Generator {
        let mut seed = Rng::new(settings.seed);
        let rate = settings.rate.max(0.1);
        // Requests with a second event: watches now and then, and all of them with both stages.
        let events_per_request = if settings.received_stage { 2.0 } else { 1.05 };
        let mut generator = Generator {
            cluster: Cluster::new(&mut seed.fork(), rate),
            zones: people::zones(),
            bulk: seed.fork(),
            people: seed.fork(),
            story: seed.fork(),
            spread: seed.fork(),
            clock: settings.start,
            next_bulk: settings.start,
            mean_micros: 1_000_000.0 * events_per_request / rate,
            agenda: Agenda::default(),
            ready: VecDeque::new(),
            stories_begun: Vec::new(),
            story_number: 0,
            silent_until: EventTime::MIN,
            settings,
        };
        generator.with_scene(Chance::People, None, people::begin);
        generator.agenda.enter(generator.clock, Due::Background);
        generator.agenda.enter(generator.clock.plus(HEARTBEAT), Due::Heartbeat);
        let plan = &generator.settings.stories;
        if let Some(first) = plan.stories.first() {
            generator.agenda.enter(generator.clock.plus(plan.first_after), Due::Story(*first));
        }
        generator
    }

    /// The stories that have begun, as indexes into [`STORIES`], with the event time at which they
    /// did. Grows with each that begins.
    pub fn stories_begun(&self) -> &[(usize, EventTime)] {
        &self.stories_begun
    }

    fn with_scene(
        &mut self,
        chance: Chance,
        story: Option<usize>,
        play: impl FnOnce(&mut Scene<'_>),
    ) {
        let rng = match chance {
            Chance::Bulk => &mut self.bulk,
            Chance::People => &mut self.people,
            Chance::Story => &mut self.story,
        };
        play(&mut Scene {
            cluster: &self.cluster,
            rng,
            now: self.clock,
            story,
            received_stage: self.settings.received_stage,
            cluster_name: &self.settings.cluster,
            silent_until: &mut self.silent_until,
            ready: &mut self.ready,
            agenda: &mut self.agenda,
            clock: self.clock,
        });
    }

    /// The next event.
    fn next_emission(&mut self) -> Emission {
        loop {
            if let Some(emission) = self.ready.pop_front() {
                if self.clock < self.silent_until {
                    continue;
                }
                return emission;
            }
            let due = self.agenda.next_time().filter(|time| *time <= self.next_bulk);
            if due.is_some()
                && let Some((time, due)) = self.agenda.take()
            {
                self.clock = self.clock.max(time);
                self.perform(due);
                continue;
            }
            self.clock = self.clock.max(self.next_bulk);
            let gap = self.bulk.exponential(self.mean_micros);
            self.next_bulk = self.clock.plus(Duration::from_micros(gap));
            self.with_scene(Chance::Bulk, None, traffic::play);
        }
    }

    fn perform(&mut self, due: Due) {
        match due {
            Due::Event(emission) => self.ready.push_back(emission),
            Due::WatchEnd(end) => {
                self.with_scene(Chance::Bulk, None, |scene| traffic::end_watch(scene, &end));
            }
            Due::Command { person, left } => {
                let zones = std::mem::take(&mut self.zones);
                self.with_scene(Chance::People, None, |scene| {
                    people::next_command(scene, &zones, person, left);
                });
                self.zones = zones;
            }
            Due::Background => {
                self.with_scene(Chance::People, None, traffic::background);
                let gap = self.people.exponential(BACKGROUND_MEAN_MICROS);
                self.agenda.enter(self.clock.plus(Duration::from_micros(gap)), Due::Background);
            }
            Due::Heartbeat => {
                self.with_scene(Chance::People, None, traffic::heartbeat);
                self.agenda.enter(self.clock.plus(HEARTBEAT), Due::Heartbeat);
            }
            Due::Story(index) => self.begin_story(index),
        }
    }

    fn begin_story(&mut self, index: usize) {
        if let Some(story) = STORIES.get(index) {
            self.stories_begun.push((index, self.clock));
            self.with_scene(Chance::Story, Some(index), story.play);
        }
        self.story_number += 1;
        let plan = &self.settings.stories;
        if self.story_number < plan.stories.len() || plan.repeat {
            let next = plan.stories.get(self.story_number % plan.stories.len().max(1));
            if let Some(next) = next {
                // A gap of zero with `repeat` would never let the clock move on.
                let gap = plan.gap.max(Duration::from_millis(1));
                self.agenda.enter(self.clock.plus(gap), Due::Story(*next));
            }
        }
    }

    fn event_list(&mut self, length: u64) -> Generated {
        let mut payload =
            br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#
                .to_vec();
        let (mut events, mut story) = (0, None);
        for index in 0..length {
            let emission = self.next_emission();
            if index > 0 {
                payload.push(b',');
            }
            payload.push(b'{');
            let text = emission.payload.strip_prefix(TYPE_PREFIX);
            payload.extend_from_slice(text.unwrap_or(&emission.payload));
            events += 1;
            story = story.or(emission.story);
        }
        payload.extend_from_slice(b"]}");
        Generated { time: self.clock, partition: self.partition(), payload, events, story }
    }

    fn partition(&mut self) -> u32 {
        let partitions = u64::from(self.settings.partitions.max(1));
        u32::try_from(self.spread.below(partitions)).unwrap_or(0)
    }
}

/// Whose chance decides: each part of the traffic has its own, so that stories do not change the
/// bulk around them.
#[derive(Clone, Copy, Debug)]
enum Chance {
    Bulk,
    People,
    Story,
}

impl Iterator for Generator {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        if self.settings.batch > 0 {
            return Some(self.event_list(u64::from(self.settings.batch)));
        }
        if self.spread.chance(u64::from(self.settings.event_lists_per_mille)) {
            let length = self.spread.between(2, 6);
            return Some(self.event_list(length));
        }
        let emission = self.next_emission();
        let partition = self.partition();
        let Emission { payload, story, .. } = emission;
        Some(Generated { time: self.clock, partition, payload, events: 1, story })
    }
}
