//! The stateful half of the engine: detections in, alerts out.
//!
//! A shard owns correlation state, alert lifecycle and suppression for its share of the correlation
//! keys. It knows nothing of where its detections come from.

mod finding;
mod identity;
mod memory;
mod stored;
mod unfinished;
pub mod watermark;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::{
    finding::{Counted, Finding, correlate},
    memory::Memory,
    stored::{correlation_change, identity_change},
    unfinished::Unfinished,
    watermark::{Clocks, Watermark},
};
use super::{
    alert::{Alert, Fingerprint, lifecycle::Lifecycle},
    detect::Detection,
    detector::DetectionBatch,
    horizon::Horizon,
    kind::{Captures, Hit, Holds, RuleState, Taken},
    limits::{IDENTITIES_PER_RULE_MAX, PREVIOUS_RULES_MAX},
    record::{PartitionName, Progress},
    rule::{Rule, RuleIndex, RuleSet},
    time::{EventTime, WallTime},
    value::{Captured, event_of},
};
pub(in crate::engine) use identity::{Identities, Run, Seen};

pub use super::{
    settings::EngineSettings,
    state::{StateChange, StateEntry, StateTable},
};

/// What was counted since the process started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardCounts {
    /// Detections behind the watermark. They count all the same wherever a window is still open.
    pub events_late: u64,
    /// Detections of requests that the rule had counted before.
    pub duplicates: u64,
    /// Findings that did not count for a correlation, since a group-by or counted field was absent or
    /// no number; by rule id.
    pub keys_null: BTreeMap<String, u64>,
    /// Times that a partition could not be read for so long that windows were closed without it.
    pub partitions_given_up: u64,
    /// Findings that came after their window had been decided, and did not count in it.
    pub windows_missed: u64,
    /// Times that a bound was hit, by bound and rule id.
    pub limits_hit: BTreeMap<Limit, BTreeMap<String, u64>>,
    /// Findings that an author's `suppress` held back.
    pub suppressed: u64,
    /// Annotations that fell back to the default text.
    pub template_errors: u64,
    /// Detections of rules that an edit has removed meanwhile.
    pub rules_gone: u64,
    /// Changes whose end was not waited for, since there were too many or they came too late.
    pub unfinished_unwatched: u64,
    /// Findings by rule id.
    pub findings: BTreeMap<String, u64>,
}

/// A bound of what is kept of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Correlation keys dropped to make room.
    CorrelationKeys,
    /// Findings that went into a rule's overflow alert.
    FiringAlerts,
    /// Identities forgotten before their time; duplicates of them would count twice.
    Identities,
    /// Events of which not all keys, or not all counted values, counted.
    KeysPerEvent,
    /// Events dropped from windows that were full.
    WindowEvents,
}

impl Limit {
    /// All.
    pub const ALL: [Limit; 5] = [
        Limit::CorrelationKeys,
        Limit::FiringAlerts,
        Limit::Identities,
        Limit::KeysPerEvent,
        Limit::WindowEvents,
    ];

    /// Its label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Limit::CorrelationKeys => "correlation_keys",
            Limit::FiringAlerts => "firing_alerts",
            Limit::Identities => "identities",
            Limit::KeysPerEvent => "keys_per_event",
            Limit::WindowEvents => "window_events",
        }
    }
}

impl ShardCounts {
    fn hit(&mut self, limit: Limit, rule_id: &str, times: u64) {
        if times > 0 {
            count(self.limits_hit.entry(limit).or_default(), rule_id, times);
        }
    }
}

/// What restoring came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Entries taken over.
    pub restored: usize,
    /// Entries of rules that no longer exist or mean something else.
    pub outdated: usize,
    /// Entries that could not be read.
    pub unusable: usize,
}

/// What became of state when rules were replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplaceReport {
    /// Rules whose state was kept.
    pub kept: usize,
    /// Rules whose state was dropped, since they are gone or mean something else.
    pub dropped: usize,
}

