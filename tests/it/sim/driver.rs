//! The shell of a process, step by step, and how time passes for it. It moves what the engine's
//! coordinator says, and decides nothing.

use std::{sync::Arc, time::Duration};

use tripline::engine::{
    coordinator::{self, Effect, SourceEnd},
    dispatch::{Notification, Outcome, OutcomeReason, Receipt},
};

use super::{
    action::{Fate, Sync},
    checkers::{Checked, brief, ensure},
    life::{DRAIN, Detected, Flight, Life, Origin, Spans, Writing},
    model::Input,
    narrate,
    rules::settings,
    world::{Driver, SECOND, World},
};

/// How long a record may wait for its turn, in microseconds, so that it is not late even if its
/// partition was idle: with [`DISORDER_MAX_MS`] less than `grace`.
const WAIT_MAX: i64 = 6_000_000;

/// How long the shell takes at least between two turns, in microseconds.
const NAP: i64 = 250_000;

/// The longest time between two turns of a shell that is not stopped, in microseconds.
const TURN_MAX: i64 = 2_000_000;

/// How much longer than its drain a stop may take, in microseconds.
const STOP_MAX: i64 = 10_000_000;

/// Why receivers refuse.
const REFUSALS: [OutcomeReason; 4] = [
    OutcomeReason::ClientError,
    OutcomeReason::AuthError,
    OutcomeReason::TooLarge,
    OutcomeReason::BadForm,
];

/// Batches between source and coordinator that do not count yet.
pub(super) const PIPELINE_MAX: usize = 4;

impl World {
    pub(super) fn set_now(&mut self, now: i64) {
        self.skew += (now - self.now) * self.drift_ppm / 1_000_000;
        self.now = now;
    }

    pub(super) fn set_clock(&mut self, by: i64) {
        self.skew += by;
        self.checkers.clock_was_set(by);
    }

    /// Time passes between two steps, but not so much that the shell would have had its turn.
    pub(super) fn idle(&mut self, span: i64) -> Checked {
        let target = self.now + span;
        if target > self.last_turn + TURN_MAX {
            return self.advance(span);
        }
        self.set_now(target);
        Ok(())
    }

    /// Time passes; the shell takes its turn whenever something is due.
    pub(super) fn advance(&mut self, span: i64) -> Checked {
        let until = self.now + span;
        while self.now < until {
            let next = self.next_turn().min(until);
            self.set_now(next);
            self.turn()?;
            self.check()?;
        }
        Ok(())
    }

    /// When the shell does something next: time jumps there.
    fn next_turn(&self) -> i64 {
        let soonest = if self.last_turn == self.now { self.now + NAP } else { self.now };
        let mut due: Vec<i64> = Vec::new();
        match &self.life {
            None => due.push(self.ended_at + 5 * SECOND),
            Some(life) => {
                due.extend(life.fenced_at.map(|at| at + 3 * SECOND));
                if !life.is_ready && !self.broker.is_down {
                    due.push(life.connects_at);
                }
                due.extend(life.flights.iter().map(|flight| flight.answers_at));
                due.extend(life.coordinator.poll_timeout().map(|at| at.micros() - self.skew));
                let is_busy = !life.effects.is_empty()
                    || life.writing.is_some()
                    || !life.pipeline.is_empty()
                    || self.can_fetch();
                if is_busy || life.is_over {
                    due.push(soonest);
                }
            }
        }
        due.into_iter().min().unwrap_or(i64::MAX).max(soonest)
    }

    // ---- the shell ----

    /// One round of the shell's loop.
    pub(super) fn turn(&mut self) -> Checked {
        self.last_turn = self.now;
        let Some(life) = &self.life else {
            if self.now >= self.ended_at + 5 * SECOND {
                self.start()?;
            }
            return Ok(());
        };
        if life.fenced_at.is_some_and(|at| self.now >= at + 3 * SECOND) {
            return self.learn(0);
        }
        if !life.is_ready && life.fenced_at.is_none() && self.now >= life.connects_at {
            self.connect();
        }
        self.answers_due()?;
        self.carry_out_all()?;
        while self.can_fetch() {
            self.fetch(u8::MAX, 50);
            self.handle(0);
        }
        while self.life.as_ref().is_some_and(|life| !life.pipeline.is_empty()) {
            self.handle(0);
        }
        self.source_ends();
        self.timeout();
        self.carry_out_all()
    }

    fn carry_out_all(&mut self) -> Checked {
        loop {
            self.sync(Sync::Durable);
            if !self.effect()? {
                return Ok(());
            }
        }
    }

    /// Tells the coordinator something.
    pub(super) fn report(&mut self, input: coordinator::Input) {
        let wall = self.wall();
        let Some(life) = &mut self.life else { return };
        life.coordinator.handle(wall, input);
        self.take_effects();
    }

