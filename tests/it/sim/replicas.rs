//! Two that read the same keep the same and tell the same, however often one of them was restored.
//!
//! What is promised is a function of what was read, and of the answers that became durable. An answer that
//! its process did not make durable is lost with it: the notification is then sent again, under the same
//! id, which the simulator looks at. So here a process ends when every answer is durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZero,
    sync::Arc,
    thread,
    time::Duration,
};

use tripline::{
    engine::{
        alert::Alert,
        coordinator::{Coordinator, CoordinatorSettings, Effect, Input},
        detector::DetectionBatch,
        dispatch::{Notification, Outcome},
        state::{StateChange, StateTable},
        time::WallTime,
    },
    store::{Store as _, memory::MemoryStore},
};

use super::{
    action::Request,
    broker::{Broker, Call},
    life::{Detectors, Spans},
    number,
    receivers::Receivers,
    rng::Rng,
    rules::{rule_sets, settings},
    world::SECOND,
};

/// When it begins: 2026-01-05T09:00:00Z.
const BEGINNING: i64 = 1_767_603_600_000_000;

/// Seeds that are run each time.
const SEEDS: u64 = 40;

/// Steps of one seed in four, whose state grows large; the others have a third of them.
const STEPS: u32 = 300;

/// A topic that somebody writes to.
struct Topic {
    rng: Rng,
    broker: Broker,
    detectors: Detectors,
    next: Vec<usize>,
    now: i64,
}

impl Topic {
    fn new(seed: u64) -> Topic {
        let mut rng = Rng::new(seed);
        let partitions = 1 + rng.small(3);
        Topic {
            rng,
            broker: Broker::new(partitions),
            detectors: Detectors::new(),
            next: vec![0; usize::from(partitions)],
            now: BEGINNING,
        }
    }

    fn wall(&self) -> WallTime {
        WallTime::from_micros(self.now)
    }

    /// Some requests happen.
    fn write(&mut self) {
        for _ in 0..=self.rng.below(4) {
            let request = match self.rng.below(8) {
                0..4 => Request::Secret,
                4 | 5 => Request::Exec,
                6 => Request::ConfigMap,
                _ => Request::Garbage,
            };
            let ago = i64::try_from(self.rng.below(20)).unwrap() * SECOND;
            let time = WallTime::from_micros(self.now - ago).as_event();
            let (user, object) = (self.rng.small(3), self.rng.small(4));
            let copy = (request != Request::Garbage && self.rng.chance(20)).then_some(1);
            let call = Call { request, user, object, time };
            self.broker.produce(self.now, call, self.rng.small(3), copy);
        }
    }

    /// What a rule set detects in what was written since the last call to some of the partitions.
    fn detect(&mut self, rule_set: usize) -> DetectionBatch {
        let (now, spans) = (self.wall(), self.read());
        self.detectors.detect(now, rule_set, &self.broker, &spans)
    }

    fn read(&mut self) -> Spans {
        let mut spans = Spans::new();
        for (index, next) in self.next.iter_mut().enumerate() {
            let end = self.broker.partitions[index].records.len();
            if *next < end && self.rng.chance(70) {
                spans.push((index, *next..end));
                *next = end;
            }
        }
        spans
    }
}

/// How keys of the recorder's state begin under which the requests stand that it has recorded.
const RUNS: u8 = 1;

/// Something that left a replica.
#[derive(Debug, PartialEq)]
enum Told {
    Changed(Box<Alert>),
    Attempted(Arc<Notification>),
}

/// A coordinator whose effects are all carried out at once.
struct Replica {
    coordinator: Coordinator,
    /// Which receivers there are.
    plan: u8,
    store: MemoryStore,
    kept: Kept,
    batches: u64,
    epoch: u64,
    rule_set: usize,
    /// What left it.
    told: Vec<Told>,
    /// It has answers that are not durable.
    has_answers: bool,
}