/// Correlation state, alert lifecycle and suppression for its share of the keys. Deterministic: same
/// inputs, same effects.
#[derive(Debug)]
pub struct Shard {
    settings: EngineSettings,
    rules: Arc<RuleSet>,
    epoch: u64,
    /// The rule sets before, for detections that were under way when the rules changed; the latest
    /// last.
    previous: VecDeque<(u64, Arc<RuleSet>)>,
    watermark: Watermark,
    horizon: Horizon,
    /// By index in the rule set; `None` where a copy of an event makes no difference.
    identities: Vec<Option<Identities>>,
    /// By index in the rule set; `None` for detection rules.
    states: Vec<Option<Box<dyn RuleState>>>,
    memory: Memory,
    /// Who is told of a rule's findings: correlation and its input.
    listeners: Vec<Vec<(RuleIndex, usize)>>,
    /// Whether the states know when they began to look.
    has_begun: bool,
    /// Ids of rules of which state was stored when clusters were not apart.
    of_all_clusters: BTreeSet<String>,
    unfinished: Unfinished,
    lifecycle: Lifecycle,
    alerts: VecDeque<Alert>,
    changes: Vec<StateChange>,
    counts: ShardCounts,
    /// Findings by index in the rule set, of this one.
    findings: Vec<u64>,
    counted: Counted,
    /// Findings that are still to be followed: none but while one is.
    open: VecDeque<Finding>,
}

impl Shard {
    /// A shard that has seen nothing.
    pub fn new(rules: Arc<RuleSet>, rules_epoch: u64, settings: EngineSettings) -> Shard {
        Shard {
            watermark: Watermark::new(&settings),
            horizon: Horizon::default(),
            identities: fresh_identities(&rules, &settings),
            unfinished: Unfinished::new(settings.grace),
            memory: Memory::new(settings.memory),
            settings,
            states: fresh_states(&rules),
            listeners: listeners(&rules),
            findings: vec![0; rules.rules.len()],
            counted: Counted::default(),
            open: VecDeque::new(),
            has_begun: false,
            of_all_clusters: BTreeSet::new(),
            lifecycle: Lifecycle::new(&rules),
            rules,
            epoch: rules_epoch,
            previous: VecDeque::new(),
            alerts: VecDeque::new(),
            changes: Vec::new(),
            counts: ShardCounts::default(),
        }
    }

    /// A source can be read (again), with these partitions; their silence counts from now. Event time
    /// then goes on if it stood still.
    pub fn handle_ready(&mut self, now: WallTime, partitions: &[Arc<PartitionName>]) {
        self.watermark.listen(now, partitions);
    }

    /// The process did not look for a while: that was no time in which anybody was waited for.
    pub fn handle_pause(&mut self, now: WallTime) {
        self.watermark.resume(now);
    }

    /// No source can be read: event time stands still, as silence means nothing, until
    /// [`Shard::handle_ready`].
    pub fn handle_unavailable(&mut self) {
        self.watermark.stop_listening();
        self.horizon.rest();
    }

    /// These partitions cannot be read from now on, while others can; windows wait for them, but not for
    /// ever. [`Shard::handle_ready`] ends it.
    pub fn handle_away(&mut self, now: WallTime, partitions: &[Arc<PartitionName>]) {
        self.watermark.leave(now, partitions);
    }

    /// Partitions that cannot be read for so long that windows are closed without them.
    pub fn given_up(&self) -> impl Iterator<Item = &Arc<PartitionName>> {
        self.watermark.given_up()
    }

    /// Detections of one batch, in their order; its progress then moves the watermark. Never fails.
    pub fn handle_batch(&mut self, now: WallTime, batch: &DetectionBatch) {
        self.begin_with(now, batch);
        for detection in &batch.detections {
            self.detected(now, batch.rules_epoch, detection);
        }
        self.watch_unfinished(batch);
        for progress in &batch.progress {
            self.watermark.observe(now, progress);
        }
        if let Some(at) = batch.detected_at {
            self.horizon.used(now, at);
        }
        self.advance(now);
    }

    /// Safe to call early or twice. Due when [`Shard::poll_timeout`] says so.
    pub fn handle_timeout(&mut self, now: WallTime) {
        self.advance(now);
    }

    /// When event time will have come, if no more is heard, to the next end of a window or of an alert;
    /// [`WallTime::MIN`] if it has. `None` if time alone brings nothing. May be too early, and changes
    /// with any other call. Cost: rules and partitions.
    pub fn poll_timeout(&self) -> Option<WallTime> {
        let windows = self.states.iter().flatten().filter_map(|state| state.next_deadline());
        let deadline = windows
            .chain(self.lifecycle.next_deadline())
            .chain(self.unfinished.next_deadline())
            .min()?;
        self.watermark.reaches(deadline)
    }

