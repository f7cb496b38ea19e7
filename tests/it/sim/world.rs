//! The world and what actions do to it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tripline::engine::{
    coordinator::{self, Effect, SourceEnd},
    dispatch::Addresses,
    horizon::Horizon,
    limits::PREVIOUS_RULES_MAX,
    record::{PartitionName, Position},
    time::WallTime,
};

use super::{
    action::{Action, Config, Request},
    broker::{Broker, Call, Partition},
    checkers::{Checked, Checkers, ensure},
    disk::{DeadLetters, Disk},
    driver::idle_after,
    life::{Detectors, Life},
    model::{Input, self_alert},
    narrate,
    receivers::Receivers,
    rules::rule_sets,
};

/// How long after it happened an event is recorded at most: most of `grace`.
pub(super) const DISORDER_MAX_MS: u16 = 21_000;

/// How long windows wait for a partition without a leader, in microseconds.
const AWAY_MAX: i64 = 120_000_000;

/// When the world begins: 2026-01-05T09:00:00Z.
const BEGINNING: i64 = 1_767_603_600_000_000;

/// In microseconds.
pub(super) const SECOND: i64 = 1_000_000;

/// Whether the shell does what the coordinator says. The wrong ones are canaries: the simulator has to
/// catch them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Driver {
    /// As it should.
    #[default]
    Right,
    /// Says that a checkpoint is durable before it is, so that effects leave early.
    EffectsFirst,
    /// Offsets are told to the broker before the checkpoint is durable.
    OffsetsFirst,
    /// A commit writes positions and loses half of the state.
    TornCommit,
    /// A failed attempt is reported as delivered.
    Hopeful,
    /// Says that dead letters are kept although they are not.
    LettersLost,
    /// Numbers batches as they arrive, and not as they were read.
    Renumbered,
}

/// Everything there is.
pub(super) struct World {
    pub(super) config: Config,
    /// True time in microseconds.
    pub(super) now: i64,
    /// How far the wall clock is ahead of it.
    pub(super) skew: i64,
    pub(super) drift_ppm: i64,
    pub(super) broker: Broker,
    pub(super) disk: Disk,
    pub(super) dead_letters: DeadLetters,
    pub(super) receivers: Receivers,
    pub(super) life: Option<Life>,
    /// When the last process ended.
    pub(super) ended_at: i64,
    pub(super) last_turn: i64,
    /// What the rule directory holds.
    pub(super) rule_set: usize,
    /// Everything that the engine was told and has not lost again.
    pub(super) history: Vec<Input>,
    pub(super) detectors: Detectors,
    pub(super) checkers: Checkers,
}

impl World {
    pub(super) fn new(config: Config) -> World {
        let partitions = usize::from(config.partitions);
        World {
            now: BEGINNING,
            skew: 0,
            drift_ppm: 0,
            broker: Broker::new(config.partitions),
            disk: Disk::new(partitions),
            dead_letters: DeadLetters::default(),
            receivers: Receivers::new(config.plan),
            life: None,
            ended_at: BEGINNING,
            last_turn: BEGINNING,
            rule_set: 0,
            history: Vec::new(),
            detectors: Detectors::new(),
            checkers: Checkers::default(),
            config,
        }
    }

    pub(super) fn wall(&self) -> WallTime {
        WallTime::from_micros(self.now + self.skew)
    }

    /// Whether an action would do anything. Only a hint for whoever makes actions up.
    pub(super) fn makes_sense(&self, action: &Action) -> bool {
        let life = self.life.as_ref();
        let running = life.is_some();
        match action {
            Action::EndExec(_) => self.broker.has_open(),
            Action::Fetch { .. } => self.can_fetch(),
            Action::Handle => life.is_some_and(|life| !life.pipeline.is_empty()),
            Action::Overtake(_) => life.is_some_and(|life| life.pipeline.len() > 1),
            Action::Checkpoint => life.is_some_and(|life| !life.coordinator.is_writing()),
            Action::Sync(_) => life.is_some_and(|life| life.writing.is_some()),
            Action::Answer { .. } => life.is_some_and(|life| !life.flights.is_empty()),
            Action::Learn(_) => life.is_some_and(|life| life.fenced_at.is_some()),
            Action::Fence => life.is_some_and(|life| life.fenced_at.is_none()),
            Action::Connect => life.is_some_and(|life| !life.is_ready) && !self.broker.is_down,
            Action::Effect => life.is_some_and(|life| !life.effects.is_empty()),
            Action::Stop(_) | Action::SourceFails(_) => life.is_some_and(|life| !life.is_over),
            Action::Crash(_) | Action::Timeout | Action::Panic(_) => running,
            Action::Start => !running,
            Action::BrokerUp => self.broker.is_down,
            Action::DiskUp => self.disk.is_down,
            Action::DeadLettersUp => self.dead_letters.is_down,
            _ => true,
        }
    }