    /// Takes over what is to be done, and notes what the engine has read meanwhile.
    fn take_effects(&mut self) {
        let wall = self.wall();
        let Some(life) = &mut self.life else { return };
        // Silence is counted anew if the clock was set back.
        let latest = wall.micros() + idle_after();
        life.awake_until.iter_mut().for_each(|awake| *awake = latest.min(*awake));
        while let Some(life) = &mut self.life
            && let Some(effect) = life.coordinator.poll_effect(wall)
        {
            match effect {
                Effect::WasAway(_) => {
                    life.awake_until.fill(latest);
                    for (awake, partition) in
                        life.awake_until.iter_mut().zip(&self.broker.partitions)
                    {
                        if partition.is_leaderless {
                            *awake = i64::MIN;
                        }
                    }
                    let partitions = self.broker.led();
                    self.history.push(Input::Ready { at: wall, partitions });
                    self.history.push(Input::Paused { at: wall });
                }
                Effect::Counted { .. } => {
                    let origin = life.held.remove(&life.counted).expect("it was handed over");
                    life.counted += 1;
                    self.note_heard(&origin.spans);
                    let Origin { at: detected_at, read_at, rule_set, spans, .. } = origin;
                    let batch = Input::Batch { read_at, at: wall, detected_at, rule_set, spans };
                    self.history.push(batch);
                }
                Effect::UseRules { epoch, .. } => {
                    (life.epoch, life.rule_set) = (epoch, self.rule_set);
                    self.history.push(Input::Rules { at: wall, rule_set: self.rule_set });
                }
                other => life.effects.push_back(other),
            }
        }
        self.note_waiting();
    }

    /// What a life could fetch now.
    fn unread(&self, life: &Life) -> Spans {
        if !life.is_ready || life.fenced_at.is_some() || life.is_over {
            return Spans::new();
        }
        let partitions = self.broker.partitions.iter().zip(&life.next).enumerate();
        partitions
            .filter(|(_, (partition, _))| !partition.is_stalled && !partition.is_leaderless)
            .map(|(index, (partition, next))| (index, *next..partition.records.len()))
            .filter(|(_, span)| !span.is_empty())
            .collect()
    }

    pub(super) fn can_fetch(&self) -> bool {
        self.life.as_ref().is_some_and(|life| {
            life.uncounted().count() < PIPELINE_MAX && !self.unread(life).is_empty()
        })
    }

    pub(super) fn fetch(&mut self, partitions: u8, records: u8) {
        let (now, wall) = (self.now, self.wall());
        let Some(life) = self.life.as_ref().filter(|_| self.can_fetch()) else { return };
        let horizon = life.horizon(now, wall);
        let mut spans = self.unread(life);
        spans.retain(|(index, _)| partitions & (1 << index) != 0);
        for (_, span) in &mut spans {
            span.end = span.end.min(span.start + usize::from(records));
        }
        if spans.is_empty() {
            return;
        }
        let (epoch, rule_set) = (life.epoch, life.rule_set);
        let mut batch = self.detectors.detect(horizon, rule_set, &self.broker, &spans);
        let Some(life) = &mut self.life else { return };
        (batch.rules_epoch, batch.sequence) = (epoch, life.batches);
        life.batches += 1;
        for (index, span) in &spans {
            life.next[*index] = span.end;
        }
        life.pipeline.push_back(Detected {
            batch,
            from: Origin { at: horizon, read_at: now, epoch, rule_set, spans },
        });
    }

    /// A batch reaches the coordinator; detectors are not all as fast.
    pub(super) fn handle(&mut self, pick: u8) {
        let Some(life) = &mut self.life else { return };
        if life.pipeline.is_empty() {
            return;
        }
        let at = usize::from(pick) % life.pipeline.len();
        let Some(Detected { mut batch, from }) = life.pipeline.remove(at) else { return };
        let arrived = life.counted + life.held.len() as u64;
        life.held.insert(batch.sequence, from);
        if self.config.driver == Driver::Renumbered {
            batch.sequence = arrived;
        }
        self.report(coordinator::Input::Batch { source: 0, detections: batch });
    }

    /// A source that reads nothing more ends when all of it has arrived.
    fn source_ends(&mut self) {
        let Some(life) = self.life.as_ref().filter(|life| life.is_over) else { return };
        let (batches, end) = (life.batches, SourceEnd::Finished);
        self.report(coordinator::Input::Ended { source: 0, batches, end });
    }

