//! What can happen in the simulated world, and how a seed becomes a list of it.
//!
//! An action says all that is needed to do it again: a trace is a list of actions, and every part of
//! a trace is a trace. An action that makes no sense where it stands does nothing.

use serde::{Deserialize, Serialize};

use super::{
    rng::Rng,
    world::{Driver, World},
};

/// What a world is made of, beside what happens in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Config {
    /// The seed it was made from, for people.
    pub(super) seed: u64,
    /// Partitions of the topic.
    pub(super) partitions: u8,
    /// Which routes and receivers.
    pub(super) plan: u8,
    /// Whether the shell does what the coordinator says.
    #[serde(default)]
    pub(super) driver: Driver,
}

/// Which request an event reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Request {
    /// Counted by most rules.
    Secret,
    /// A rule of its own, with a cool-down.
    ConfigMap,
    /// Runs long: the answer comes at once, its end with [`Action::EndExec`].
    Exec,
    /// No rule cares.
    Other,
    /// No event at all.
    Garbage,
}

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    /// Taken, and the answer arrives.
    Accept,
    /// Taken, but the answer is lost: to the sender it is a timeout.
    AcceptAndLose,
    /// 429 with `Retry-After` in seconds.
    Busy(u16),
    /// 500.
    ServerError,
    /// Not taken, no answer.
    Timeout,
    /// Not taken, the connection broke.
    Reset,
    /// Not taken, and not to be tried again soon: 400, 401, 413, a form that it does not know.
    Refuse,
    /// Whether taken or not, the sender never hears of it: its task died.
    Vanish(bool),
}

/// How a commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Sync {
    /// Durable, and said so.
    Durable,
    /// An error, and nothing was written.
    Failed,
    /// An error, but it is durable all the same.
    FailedButWritten,
}

/// One thing that happens. Numbers that pick something are taken modulo what there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    /// `count` requests are recorded, `ago_ms` after they happened; `copy`: the first of them is
    /// recorded in that partition too, as a webhook that retries does.
    Produce {
        request: Request,
        user: u8,
        object: u8,
        partition: u8,
        count: u8,
        ago_ms: u16,
        copy: Option<u8>,
    },
    /// A long-running request ends.
    EndExec(u8),
    /// A detector gets up to `records` of each partition of a bit set.
    Fetch {
        partitions: u8,
        records: u8,
    },
    /// The oldest detected batch reaches the coordinator.
    Handle,
    /// Another one does.
    Overtake(u8),
    /// The coordinator looks at its timers.
    Timeout,
    /// It does, and the shell begins with what it wants.
    Checkpoint,
    /// What is being written ends so.
    Sync(Sync),
    /// The shell carries out one effect.
    Effect,
    /// An attempt under way comes back.
    Answer {
        pick: u8,
        fate: Fate,
    },
    /// One round of the shell's loop.
    Turn,
    /// Time passes between two steps of the shell.
    Sleep(u16),
    /// Time passes, and the shell goes on.
    Advance(u32),
    /// Time passes while the process is stopped.
    Suspend(u32),
    /// The process dies. The bits decide what of the things under way still happened.
    Crash(u64),
    /// A process starts from what is durable.
    Start,
    /// Its source can be read.
    Connect,
    /// The broker cannot be reached.
    BrokerDown,
    BrokerUp,
    /// A partition gives no records.
    Stall(u8),
    Unstall(u8),
    /// The leader of a partition is away, of which the source tells.
    LeaderDown(u8),
    LeaderUp(u8),
    /// A receiver resets every connection.
    ReceiverDown(u8),
    ReceiverUp(u8),
    /// No commit succeeds.
    DiskDown,
    DiskUp,
    /// Dead letters cannot be kept.
    DeadLettersDown,
    DeadLettersUp,
    /// The rule directory changes.
    Reload(u8),
    /// Notifiers change places in the list of their receiver.
    Reorder,
    /// The wall clock is set.
    StepClock(i32),
    /// The wall clock runs wrong, in parts per million.
    Drift(i16),
    /// Another process takes over the group.
    Fence,
    /// The fenced process hears of it and ends.
    Learn(u64),
    /// The process is told to stop.
    Stop(u64),
    /// A thread of it panics.
    Panic(u64),
    /// Its source breaks for good.
    SourceFails(u64),
    /// The shell tells something about Tripline itself.
    Tell(u8),
    /// It is over.
    Untell(u8),
}

