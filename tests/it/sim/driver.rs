//! The driver of a process, step by step, and how time passes for it.

use std::{sync::Arc, time::Duration};

use tripline::engine::{
    dispatch::{Notification, Outcome, OutcomeReason, Receipt},
    member::Effect,
};

use super::{
    action::{Fate, Sync},
    checkers::{Checked, Failure, ensure},
    life::{Detected, Flight, Life, Spans},
    model::Input,
    rules::settings,
    world::{Driver, SECOND, World},
};

/// How long a record may wait for its turn, in microseconds, so that it is not late even if its
/// partition was idle: with [`DISORDER_MAX_MS`] less than `grace`.
const WAIT_MAX: i64 = 6_000_000;

/// How long the driver sleeps at most when something is to be done, in microseconds.
const NAP: i64 = 250_000;

/// From when on the driver takes it that it was away, in microseconds.
const PAUSE: i64 = 5_000_000;

/// The longest time between two turns of a driver that is not stopped, in microseconds.
const TURN_MAX: i64 = 2_000_000;

/// Batches between detector and member.
pub(super) const PIPELINE_MAX: usize = 4;

impl World {
    pub(super) fn set_now(&mut self, now: i64) {
        self.skew += (now - self.now) * self.drift_ppm / 1_000_000;
        self.now = now;
    }

    pub(super) fn set_clock(&mut self, by: i64) {
        self.skew += by;
        self.clock_was_behind |= self.skew < -60 * SECOND;
        self.checkers.clock_was_set(by);
    }

    /// Time passes between two steps, but not so much that the driver would have had its turn.
    pub(super) fn idle(&mut self, span: i64) -> Checked {
        let target = self.now + span;
        if target > self.last_turn + TURN_MAX {
            return self.advance(span);
        }
        self.set_now(target);
        Ok(())
    }

    /// Time passes; the driver takes its turn whenever something is due.
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

    /// When the driver does something next: time jumps there.
    pub(super) fn next_turn(&self) -> i64 {
        let soonest = if self.last_turn == self.now { self.now + NAP } else { self.now };
        let mut due: Vec<i64> = Vec::new();
        match &self.life {
            None => due.push(self.ended_at + 5 * SECOND),
            Some(life) => {
                // It looks several times a second; time jumps over what it would not see.
                due.push(self.last_turn + PAUSE - SECOND);
                due.extend(life.fenced_at.map(|at| at + 3 * SECOND));
                if !life.is_ready && !self.broker.is_down {
                    due.push(life.connects_at);
                }
                due.extend(life.flights.iter().map(|flight| flight.answers_at));
                due.extend(life.member.poll_timeout().map(|at| at.micros() - self.skew));
                if life.member.has_changes() {
                    due.push(life.checkpoint_at + SECOND);
                }
                let busy = life.member.has_waiting_effects()
                    || !life.pipeline.is_empty()
                    || (life.is_ready && !self.unread(life).is_empty());
                if busy {
                    due.push(soonest);
                }
            }
        }
        due.into_iter().min().unwrap_or(i64::MAX).max(soonest)
    }

    // ---- the driver ----