    /// The next change of an alert that receivers may want.
    pub fn poll_alert(&mut self) -> Option<Alert> {
        self.alerts.pop_front()
    }

    /// Ends alerts by hand. Which of them fired.
    pub fn resolve(
        &mut self,
        now: WallTime,
        fingerprints: &BTreeSet<Fingerprint>,
        by_and_why: (&str, &str),
    ) -> BTreeSet<Fingerprint> {
        let mut alerts = Vec::new();
        let fired = self.lifecycle.resolve_by_hand(now, fingerprints, by_and_why, &mut alerts);
        self.alerts.extend(alerts);
        fired
    }

    /// End of a finite stream: every window closes, every alert resolves.
    pub fn flush(&mut self, now: WallTime) {
        // What is silent until the end of what was seen is silent; beyond it there is nothing to hear.
        self.watermark.catch_up();
        self.advance_to(now);
        // Their ends may stand behind the end of what was seen.
        self.unfinished.give_up();
        self.watermark.finish();
        self.advance_to(now);
    }

    /// How far event time has come; `None` before the first event.
    pub const fn watermark(&self) -> Option<EventTime> {
        self.watermark.get()
    }

    /// How far event time has come in the partition that is furthest behind.
    pub(in crate::engine) fn slowest(&self) -> EventTime {
        self.watermark.slowest()
    }

    /// Tells the names of sources, so that those of restored partitions are known.
    pub fn resolve_partitions(&mut self, sources: &[Arc<str>]) {
        self.watermark.resolve(sources);
    }

    /// Clocks of the partitions.
    pub const fn partitions(&self) -> &Clocks {
        self.watermark.partitions()
    }

    /// Counters since the process started.
    pub fn counts(&self) -> ShardCounts {
        let mut counts = self.counts.clone();
        self.add_findings(&mut counts);
        counts.suppressed = self.lifecycle.counts.suppressed;
        let overflowed = self.lifecycle.counts.overflowed.clone();
        if !overflowed.is_empty() {
            counts.limits_hit.insert(Limit::FiringAlerts, overflowed);
        }
        counts.template_errors = self.lifecycle.counts.template_errors;
        counts.partitions_given_up = self.watermark.given_up_count();
        counts
    }

    /// Adds the findings of the rule set in force.
    fn add_findings(&self, counts: &mut ShardCounts) {
        for (rule, findings) in self.rules.rules.iter().zip(&self.findings) {
            if *findings > 0 {
                count(&mut counts.findings, &rule.meta().id, *findings);
            }
        }
    }

    /// Correlation keys held, by rule id.
    pub fn correlation_keys(&self) -> impl Iterator<Item = (&str, usize)> {
        self.rules.correlations().filter_map(|(index, rule)| {
            let state = self.states.get(index.index())?.as_ref()?;
            Some((rule.meta.id.as_str(), state.key_count()))
        })
    }

    /// The rule set in force.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Alerts that fire.
    pub fn alerts_firing(&self) -> impl Iterator<Item = &Alert> {
        self.lifecycle.firing()
    }

    fn detected(&mut self, now: WallTime, epoch: u64, detection: &Detection) {
        let Some((index, captured)) = self.current(epoch, detection) else {
            self.counts.rules_gone += 1;
            return;
        };
        if let Some(Some(identities)) = self.identities.get_mut(index.index()) {
            match identities.see(detection) {
                Seen::New => {}
                Seen::NewForOld => {
                    let id = &self.rules.rule(index).meta().id;
                    self.counts.hit(Limit::Identities, id, 1);
                }
                Seen::Before => {
                    self.counts.duplicates += 1;
                    return;
                }
            }
        }
        // What was taken as earlier than it claims is not late for that: our own clock may be wrong.
        let (claimed, watermark) = (detection.claimed, self.watermark.get());
        let time = match claimed.zip(watermark) {
            Some((claimed, watermark)) => detection.time.max(watermark.min(claimed)),
            None => detection.time,
        };
        if watermark.is_some_and(|watermark| time < watermark) {
            self.counts.events_late += 1;
        }
        if claimed.is_some() {
            self.watermark.assume(now, time);
        }
        let hit = Hit { claimed, ..Hit::of_event(time, captured) };
        self.counted.begin(Some((detection.identity, detection.stage)));
        self.found(now, watermark, Finding { rule: index, hit });
    }