    /// Does what an action says.
    pub(super) fn apply(&mut self, action: &Action) -> Checked {
        narrate(|| format!("{} {action:?}", self.wall()));
        match action {
            Action::Produce { request, user, object, partition, count, ago_ms, copy } => {
                for number in 0..*count {
                    let ago = i64::from(*ago_ms) * 1_000 / i64::from(number + 1);
                    let time = WallTime::from_micros(self.now - ago).as_event();
                    let copy = copy.filter(|_| number == 0 && *request != Request::Garbage);
                    let object = object.wrapping_add(number);
                    let call = Call { request: *request, user: *user, object, time };
                    self.broker.produce(self.now, call, *partition, copy);
                }
            }
            Action::EndExec(pick) => {
                self.broker.end_exec(self.now, *pick);
            }
            Action::Fetch { partitions, records } => self.fetch(*partitions, *records),
            Action::Handle => self.handle(0),
            Action::Overtake(pick) => self.handle(*pick),
            Action::Timeout => self.timeout(),
            Action::Checkpoint => {
                self.timeout();
                self.effect()?;
            }
            Action::Sync(sync) => self.sync(*sync),
            Action::Effect => {
                self.effect()?;
            }
            Action::Answer { pick, fate } => self.answer(*pick, *fate)?,
            Action::Turn => self.turn()?,
            Action::Sleep(span) => self.idle(i64::from(*span) * 1_000)?,
            Action::Advance(span) => self.advance(i64::from(*span) * 1_000)?,
            Action::Suspend(span) => {
                self.checkers.clock_is_odd |= *span > 60_000;
                let span = i64::from(*span) * 1_000;
                self.set_now(self.now + span);
                // While it is stopped, a process cannot come to its end.
                if let Some(life) = &mut self.life {
                    life.stopped_at = life.stopped_at.map(|at| at + span);
                }
                self.turn()?;
            }
            Action::Crash(luck) => self.end_life(*luck)?,
            Action::Start => self.start()?,
            Action::Connect => self.connect(),
            Action::Learn(luck) => self.learn(*luck)?,
            Action::Stop(luck) | Action::Panic(luck) | Action::SourceFails(luck) => {
                self.stop(action, *luck);
            }
            other => self.disturb(other),
        }
        self.check()
    }

    /// Actions of the surroundings.
    fn disturb(&mut self, action: &Action) {
        match action {
            Action::BrokerDown => {
                self.broker.is_down = true;
                if let Some(life) = self.life.as_mut().filter(|life| life.is_ready) {
                    life.is_ready = false;
                    self.report(coordinator::Input::Unavailable { source: 0 });
                    self.history.push(Input::Unavailable);
                }
            }
            Action::BrokerUp => {
                self.broker.is_down = false;
                if let Some(life) = &mut self.life {
                    life.connects_at = self.now + SECOND;
                }
            }
            Action::Stall(pick) => {
                let index = self.broker.index(*pick);
                self.broker.partitions[index].is_stalled = true;
            }
            Action::Unstall(pick) => {
                let index = self.broker.index(*pick);
                self.broker.partitions[index].is_stalled = false;
            }
            Action::LeaderDown(pick) => self.set_leader(*pick, false),
            Action::LeaderUp(pick) => self.set_leader(*pick, true),
            Action::ReceiverDown(pick) | Action::ReceiverUp(pick) => {
                let index = usize::from(*pick) % self.receivers.notifiers.len();
                self.receivers.notifiers[index].is_down = matches!(action, Action::ReceiverDown(_));
            }
            Action::DiskDown => self.disk.is_down = true,
            Action::DiskUp => self.disk.is_down = false,
            Action::DeadLettersDown => self.dead_letters.is_down = true,
            Action::DeadLettersUp => self.dead_letters.is_down = false,
            Action::Reload(pick) => self.reload(usize::from(*pick) % rule_sets().len()),
            Action::StepClock(ms) => self.set_clock(i64::from(*ms) * 1_000),
            Action::Drift(ppm) => self.drift_ppm = i64::from(*ppm),
            Action::Fence => {
                let now = self.now;
                if let Some(life) = self.life.as_mut().filter(|life| life.fenced_at.is_none()) {
                    life.fenced_at = Some(now);
                }
            }
            Action::Reorder => {
                self.receivers.reorder();
                let addresses = self.receivers.plan.addresses.clone();
                self.report(coordinator::Input::RetryNow(addresses));
            }
            Action::Tell(pick) => self.tell(*pick, true),
            Action::Untell(pick) => self.tell(*pick, false),
            _ => unreachable!("{action:?} is not of the surroundings"),
        }
    }