    /// One round of the driver's loop, as the coordinator does it.
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
        self.sync(Sync::Durable)?;
        while !self.is_blocked() && self.unread_count() > 0 {
            self.fetch(u8::MAX, 50);
            self.handle();
        }
        while !self.is_blocked() && self.life.as_ref().is_some_and(|l| !l.pipeline.is_empty()) {
            self.handle();
        }
        if self.is_blocked() {
            // The coordinator does nothing else while a checkpoint cannot be written.
            return Ok(());
        }
        self.timeout();
        let Some(life) = &self.life else { return Ok(()) };
        let due = self.now >= life.checkpoint_at + SECOND;
        if due || life.member.has_waiting_effects() {
            self.checkpoint();
            self.sync(Sync::Durable)?;
        }
        while !self.is_blocked() && self.effect()? {}
        Ok(())
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.life.as_ref().is_none_or(|life| life.writing.is_some())
    }

    /// What a life could fetch now.
    pub(super) fn unread(&self, life: &Life) -> Spans {
        if !life.is_ready || life.fenced_at.is_some() {
            return Spans::new();
        }
        let partitions = self.broker.partitions.iter().zip(&life.next).enumerate();
        partitions
            .filter(|(_, (partition, _))| !partition.is_stalled)
            .map(|(index, (partition, next))| (index, *next..partition.records.len()))
            .filter(|(_, span)| !span.is_empty())
            .collect()
    }

    pub(super) fn unread_count(&self) -> usize {
        self.life.as_ref().map_or(0, |life| self.unread(life).len())
    }

    pub(super) fn fetch(&mut self, partitions: u8, records: u8) {
        let wall = self.wall();
        let Some(life) = &self.life else { return };
        if life.pipeline.len() >= PIPELINE_MAX {
            return;
        }
        let mut spans = self.unread(life);
        spans.retain(|(index, _)| partitions & (1 << index) != 0);
        for (_, span) in &mut spans {
            span.end = span.end.min(span.start + usize::from(records));
        }
        if spans.is_empty() {
            return;
        }
        let rule_set = life.rule_set;
        let mut batch = self.detectors.detect(wall, rule_set, &self.broker, &spans);
        let Some(life) = &mut self.life else { return };
        batch.rules_epoch = life.epoch;
        for (index, span) in &spans {
            life.next[*index] = span.end;
        }
        life.pipeline.push_back(Detected { batch, at: wall, rule_set, spans });
    }

    pub(super) fn handle(&mut self) {
        self.look();
        let wall = self.wall();
        let Some(life) = &mut self.life else { return };
        let Some(detected) = life.pipeline.pop_front() else { return };
        life.member.handle_batch(wall, &detected.batch);
        let Detected { at: detected_at, rule_set, spans, .. } = detected;
        self.note_heard(&spans);
        self.history.push(Input::Batch { at: wall, detected_at, rule_set, spans });
    }

    /// Before anything is handled, the driver notices whether it was away: partitions were not silent
    /// then.
    fn look(&mut self) {
        let (now, wall) = (self.now, self.wall());
        let names = self.broker.names();
        let Some(life) = &mut self.life else { return };
        let (looked_at, wall_then) = std::mem::replace(&mut life.looked_at, (now, wall.micros()));
        if life.is_ready && (now - looked_at).max(wall.micros() - wall_then) >= PAUSE {
            life.member.handle_ready(wall, &names);
            life.awake_until.fill(wall.micros() + idle_after());
            self.history.push(Input::Ready { at: wall });
        }
        for awake in &mut life.awake_until {
            // Silence is counted anew if the clock was set back.
            *awake = (*awake).min(wall.micros() + idle_after());
        }
        self.note_waiting();
    }

    /// Notes until when the partitions of a batch hold the watermark back.
    pub(super) fn note_heard(&mut self, spans: &Spans) {
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
        let waiting = life.pipeline.iter().flat_map(|detected| &detected.spans);
        let mut first: Vec<usize> = life.next.clone();
        for (index, span) in waiting {
            first[*index] = first[*index].min(span.start);
        }
        for (index, first) in first.into_iter().enumerate() {
            let record = self.broker.partitions[index].records.get(first);
            let waits = record.is_some_and(|record| self.now - record.appended_at > WAIT_MAX);
            self.checkers.may_be_late |= waits && wall >= life.awake_until[index];
        }
    }

    pub(super) fn timeout(&mut self) {
        self.look();
        let wall = self.wall();
        let Some(life) = &mut self.life else { return };
        life.member.handle_timeout(wall);
        self.history.push(Input::Timeout { at: wall });
    }

    pub(super) fn checkpoint(&mut self) {
        let covers = self.history.len();
        let Some(life) = self.life.as_mut().filter(|life| life.writing.is_none()) else { return };
        life.checkpoint_at = self.now;
        let Some(checkpoint) = life.member.checkpoint().cloned() else { return };
        if self.config.driver == Driver::EffectsFirst {
            life.member.checkpoint_durable();
        }
        if self.config.driver == Driver::OffsetsFirst {
            for position in &checkpoint.positions {
                let index = usize::try_from(position.partition.partition).unwrap();
                self.broker.partitions[index].committed = position.next_offset;
            }
        }
        life.writing = Some((checkpoint, covers));
    }

    pub(super) fn sync(&mut self, sync: Sync) -> Checked {
        let sync = if self.disk.is_down { Sync::Failed } else { sync };
        let Some(life) = &mut self.life else { return Ok(()) };
        let Some((mut checkpoint, covers)) = life.writing.take() else { return Ok(()) };
        if self.config.driver != Driver::EffectsFirst {
            let same = life.member.checkpoint().map(|again| again.changes == checkpoint.changes);
            ensure("the same checkpoint again", same == Some(true), || format!("{checkpoint:?}"))?;
        }
        if sync == Sync::Failed {
            life.writing = Some((checkpoint, covers));
            return Ok(());
        }
        if self.config.driver == Driver::TornCommit {
            checkpoint.changes.truncate(checkpoint.changes.len() / 2);
        }
        self.disk.commit(&checkpoint, covers);
        if sync == Sync::FailedButWritten {
            self.disk.has_repeated = true;
            life.writing = Some((checkpoint, covers));
            return Ok(());
        }
        if self.config.driver != Driver::EffectsFirst {
            let durable = life.member.checkpoint_durable();
            ensure("the durable checkpoint", durable.is_some(), String::new)?;
        }
        life.checkpoint_at = self.now;
        if life.fenced_at.is_none() && !self.broker.is_down {
            for (partition, position) in self.broker.partitions.iter_mut().zip(&self.disk.positions)
            {
                partition.committed = *position;
            }
        }
        Ok(())
    }

    /// Carries out one effect; false if there is none.
    pub(super) fn effect(&mut self) -> Result<bool, Failure> {
        let wall = self.wall();
        let Some(life) = &mut self.life else { return Ok(false) };
        match life.member.poll_effect() {
            None => return Ok(false),
            Some(Effect::AlertChanged(alert)) => self.checkers.changed.push(*alert),
            Some(Effect::Attempt(notification)) => {
                self.checkers.attempt(wall, &notification, life, &self.disk)?;
                let answers_at = self.now + SECOND;
                life.flights.push(Flight { notification, answers_at });
            }
        }
        Ok(true)
    }

    // ---- answers ----

    pub(super) fn answers_due(&mut self) -> Checked {
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
        let fate = if self.receivers.find(&notification).is_down { Fate::Reset } else { fate };
        if matches!(fate, Fate::Accept | Fate::AcceptAndLose | Fate::Refuse | Fate::Vanish(true)) {
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
                Outcome::Rejected { reason: OutcomeReason::ClientError, detail: "fault".to_owned() }
            }
            Fate::Vanish(_) => return Ok(()),
        };
        let outcome = match outcome {
            Outcome::Retry { .. } if self.config.driver == Driver::Hopeful => {
                delivered(&notification)
            }
            other => other,
        };
        if let Some(life) = &mut self.life {
            life.member.handle_outcome(wall, &notification, outcome);
        }
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