    /// The rule's index in the set in force, and what was captured as that rule captures it, for a
    /// detection made under `epoch`. `None` if the rule is gone.
    fn current(&self, epoch: u64, detection: &Detection) -> Option<(RuleIndex, Arc<[Captured]>)> {
        if epoch == self.epoch {
            return Some((detection.rule, Arc::clone(&detection.captured)));
        }
        let (_, old) = self.previous.iter().find(|(previous, _)| *previous == epoch)?;
        let old = old.rules.get(detection.rule.index())?;
        let current = self.rules.find(&old.meta().id)?;
        Some((current, remapped(old, self.rules.rule(current), &detection.captured)))
    }

    /// Follows a finding to the correlations above it, and to alerts. Rules stand in topological
    /// order, so this ends.
    fn found(&mut self, now: WallTime, watermark: Option<EventTime>, finding: Finding) {
        let rules = Arc::clone(&self.rules);
        let mut open = std::mem::take(&mut self.open);
        let mut next = Some(finding);
        while let Some(finding) = next.take().or_else(|| open.pop_front()) {
            let rule = rules.rule(finding.rule);
            let mut alerts = Vec::new();
            let too_many = self.lifecycle.handle(now, rule, &finding.hit, &mut alerts);
            if finding.hit.holds == Holds::Ended && self.of_all_clusters.contains(&rule.meta().id) {
                self.lifecycle.end_of_all_clusters(rule, &finding.hit);
            }
            self.counts.hit(Limit::KeysPerEvent, &rule.meta().id, u64::from(too_many));
            self.alerts.extend(alerts);
            if matches!(finding.hit.holds, Holds::Ended | Holds::Still) {
                continue;
            }
            // The finding of a correlation is as old as its window: it is not late for the next one.
            let is_of_event = matches!(rule, Rule::Detection(_));
            let watermark = watermark.filter(|_| is_of_event);
            if let Some(findings) = self.findings.get_mut(finding.rule.index()) {
                *findings += 1;
            }
            let mut above = Vec::new();
            self.make_room(finding.hit.time, &mut above);
            for (index, input) in self.listeners.get(finding.rule.index()).into_iter().flatten() {
                let (Rule::Correlation(rule), Some(Some(state))) =
                    (rules.rule(*index), self.states.get_mut(index.index()))
                else {
                    continue;
                };
                let state = &mut **state;
                let (id, counts) = (&rule.meta.id, &mut self.counts);
                let of_all = self.of_all_clusters.contains(id);
                let known = (watermark, of_all);
                state.allow(self.memory.allowed(state));
                let counted = Some(&mut self.counted).filter(|_| is_of_event);
                let given = self.memory.count(state, |state| {
                    let rule = (*index, rule);
                    correlate(rule, state, *input, &finding, known, counted, &mut above)
                });
                counts.hit(Limit::KeysPerEvent, id, u64::from(given.too_many));
                for taken in given.taken {
                    match taken {
                        Taken::Counted | Taken::NotExpected => {}
                        Taken::Absent | Taken::NoNumber => count(&mut counts.keys_null, id, 1),
                        Taken::TooLate => counts.windows_missed += 1,
                    }
                }
                let losses = state.take_losses();
                counts.hit(Limit::CorrelationKeys, id, losses.keys_evicted);
                counts.hit(Limit::WindowEvents, id, losses.window_events_dropped);
            }
            open.extend(above);
        }
        self.open = open;
    }

    /// What begins with a batch of one partition begins where event time is with the first of its events,
    /// wherever the batch ends.
    fn begin_with(&mut self, now: WallTime, batch: &DetectionBatch) {
        let ([progress], Some(first), false) =
            (batch.progress.as_slice(), batch.time_first, self.has_begun)
        else {
            return;
        };
        self.watermark.observe(now, &Progress { time_max: Some(first), ..progress.clone() });
        self.watermark.advance(now);
        if let Some(watermark) = self.watermark.get() {
            self.begin(watermark.plus(self.settings.grace));
        }
    }