    /// Notes until when the partitions of a batch hold the watermark back.
    fn note_heard(&mut self, spans: &Spans) {
        let wall = self.wall().micros();
        let Some(life) = &mut self.life else { return };
        for (index, span) in spans {
            let records = &self.broker.partitions[*index].records[span.clone()];
            if records.iter().any(|record| record.time.is_some()) {
                life.awake_until[*index] = wall + idle_after();
            }
        }
    }

    /// Notes whether a record waits so long that the engine may call it late: its partition does not
    /// hold the watermark back any more.
    pub(super) fn note_waiting(&mut self) {
        let wall = self.wall().micros();
        let Some(life) = &self.life else { return };
        if !life.is_ready && life.fenced_at.is_none() {
            return;
        }
        let mut first: Vec<usize> = life.next.clone();
        for (index, span) in life.uncounted().flat_map(|from| &from.spans) {
            first[*index] = first[*index].min(span.start);
        }
        for (index, first) in first.into_iter().enumerate() {
            let record = self.broker.partitions[index].records.get(first);
            let waits = record.is_some_and(|record| self.now - record.appended_at > WAIT_MAX);
            self.checkers.may_be_late |= waits && wall >= life.awake_until[index];
        }
    }

    /// The coordinator looks at its timers.
    pub(super) fn timeout(&mut self) {
        let wall = self.wall();
        let Some(life) = &mut self.life else { return };
        let was_writing = life.coordinator.is_writing();
        life.coordinator.handle_timeout(wall);
        let is_writing = life.coordinator.is_writing();
        self.take_effects();
        if !was_writing {
            self.history.push(Input::Timeout { now: self.now, at: wall });
        }
        if let Some(life) = self.life.as_mut().filter(|_| is_writing && !was_writing) {
            (life.covers, life.tried) = (self.history.len(), None);
        }
    }

    /// Something was to be made durable, which ends so.
    pub(super) fn sync(&mut self, sync: Sync) {
        let Some(life) = &mut self.life else { return };
        let Some(writing) = life.writing.take() else { return };
        let is_down = match &writing {
            Writing::DeadLetters(_) => self.dead_letters.is_down,
            Writing::Commit(_) => self.disk.is_down,
        };
        let sync = if is_down { Sync::Failed } else { sync };
        if sync != Sync::Failed {
            self.write(&writing);
        }
        let is_lie = match writing {
            Writing::DeadLetters(_) => self.config.driver == Driver::LettersLost,
            Writing::Commit(_) => self.config.driver == Driver::EffectsFirst,
        };
        self.disk.has_repeated |= sync == Sync::FailedButWritten;
        let was_told = matches!(writing, Writing::Commit(_)) && is_lie;
        if !was_told {
            let is_durable = sync == Sync::Durable || is_lie;
            let (durable, not) = (coordinator::Input::Durable, coordinator::Input::NotDurable);
            self.report(if is_durable { durable } else { not });
        }
    }

    /// Something becomes durable.
    pub(super) fn write(&mut self, writing: &Writing) {
        let Some(life) = &self.life else { return };
        match writing {
            Writing::DeadLetters(letters) => self.dead_letters.keep(letters),
            Writing::Commit(checkpoint) if self.config.driver == Driver::TornCommit => {
                let mut torn = (**checkpoint).clone();
                torn.changes.truncate(torn.changes.len() / 2);
                self.disk.commit(&torn, life.covers);
            }
            Writing::Commit(checkpoint) => self.disk.commit(checkpoint, life.covers),
        }
    }

    /// Carries out one effect; false if there is none.
    pub(super) fn effect(&mut self) -> Result<bool, super::checkers::Failure> {
        let wall = self.wall();
        let Some(life) = &mut self.life else { return Ok(false) };
        let Some(effect) = life.effects.pop_front() else { return Ok(false) };
        match effect {
            Effect::KeepDeadLetters(letters) => life.writing = Some(Writing::DeadLetters(letters)),
            Effect::Commit(checkpoint) => {
                let tried = life.tried.replace(Arc::clone(&checkpoint));
                let same = tried.is_none_or(|tried| tried.changes == checkpoint.changes);
                ensure("the same checkpoint again", same, || format!("{checkpoint:?}"))?;
                if self.config.driver == Driver::OffsetsFirst {
                    self.broker.committed(&checkpoint.positions);
                }
                let earlier = life.writing.replace(Writing::Commit(checkpoint));
                if self.config.driver == Driver::EffectsFirst {
                    if let Some(earlier) = earlier {
                        self.write(&earlier);
                    }
                    self.report(coordinator::Input::Durable);
                }
            }
            Effect::Archive(rows) => {
                self.disk.archive(&rows)?;
                // Now and then the engine does not hear of it, as if the process had died just then.
                if !self.disk.chain.id.is_multiple_of(3) {
                    let through = self.disk.chain.id;
                    self.report(coordinator::Input::Archived { through });
                }
            }
            Effect::Publish(positions) => {
                if life.fenced_at.is_none() && !self.broker.is_down {
                    self.broker.committed(&positions);
                }
            }
            Effect::AlertChanged(alert) => {
                narrate(|| format!("  {wall} changed:{}", brief([&*alert])));
                self.checkers.changed.push(*alert);
            }
            Effect::Attempt(notification) => {
                self.checkers.attempt(wall, &notification, life, &self.disk)?;
                let answers_at = self.now + SECOND;
                life.flights.push(Flight { notification, answers_at });
            }
            Effect::StopSources => life.is_over = true,
            Effect::End(_) => {
                let luck = life.luck;
                self.end_life(luck)?;
            }
            Effect::NothingToCommit | Effect::Acted { .. } | Effect::ActsChanged(_) => {}
            Effect::Counted { .. } | Effect::UseRules { .. } | Effect::WasAway(_) => {
                unreachable!("noted when it was taken over")
            }
        }
        Ok(true)
    }