    // ---- lives ----

    pub(super) fn start(&mut self) -> Checked {
        if self.life.is_some() {
            return Ok(());
        }
        let loaded = self.disk.load();
        let next = self.disk.positions.iter().map(|at| usize::try_from(*at).unwrap()).collect();
        let horizon = loaded.entries.iter().find_map(Horizon::read);
        let (now, wall, plan) = (self.now, self.wall(), &self.receivers.plan);
        let mut life = Life::new(now, wall, self.rule_set, plan, next, horizon);
        let (report, groups_unusable) =
            life.coordinator.restore(loaded.positions, loaded.entries, &[]);
        let archived = self.disk.chain;
        let spool = loaded.spool.into_iter().filter(|row| row.id > archived.id).collect();
        life.coordinator.restore_ledger(spool, archived);
        let readable = report.unusable == 0 && groups_unusable == 0;
        ensure("what was stored can be read", readable || self.is_torn(), || {
            format!("{report:?}")
        })?;
        self.history.push(Input::Restart { rule_set: self.rule_set });
        self.life = Some(life);
        Ok(())
    }

    fn is_torn(&self) -> bool {
        self.config.driver == Driver::TornCommit
    }

    pub(super) fn connect(&mut self) {
        let wall = self.wall();
        if self.broker.is_down {
            return;
        }
        let names = self.broker.names();
        let Some(life) = self.life.as_mut().filter(|life| !life.is_ready) else { return };
        if life.fenced_at.is_some() {
            return;
        }
        life.is_ready = true;
        let position = |(name, next): (&Arc<PartitionName>, &usize)| {
            Position::new(Arc::clone(name), i64::try_from(*next).unwrap())
        };
        let positions = names.iter().zip(&life.next).map(position).collect();
        let sequence = life.batches;
        let begin =
            coordinator::Input::Begin { source: 0, sequence, positions, is_rebuilding: false };
        self.report(begin);
        self.tell_away(wall);
        self.report(coordinator::Input::Ready { source: 0, partitions: names });
        let partitions = self.broker.led();
        self.history.push(Input::Ready { at: wall, partitions });
        let Some(life) = &mut self.life else { return };
        for (awake, partition) in life.awake_until.iter_mut().zip(&self.broker.partitions) {
            let awake_until = wall.micros() + idle_after();
            *awake = if partition.is_leaderless { i64::MIN } else { awake_until };
        }
    }

    /// The source tells which partitions have no leader.
    fn tell_away(&mut self, wall: WallTime) {
        let names = |partition: &Partition| Arc::clone(&partition.name);
        let leaderless = self.broker.partitions.iter().filter(|partition| partition.is_leaderless);
        let partitions: Vec<_> = leaderless.map(names).collect();
        let away = coordinator::Input::Away { source: 0, partitions: partitions.clone() };
        self.report(away);
        self.history.push(Input::Away { at: wall, partitions });
    }

    /// The leader of a partition goes or comes back; a source that can be read tells of it.
    fn set_leader(&mut self, pick: u8, is_there: bool) {
        let (wall, index) = (self.wall(), self.broker.index(pick));
        let partition = &mut self.broker.partitions[index];
        if partition.is_leaderless != is_there {
            return;
        }
        partition.is_leaderless = !is_there;
        let name = Arc::clone(&partition.name);
        if !self.life.as_ref().is_some_and(|life| life.is_ready) {
            return;
        }
        self.tell_away(wall);
        let Some(life) = &mut self.life else { return };
        life.awake_until[index] = if is_there {
            self.history.push(Input::Ready { at: wall, partitions: vec![name] });
            wall.micros() + idle_after()
        } else {
            wall.micros() + AWAY_MAX
        };
    }