    /// Tells the states when they began to look, if they do not know: event time is here.
    fn begin(&mut self, time: EventTime) {
        if !std::mem::replace(&mut self.has_begun, true) {
            for state in self.states.iter_mut().flatten() {
                self.memory.count(&mut **state, |state| state.begin(time));
            }
        }
    }

    fn advance(&mut self, now: WallTime) {
        self.horizon.look(now);
        self.watermark.advance(now);
        self.advance_to(now);
    }

    fn advance_to(&mut self, now: WallTime) {
        let Some(watermark) = self.watermark.get() else { return };
        // Events of up to this time may have come before.
        self.begin(watermark.plus(self.settings.grace));
        // What never ended happened when its time was over, between the windows that end before and after.
        while let Some((deadline, found)) = self.unfinished.take_due(watermark) {
            self.close_windows(now, deadline);
            self.counted.begin(None);
            for (index, hit) in found {
                self.found(now, Some(deadline), Finding { rule: index, hit });
            }
        }
        self.close_windows(now, watermark);
        self.keep_within_memory(now, watermark);
        let slowest = self.watermark.slowest();
        self.unfinished.expire(watermark, slowest);
        for identities in self.identities.iter_mut().flatten() {
            identities.expire(watermark, slowest);
        }
    }

    /// Waits for the ends of changes that were received, and stops waiting for those that came.
    fn watch_unfinished(&mut self, batch: &DetectionBatch) {
        for ended in &batch.ended {
            self.unfinished.ended(*ended, self.watermark.get());
        }
        for received in &batch.received {
            let detections: Vec<_> = received
                .detections
                .iter()
                .filter_map(|detection| self.current(batch.rules_epoch, detection))
                .collect();
            self.counts.rules_gone += (received.detections.len() - detections.len()) as u64;
            let (identity, time) = (received.identity, received.time);
            if !self.unfinished.received(identity, time, detections, self.watermark.get()) {
                self.counts.unfinished_unwatched += 1;
            }
        }
    }

    /// Lets everything end that ends by this time.
    fn close_windows(&mut self, now: WallTime, watermark: EventTime) {
        let rules = Arc::clone(&self.rules);
        for (index, _) in rules.correlations() {
            let mut found = Vec::new();
            if let Some(Some(state)) = self.states.get_mut(index.index()) {
                let reached = (watermark, self.horizon.at());
                self.memory.count(&mut **state, |state| {
                    finding::advance(index, state, reached, &mut found);
                });
            }
            for finding in found {
                self.found(now, Some(watermark), finding);
            }
        }
        let mut alerts = Vec::new();
        self.lifecycle.advance(now, &rules, watermark, &mut alerts);
        self.alerts.extend(alerts);
    }

    /// Puts another rule set in force. State of a rule is kept if it means the same: a changed
    /// threshold, text or severity keeps it.
    pub fn replace_rules(
        &mut self,
        now: WallTime,
        rules: Arc<RuleSet>,
        rules_epoch: u64,
    ) -> ReplaceReport {
        self.take_state_changes();
        let mut report = ReplaceReport::default();
        let mut dropped = BTreeSet::new();
        let mut states = fresh_states(&rules);
        for (index, rule) in self.rules.correlations() {
            let Some(state) = self.states.get_mut(index.index()).and_then(Option::take) else {
                continue;
            };
            let same = rules
                .find(&rule.meta.id)
                .filter(|new| rules.rule(*new).meta().state_shape == rule.meta.state_shape);
            if let Some(new) = same
                && let Some(Some(place)) = states.get_mut(new.index())
            {
                let captures =
                    captures_of(rules.rule(new).capture() == rule.capture_names.as_slice());
                place.take_over(state, captures);
                report.kept += 1;
            } else {
                report.dropped += 1;
                dropped.insert(rule.meta.id.clone());
                let mut keys = Vec::new();
                state.keys(&mut keys);
                for key in keys {
                    self.changes.push(correlation_change(&rule.meta.id, &key, None));
                }
            }
        }
        self.replace_identities(&rules);
        self.unfinished.replace_rules(&self.rules, &rules);
        let mut counts = std::mem::take(&mut self.counts);
        self.add_findings(&mut counts);
        self.counts = counts;
        self.findings = vec![0; rules.rules.len()];
        let old = std::mem::replace(&mut self.rules, Arc::clone(&rules));
        if self.previous.len() == PREVIOUS_RULES_MAX {
            self.previous.pop_front();
        }
        self.previous.push_back((self.epoch, old));
        self.epoch = rules_epoch;
        self.states = states;
        self.has_begun = false;
        self.counted.begin(None);
        self.count_memory();
        self.listeners = listeners(&rules);
        self.lifecycle.replace_rules(&rules);
        self.lifecycle.end_orphans(&dropped, self.watermark.get());
        // Event time does not move here: whether its partitions were silent is not known yet.
        self.advance_to(now);
        report
    }