impl Replica {
    fn new(now: WallTime, plan: u8) -> Replica {
        Replica {
            coordinator: coordinator(now, 0, plan),
            plan,
            store: MemoryStore::new(),
            kept: Kept::default(),
            batches: 0,
            epoch: 0,
            rule_set: 0,
            told: Vec::new(),
            has_answers: false,
        }
    }

    fn handle(&mut self, now: WallTime, input: Input) {
        self.coordinator.handle(now, input);
        self.run(now);
    }

    fn batch(&mut self, now: WallTime, mut detections: DetectionBatch) {
        (detections.sequence, detections.rules_epoch) = (self.batches, self.epoch);
        self.batches += 1;
        self.handle(now, Input::Batch { source: 0, detections });
    }

    fn run(&mut self, now: WallTime) {
        loop {
            self.coordinator.handle_timeout(now);
            let Some(effect) = self.coordinator.poll_effect(now) else { return };
            let mut next = Some(effect);
            while let Some(effect) = next {
                self.carry_out(now, effect);
                next = self.coordinator.poll_effect(now);
            }
        }
    }

    fn carry_out(&mut self, now: WallTime, effect: Effect) {
        match effect {
            Effect::KeepDeadLetters(_) => self.coordinator.handle(now, Input::Durable),
            Effect::Commit(checkpoint) => {
                self.store.commit(&checkpoint).unwrap();
                checkpoint.changes.iter().for_each(|change| self.kept.apply(change));
                self.has_answers = false;
                self.coordinator.handle(now, Input::Durable);
            }
            Effect::AlertChanged(alert) => self.told.push(Told::Changed(alert)),
            Effect::Attempt(notification) => {
                self.told.push(Told::Attempted(Arc::clone(&notification)));
                self.has_answers = true;
                let outcome = Outcome::Delivered { receipt: None };
                self.coordinator.handle(now, Input::Outcome { notification, outcome });
            }
            Effect::UseRules { epoch, .. } => self.epoch = epoch,
            Effect::Publish(_)
            | Effect::NothingToCommit
            | Effect::Counted { .. }
            | Effect::Archive(_)
            | Effect::Acted { .. }
            | Effect::ActsChanged(_)
            | Effect::WasAway(_) => {}
            Effect::StopSources | Effect::End(_) => panic!("nobody told it to stop"),
        }
    }

    /// Its process ends; another one takes over what is durable.
    fn restart(&mut self, now: WallTime) {
        self.coordinator = coordinator(now, self.rule_set, self.plan);
        let loaded = self.store.load().unwrap();
        let (report, unusable) = self.coordinator.restore(loaded.positions, loaded.entries, &[]);
        assert_eq!((report.outdated, report.unusable, unusable), (0, 0, 0), "{report:?}");
        (self.batches, self.epoch) = (0, 0);
    }
}

/// What it names: a table, and a key in it. All runs of a rule's identities that are forgotten at one time have
/// one name, since how they are cut depends on when they were written.
type Name = (StateTable, Vec<u8>);

/// Everything that a replica has made durable, and what of it changed since it was last compared.
#[derive(Default)]
struct Kept {
    /// Pieces of what stands under a name, by number: one, unless these are runs.
    pieces: BTreeMap<Name, BTreeMap<u64, Vec<u8>>>,
    changed: BTreeSet<Name>,
}

impl Kept {
    fn apply(&mut self, change: &StateChange) {
        let (table, key) = (change.table, &change.key);
        let run = |rule: &str, until: i64| format!("{rule} {until}").into_bytes();
        let (name, number) = if table == StateTable::Identity {
            let (rule, until, number): (String, i64, u64) = postcard::from_bytes(key).unwrap();
            ((table, run(&rule, until)), number)
        } else if table == StateTable::Recorder && key.first() == Some(&RUNS) {
            let (_, until, number): (u8, i64, u64) = postcard::from_bytes(key).unwrap();
            ((table, run("runs", until)), number)
        } else {
            ((table, key.clone()), 0)
        };
        let pieces = self.pieces.entry(name.clone()).or_default();
        match &change.value {
            Some(value) => pieces.insert(number, value.clone()),
            None => pieces.remove(&number),
        };
        if pieces.is_empty() {
            self.pieces.remove(&name);
        }
        self.changed.insert(name);
    }