    /// A fenced process hears of it and ends, without another checkpoint.
    pub(super) fn learn(&mut self, luck: u64) -> Checked {
        let Some(life) = self.life.as_mut().filter(|life| life.fenced_at.is_some()) else {
            return Ok(());
        };
        let batches = life.batches;
        life.luck = luck;
        // What it was about to do is not done; that it ends was decided before.
        life.effects.retain(|effect| matches!(effect, Effect::StopSources | Effect::End(_)));
        let end = SourceEnd::Fenced;
        self.report(coordinator::Input::Ended { source: 0, batches, end });
        while let Some(life) = &self.life {
            let last = life.effects.front();
            let ends = matches!(last, Some(Effect::StopSources | Effect::End(_)));
            ensure("who is fenced does nothing more", ends, || format!("{last:?}"))?;
            self.effect()?;
        }
        Ok(())
    }

    /// The process is to end.
    fn stop(&mut self, action: &Action, luck: u64) {
        let now = self.now;
        let Some(life) = &mut self.life else { return };
        life.luck = luck;
        life.stopped_at.get_or_insert(now);
        let batches = life.batches;
        let input = match action {
            Action::SourceFails(_) => {
                life.is_over = true;
                let end = SourceEnd::Failed;
                coordinator::Input::Ended { source: 0, batches, end }
            }
            Action::Panic(_) => {
                // What a detector had is lost with it.
                life.pipeline.clear();
                coordinator::Input::Broken { thread: "detect-0".to_owned() }
            }
            _ => coordinator::Input::Stop,
        };
        self.report(input);
    }

    /// The process is gone. What was under way may have happened or not; then only what is durable
    /// is left.
    pub(super) fn end_life(&mut self, luck: u64) -> Checked {
        let lucky = |bit: usize| luck >> (bit % 64) & 1 == 1;
        let writing = self.life.as_mut().and_then(|life| life.writing.take());
        if let Some(writing) = writing
            && lucky(0)
            && !self.disk.is_down
            && !self.dead_letters.is_down
            && self.config.driver != Driver::TornCommit
        {
            self.write(&writing);
        }
        let Some(life) = self.life.take() else { return Ok(()) };
        for (at, flight) in life.flights.iter().enumerate() {
            if lucky(at + 1) && !self.receivers.find(&flight.notification).is_down {
                self.take(&flight.notification)?;
            }
        }
        self.history.truncate(self.disk.covers);
        self.ended_at = self.now;
        Ok(())
    }

    fn reload(&mut self, rule_set: usize) {
        // The shard knows so many rule sets, and no detections of an older one.
        if self.life.as_ref().is_some_and(|life| {
            let oldest = life.uncounted().map(|from| from.epoch).min();
            oldest.is_some_and(|oldest| oldest + PREVIOUS_RULES_MAX as u64 <= life.epoch)
        }) {
            return;
        }
        self.checkers.rules_changed |= rule_set != self.rule_set;
        self.rule_set = rule_set;
        self.report(coordinator::Input::Rules(Arc::clone(&rule_sets()[rule_set])));
        // Whoever reloads may have fixed receivers.
        self.report(coordinator::Input::RetryNow(Addresses::new()));
    }

    pub(super) fn tell(&mut self, pick: u8, is_firing: bool) {
        let wall = self.wall();
        if self.life.is_none() {
            return;
        }
        let Some(alert) = self_alert(wall, pick, is_firing, &self.history) else { return };
        self.report(coordinator::Input::Alert(Box::new(alert.clone())));
        self.history.push(Input::Tell(Box::new(alert)));
    }

    pub(super) fn check(&mut self) -> Checked {
        self.note_waiting();
        self.stop_ends()?;
        Checkers::after_step(&self.broker, &self.disk, self.life.as_mut())
    }

    /// All faults are over from now on.
    pub(super) fn heal(&mut self) {
        self.set_clock(-self.skew);
        self.broker.is_down = false;
        self.disk.is_down = false;
        self.dead_letters.is_down = false;
        self.drift_ppm = 0;
        for partition in &mut self.broker.partitions {
            partition.is_stalled = false;
        }
        for pick in 0..self.config.partitions {
            self.set_leader(pick, true);
        }
        for notifier in &mut self.receivers.notifiers {
            notifier.is_down = false;
        }
    }
}