    /// Identities stay with their rule. Those of a rule that is gone, or that does without by now, are
    /// forgotten.
    fn replace_identities(&mut self, rules: &RuleSet) {
        let old = std::mem::replace(&mut self.identities, fresh_identities(rules, &self.settings));
        for (rule, identities) in self.rules.rules.iter().zip(old) {
            let (id, Some(identities)) = (&rule.meta().id, identities) else { continue };
            let index = rules.find(id).map(RuleIndex::index);
            if let Some(Some(place)) = index.and_then(|index| self.identities.get_mut(index)) {
                *place = identities.kept_like(place);
            } else {
                let gone = identities.runs().map(|run| identity_change(id, run, None));
                self.changes.extend(gone);
            }
        }
    }
}

fn fresh_states(rules: &RuleSet) -> Vec<Option<Box<dyn RuleState>>> {
    let fresh = |rule: &Rule| match rule {
        Rule::Detection(_) => None,
        Rule::Correlation(rule) => Some(rule.kind.fresh(rule.frame)),
    };
    rules.rules.iter().map(fresh).collect()
}

/// What a detection of a rule carries, in the order of the same rule as it is by now.
fn remapped(old: &Rule, new: &Rule, captured: &[Captured]) -> Arc<[Captured]> {
    let value_of = |name: &String| {
        let slot = old.capture().iter().position(|known| known == name)?;
        captured.get(slot).cloned()
    };
    let values = new.capture().iter().map(|name| value_of(name).unwrap_or_default());
    values.chain(event_of(captured).cloned().map(Captured::Event)).collect()
}

const fn captures_of(same: bool) -> Captures {
    if same { Captures::Same } else { Captures::Outdated }
}

fn listeners(rules: &RuleSet) -> Vec<Vec<(RuleIndex, usize)>> {
    let mut listeners = vec![Vec::new(); rules.rules.len()];
    for (index, rule) in rules.correlations() {
        for (input_index, input) in rule.inputs.iter().enumerate() {
            if let Some(list) = listeners.get_mut(input.rule.index()) {
                list.push((index, input_index));
            }
        }
    }
    listeners
}

/// No identities yet, of rules for which a copy of an event makes a difference. Each is to be known as long
/// as the event may count in any correlation above the rule, and in its own alert.
fn fresh_identities(rules: &RuleSet, settings: &EngineSettings) -> Vec<Option<Identities>> {
    let of_alert = |rule: &Rule| rule.meta().alert.as_ref().map(|_| settings.resolve_after);
    let mut spans: Vec<Option<Duration>> = rules.rules.iter().map(of_alert).collect();
    let correlations: Vec<_> = rules.correlations().collect();
    // Rules stand behind those that they refer to.
    for (index, rule) in correlations.into_iter().rev() {
        if !rule.kind.minds_copies() {
            continue;
        }
        let above = spans.get(index.index()).copied().flatten();
        let span = Some(rule.identity_span()).max(above);
        for input in &rule.inputs {
            if let Some(below) = spans.get_mut(input.rule.index()) {
                *below = span.max(*below);
            }
        }
    }
    let fresh = |span: Duration| {
        Identities::new(span.saturating_add(settings.grace), IDENTITIES_PER_RULE_MAX)
    };
    spans.into_iter().map(|span| span.map(fresh)).collect()
}

fn count(counts: &mut BTreeMap<String, u64>, id: &str, times: u64) {
    match counts.get_mut(id) {
        Some(number) => *number += times,
        None => {
            counts.insert(id.to_owned(), times);
        }
    }
}