    /// What stands under a name.
    fn value(&self, name: &Name) -> Option<Vec<u8>> {
        Some(self.pieces.get(name)?.values().flatten().copied().collect())
    }
}

/// Two that had the same have the same still: only what changed in one of them can differ.
fn compare(one: &mut Kept, other: &mut Kept, what: impl Fn() -> String) {
    let mut changed = std::mem::take(&mut one.changed);
    changed.append(&mut other.changed);
    for name in changed {
        // Runs may be cut otherwise.
        if one.pieces.get(&name) != other.pieces.get(&name) {
            assert_eq!(one.value(&name), other.value(&name), "{}: {name:?}", what());
        }
    }
}

fn coordinator(now: WallTime, rule_set: usize, plan: u8) -> Coordinator {
    let checkpoint_interval = Duration::from_secs(1);
    let own = CoordinatorSettings { sources: 1, checkpoint_interval, drain: Duration::ZERO };
    let rules = Arc::clone(&rule_sets()[rule_set]);
    Coordinator::new(now, rules, settings(), &Receivers::new(plan).plan, own)
}

/// One that is never restored and one that often is.
fn restored_is_as_straight(seed: u64) {
    let mut topic = Topic::new(seed);
    let names = topic.broker.names();
    let plan = topic.rng.small(3);
    let mut replicas = [Replica::new(topic.wall(), plan), Replica::new(topic.wall(), plan)];
    let ready = Input::Ready { source: 0, partitions: names };
    let mut is_ready = false;
    let steps = if seed.is_multiple_of(4) { STEPS } else { STEPS / 3 };
    for step in 0..steps {
        let most = if topic.rng.chance(10) { 120 * SECOND } else { 5 * SECOND };
        topic.now += i64::try_from(topic.rng.below(u64::try_from(most).unwrap())).unwrap();
        if topic.rng.chance(60) {
            topic.write();
        }
        let now = topic.wall();
        match topic.rng.below(20) {
            0 => {
                let rule_set = usize::from(topic.rng.small(4));
                for replica in &mut replicas {
                    replica.rule_set = rule_set;
                    replica.handle(now, Input::Rules(Arc::clone(&rule_sets()[rule_set])));
                }
            }
            1 => {
                is_ready = false;
                for replica in &mut replicas {
                    replica.handle(now, Input::Unavailable { source: 0 });
                }
            }
            2 | 3 => {
                is_ready = true;
                for replica in &mut replicas {
                    replica.handle(now, ready.clone());
                }
            }
            4 | 5 => {
                let now = loop {
                    topic.now += SECOND;
                    let now = topic.wall();
                    for replica in &mut replicas {
                        replica.run(now);
                    }
                    if !replicas.iter().any(|replica| replica.has_answers) {
                        break now;
                    }
                };
                replicas[1].restart(now);
                if is_ready {
                    for replica in &mut replicas {
                        replica.handle(now, ready.clone());
                    }
                }
            }
            _ if is_ready => {
                // Once for both: a detector tells a use of a permission only the first time.
                let detections = topic.detect(replicas[0].rule_set);
                for replica in &mut replicas {
                    replica.batch(now, detections.clone());
                }
            }
            _ => {
                for replica in &mut replicas {
                    replica.run(now);
                }
            }
        }
        topic.now += SECOND;
        let now = topic.wall();
        for replica in &mut replicas {
            replica.run(now);
        }
        let [straight, restored] = &mut replicas;
        assert_eq!(straight.told, restored.told, "seed {seed}, step {step}");
        compare(&mut straight.kept, &mut restored.kept, || format!("seed {seed}, step {step}"));
        straight.told.clear();
        restored.told.clear();
    }
}

#[test]
fn two_that_read_the_same_are_the_same() {
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(4);
    thread::scope(|scope| {
        for first in 0..threads as u64 {
            scope.spawn(move || (first..seeds).step_by(threads).for_each(restored_is_as_straight));
        }
    });
}