/// A kind of action: its name, how often it is drawn, and how one is made up.
type Kind = (&'static str, u64, fn(&mut Rng) -> Action);

/// Every kind of action; the last one is for few seeds.
const KINDS: &[Kind] = &[
    ("produce", 60, produce),
    ("end_exec", 6, |rng| Action::EndExec(rng.small(8))),
    ("fetch", 30, |rng| Action::Fetch { partitions: rng.small(8), records: 1 + rng.small(12) }),
    ("handle", 30, |_| Action::Handle),
    ("timeout", 6, |_| Action::Timeout),
    ("checkpoint", 20, |_| Action::Checkpoint),
    ("sync", 20, |rng| {
        Action::Sync(match rng.below(10) {
            0 => Sync::Failed,
            1 => Sync::FailedButWritten,
            _ => Sync::Durable,
        })
    }),
    ("effect", 30, |_| Action::Effect),
    ("answer", 25, |rng| Action::Answer { pick: rng.small(16), fate: Fate::Accept }),
    ("failure", 12, |rng| Action::Answer { pick: rng.small(16), fate: failure(rng) }),
    ("turn", 15, |_| Action::Turn),
    ("sleep", 15, |rng| Action::Sleep(u16::try_from(rng.between(1, 1_500)).unwrap())),
    ("advance", 20, advance),
    ("suspend", 2, |rng| Action::Suspend(u32::try_from(rng.between(1_000, 300_000)).unwrap())),
    ("crash", 8, |rng| Action::Crash(rng.next())),
    ("start", 8, |_| Action::Start),
    ("connect", 8, |_| Action::Connect),
    ("broker_down", 3, |_| Action::BrokerDown),
    ("broker_up", 4, |_| Action::BrokerUp),
    ("stall", 3, |rng| Action::Stall(rng.small(4))),
    ("unstall", 4, |rng| Action::Unstall(rng.small(4))),
    ("leader_down", 3, |rng| Action::LeaderDown(rng.small(4))),
    ("leader_up", 4, |rng| Action::LeaderUp(rng.small(4))),
    ("receiver_down", 4, |rng| Action::ReceiverDown(rng.small(4))),
    ("receiver_up", 5, |rng| Action::ReceiverUp(rng.small(4))),
    ("disk_down", 3, |_| Action::DiskDown),
    ("disk_up", 5, |_| Action::DiskUp),
    ("reload", 4, |rng| Action::Reload(rng.small(4))),
    ("step_clock", 2, step_clock),
    ("drift", 2, |rng| Action::Drift(i16::try_from(rng.below(1_001)).unwrap() - 500)),
    ("fence", 4, |_| Action::Fence),
    ("learn", 6, |rng| Action::Learn(rng.next())),
    ("tell", 4, |rng| Action::Tell(rng.small(3))),
    ("reorder", 12, |_| Action::Reorder),
    ("untell", 4, |rng| Action::Untell(rng.small(3))),
    ("overtake", 10, |rng| Action::Overtake(rng.small(4))),
    ("dead_letters_down", 3, |_| Action::DeadLettersDown),
    ("dead_letters_up", 5, |_| Action::DeadLettersUp),
    ("stop", 4, |rng| Action::Stop(rng.next())),
    ("panic", 2, |rng| Action::Panic(rng.next())),
    ("source_fails", 2, |rng| Action::SourceFails(rng.next())),
    ("flood", 4, flood),
];

/// In one of so many seeds somebody floods the log.
const FLOODED: u64 = 8;

fn produce(rng: &mut Rng) -> Action {
    let request = match rng.below(12) {
        0..6 => Request::Secret,
        6..8 => Request::Exec,
        8..10 => Request::ConfigMap,
        10 => Request::Other,
        _ => Request::Garbage,
    };
    Action::Produce {
        request,
        user: rng.small(3),
        object: rng.small(4),
        partition: rng.small(4),
        count: 1 + if rng.chance(30) { rng.small(5) } else { 0 },
        ago_ms: u16::try_from(rng.below(u64::from(super::world::DISORDER_MAX_MS))).unwrap(),
        copy: rng.chance(20).then(|| rng.small(4)),
    }
}

/// More different objects than one actor has alerts of.
fn flood(rng: &mut Rng) -> Action {
    Action::Produce {
        request: Request::Secret,
        user: rng.small(3),
        object: 4 + rng.small(100),
        partition: rng.small(4),
        count: 110 + rng.small(40),
        ago_ms: 0,
        copy: None,
    }
}

fn failure(rng: &mut Rng) -> Fate {
    match rng.below(9) {
        0 | 1 => Fate::AcceptAndLose,
        2 => Fate::Busy(u16::try_from(rng.between(1, 600)).unwrap()),
        3 => Fate::ServerError,
        4 => Fate::Timeout,
        5 => Fate::Reset,
        6 => Fate::Refuse,
        _ => Fate::Vanish(rng.chance(50)),
    }
}

fn advance(rng: &mut Rng) -> Action {
    let longest = match rng.below(10) {
        0..5 => 5_000,
        5..8 => 60_000,
        8 => 600_000,
        _ => 3_000_000,
    };
    Action::Advance(u32::try_from(rng.between(1, longest)).unwrap())
}

fn step_clock(rng: &mut Rng) -> Action {
    let size = if rng.chance(50) { rng.between(1, 500) } else { rng.between(60_000, 7_200_000) };
    let size = i32::try_from(size).unwrap();
    Action::StepClock(if rng.chance(50) { size } else { -size })
}

/// Makes up a world and what happens in it. Swarm testing: each seed leaves out whole kinds of
/// action and weighs the others anew, so that some seeds are full of what others never do.
pub(super) struct Workload {
    rng: Rng,
    weights: Vec<u64>,
    left: u64,
}

impl Workload {
    pub(super) fn new(seed: u64, driver: Driver) -> (Config, Workload) {
        let mut rng = Rng::new(seed);
        let config = Config { seed, partitions: 1 + rng.small(3), plan: rng.small(3), driver };
        let kinds = KINDS.len() - usize::from(seed % FLOODED != FLOODED - 1);
        let weights = KINDS
            .iter()
            .take(kinds)
            .map(|(name, weight, _)| {
                let off = *name != "produce" && rng.chance(35);
                if off { 0 } else { weight << rng.below(4) }
            })
            .collect();
        let left = rng.between(30, 250);
        (config, Workload { rng, weights, left })
    }

    /// The next action that does something, as far as one is found.
    pub(super) fn next(&mut self, world: &World) -> Option<Action> {
        self.left = self.left.checked_sub(1)?;
        let mut action = self.draw();
        for _ in 0..8 {
            if world.makes_sense(&action) {
                break;
            }
            action = self.draw();
        }
        Some(action)
    }

    fn draw(&mut self) -> Action {
        let mut at = self.rng.below(self.weights.iter().sum());
        for (weight, (_, _, make)) in self.weights.iter().zip(KINDS) {
            if at < *weight {
                return make(&mut self.rng);
            }
            at -= weight;
        }
        unreachable!("the number is below the sum of the weights")
    }
}