    /// A stop comes to its end while turns are taken.
    pub(super) fn stop_ends(&self) -> Checked {
        let drain = i64::try_from(DRAIN.as_micros()).unwrap();
        let stopped_at = self.life.as_ref().and_then(|life| life.stopped_at);
        let is_late = stopped_at.is_some_and(|at| self.last_turn > at + drain + STOP_MAX);
        ensure("a stop comes to its end", !is_late || self.checkers.clock_is_odd, || {
            format!("told at {stopped_at:?}, now {}", self.now)
        })
    }

    // ---- answers ----

    fn answers_due(&mut self) -> Checked {
        while let Some(at) = self
            .life
            .as_ref()
            .and_then(|life| life.flights.iter().position(|flight| flight.answers_at <= self.now))
        {
            self.answer(u8::try_from(at).unwrap_or(0), Fate::Accept)?;
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, pick: u8, fate: Fate) -> Checked {
        let wall = self.wall();
        let Some(life) = &mut self.life else { return Ok(()) };
        if life.flights.is_empty() {
            return Ok(());
        }
        let flight = life.flights.remove(usize::from(pick) % life.flights.len());
        let notification = flight.notification;
        let receiver = self.receivers.find(&notification);
        let has_it = receiver.taken.iter().any(|taken| taken.id == notification.id);
        let fate = match fate {
            _ if receiver.is_down => Fate::Reset,
            // It knows it by its id.
            Fate::Refuse if has_it => Fate::Accept,
            fate => fate,
        };
        if matches!(fate, Fate::Accept | Fate::AcceptAndLose | Fate::Vanish(true)) {
            self.take(&notification)?;
        }
        let retry = |reason, after| Outcome::Retry { reason, detail: "fault".to_owned(), after };
        let outcome = match fate {
            Fate::Accept => delivered(&notification),
            Fate::AcceptAndLose | Fate::Timeout => retry(OutcomeReason::Timeout, None),
            Fate::Busy(seconds) => {
                let after = Duration::from_secs(u64::from(seconds));
                let Some(life) = &mut self.life else { return Ok(()) };
                let until = wall.plus(after).micros();
                life.not_before.push((Arc::clone(&notification), until));
                retry(OutcomeReason::RateLimited, Some(after))
            }
            Fate::ServerError => retry(OutcomeReason::ServerError, None),
            Fate::Reset => retry(OutcomeReason::Connection, None),
            Fate::Refuse => {
                self.checkers.refused.insert(notification.id);
                let [which, ..] = notification.id.0;
                let reason = REFUSALS[usize::from(which) % REFUSALS.len()];
                Outcome::Rejected { reason, detail: "fault".to_owned() }
            }
            Fate::Vanish(_) => return Ok(()),
        };
        let outcome = match outcome {
            Outcome::Retry { .. } if self.config.driver == Driver::Hopeful => {
                delivered(&notification)
            }
            other => other,
        };
        self.report(coordinator::Input::Outcome { notification, outcome });
        Ok(())
    }

    pub(super) fn take(&mut self, notification: &Arc<Notification>) -> Checked {
        let notifier = self.receivers.find(notification);
        self.checkers.taken(notifier, notification)?;
        notifier.taken.push(Arc::clone(notification));
        Ok(())
    }
}

pub(super) fn idle_after() -> i64 {
    i64::try_from(settings().idle_after.as_micros()).unwrap()
}

fn delivered(notification: &Notification) -> Outcome {
    let values = [("id".to_owned(), notification.id.to_string())];
    Outcome::Delivered { receipt: Some(Receipt { values: values.into() }) }
}
