//! Findings become alerts here: one alert per rule and key, firing → updated → resolved.
//!
//! While the condition keeps holding, one alert keeps firing and its latest state is kept; receivers
//! hear of it when it begins, when its severity rises, and whenever its value has doubled, so that a
//! burst is not a flood. It resolves when the condition has not held for `resolve_after`. A new episode
//! within `suppress` of the last one's beginning is counted and shown on the next alert.
//!
//! Nobody is silenced by somebody else's noise: receivers hear of an alert, too, when somebody does it whom it
//! does not know yet; `suppress` of a rule about one event holds back only what those did that the last
//! episode knew; and what is too much of one actor does not count for the others (`quota`).

mod by_hand;
mod entries;
mod latest;
mod stored;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Alert, AlertState, Evidence, Fingerprint, MISSING, RuleSaid,
    quota::{
        AlertKey, Place, Quotas, add_actor, is_overflow, label_overflow, newest_first,
        overflow_summary,
    },
    shown::{context_of, default_summary, evidence_of, severity_of, shown_value, threshold_of},
    template::Templates,
    who::who_of,
};
use crate::engine::{
    encode::encode,
    kind::{Hit, Holds},
    kubernetes::fields::CLUSTER,
    limits::{ALERTS_MAX, ANNOTATION_BYTES_MAX, EVIDENCE_MAX, KEYS_PER_EVENT_MAX},
    rule::{AlertSpec, CaptureSlot, Rule, RuleSet, label_name},
    text::{bounded_line, bounded_lines},
    time::{EventTime, WallTime},
    value::{Captured, Combination, choices},
};
use entries::{Entries, Named, Shown, Wanted};
use latest::Latest;

/// Alerts that ended and are forgotten when there are too many: a sixteenth, so that a flood costs little.
const FORGOTTEN_AT_ONCE: usize = ALERTS_MAX / 16;

/// The annotation with the time that an event claims, if that cannot be.
const CLAIMED_TIME: &str = "claimed_time";

/// An alert, or the memory of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TrackedAlert {
    alert: Alert,
    /// When it resolves, or is forgotten, by watermark.
    until: EventTime,
    /// Value when receivers last heard of it.
    told_value: f64,
    /// Findings that `suppress` held back since it resolved.
    suppressed_count: u64,
    suppress_until: Option<EventTime>,
    /// Who did it, the newest last.
    actors: Vec<String>,
    /// Under which time it stands among the deadlines: `until` or an earlier one. Most findings put the end
    /// off, which then costs nothing.
    #[serde(skip, default = "never")]
    scheduled: EventTime,
    /// Whether it stands among the changed ones.
    #[serde(skip)]
    is_changed: bool,
    /// What was found since its texts were made.
    #[serde(skip)]
    latest: Option<Box<Latest>>,
}

/// When a stored alert stands among the deadlines, before it is put back.
const fn never() -> EventTime {
    EventTime::MAX
}

impl TrackedAlert {
    /// One of which nothing was held back.
    fn new(alert: Alert, until: EventTime, told_value: f64, actors: Vec<String>) -> TrackedAlert {
        TrackedAlert {
            alert,
            until,
            told_value,
            suppressed_count: 0,
            suppress_until: None,
            actors,
            scheduled: never(),
            is_changed: false,
            latest: None,
        }
    }

    /// Whether a hit belongs to it: it fires, and has not ended before.
    fn goes_on(&self, hit: &Hit) -> bool {
        self.alert.state == AlertState::Firing && hit.time <= self.until
    }

    /// What an alert that begins now shows as held back: that is remembered for a second cool-down, by
    /// event time, wherever the watermark was looked at.
    fn held_back(&self, spec: &AlertSpec, time: EventTime) -> u64 {
        let known_until = self.suppress_until.zip(spec.suppress);
        let is_known = known_until.is_some_and(|(until, suppress)| time <= until.plus(suppress));
        if is_known { self.suppressed_count } else { 0 }
    }
}

/// What a rule found of one key.
#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    rule: &'a Rule,
    spec: &'a AlertSpec,
    hit: &'a Hit,
    /// Values of the key, in the rule's order.
    parts: &'a [Option<Cow<'a, str>>],
    /// The cluster, if it keeps alerts apart.
    cluster: Option<&'a str>,
    /// Who did it.
    who: Option<&'a str>,
    /// What shows what came before, if the rule asks for several.
    steps: &'a [Evidence],
}

impl Found<'_> {
    /// What its alert is looked for by.
    fn shown(&self) -> Shown<'_> {
        Shown { rule_id: &self.rule.meta().id, parts: self.parts, cluster: self.cluster }
    }

    /// What shows it.
    fn evidence(&self) -> Option<Evidence> {
        evidence_of(self.rule, self.spec, self.hit.captured_at, &self.hit.captured)
    }
}

/// All alerts of a shard.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    entries: Entries,
    deadlines: BTreeSet<(EventTime, Arc<AlertKey>)>,
    quotas: Quotas,
    changed: BTreeSet<Arc<AlertKey>>,
    rules: Arc<RuleSet>,
    templates: Templates,
    pub(crate) counts: LifecycleCounts,
}

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LifecycleCounts {
    pub(crate) suppressed: u64,
    /// By rule id.
    pub(crate) overflowed: BTreeMap<String, u64>,
    pub(crate) template_errors: u64,
}

impl Lifecycle {
    pub(crate) fn new(rules: &Arc<RuleSet>) -> Lifecycle {
        Lifecycle {
            entries: Entries::default(),
            deadlines: BTreeSet::new(),
            quotas: Quotas::default(),
            changed: BTreeSet::new(),
            rules: Arc::clone(rules),
            templates: Templates::new(rules),
            counts: LifecycleCounts::default(),
        }
    }

    /// Texts of another rule set, from now on.
    pub(crate) fn replace_rules(&mut self, rules: &Arc<RuleSet>) {
        // What was found before is told as its rule said then.
        let Lifecycle { entries, rules: old, templates, counts, .. } = self;
        entries.each(|key, entry| entry.settle(old, &key.0, templates, counts));
        self.rules = Arc::clone(rules);
        self.templates = Templates::new(rules);
    }

    /// The state of these rules is gone, so nobody will end the alerts that fire until their rule says
    /// otherwise: they end with the watermark.
    pub(crate) fn end_orphans(&mut self, rules: &BTreeSet<String>, watermark: Option<EventTime>) {
        let orphans: Vec<Arc<AlertKey>> = self
            .deadlines
            .range((EventTime::MAX, Arc::default())..)
            .map(|(_, key)| Arc::clone(key))
            .filter(|key| rules.contains(&key.0))
            .collect();
        for key in orphans {
            self.end(&Named(&key), watermark.unwrap_or(EventTime::MIN));
        }
    }

    /// Takes what a rule found, if it makes alerts: one for each key that it is about. Whether these were
    /// too many.
    pub(crate) fn handle(
        &mut self,
        now: WallTime,
        rule: &Rule,
        hit: &Hit,
        out: &mut Vec<Alert>,
    ) -> bool {
        let Some(spec) = &rule.meta().alert else { return false };
        let captured = |slot: &CaptureSlot| {
            hit.captured.get(slot.index()).map(Captured::distinct).unwrap_or_default()
        };
        let (keys, too_many) = choices(spec.key.iter().map(captured), KEYS_PER_EVENT_MAX);
        let cluster = cluster_of(spec, hit);
        let steps = hit.steps.iter();
        let steps: Vec<Evidence> =
            steps.filter_map(|(time, captured)| evidence_of(rule, spec, *time, captured)).collect();
        let who = who_of(spec, &hit.captured);
        for key in keys {
            let parts: Combination<Option<Cow<'_, str>>> =
                key.into_iter().map(|part| part.map(|text| shown_value(text))).collect();
            let (cluster, who) = (cluster.as_deref(), who.as_deref());
            let steps = &steps;
            let found = Found { rule, spec, hit, parts: &parts, cluster, who, steps };
            self.found(now, &found, out);
        }
        too_many
    }

    fn found(&mut self, now: WallTime, found: &Found<'_>, out: &mut Vec<Alert>) {
        let Found { rule, spec, hit, who, .. } = *found;
        let meta = rule.meta();
        let shown = found.shown();
        if hit.holds == Holds::Ended {
            self.end(&shown, hit.time);
            return;
        }
        if self.update(now, found, &shown, out) {
            // As nearly always, once it fires.
            return;
        }
        let mut key = Arc::new(shown.key());
        // Whose quota it counts for is told by what it shows first.
        let began = found.steps.first().and_then(Evidence::who);
        let began = began.as_deref().or(who);
        let place = self.place_of(&key, began);
        if place != Place::Own {
            if hit.holds == Holds::Still {
                return;
            }
            *self.counts.overflowed.entry(meta.id.clone()).or_default() += 1;
            key = Arc::new(place.key(&meta.id, Arc::unwrap_or_clone(key), began));
        }
        let suppress = spec.suppress.filter(|_| place == Place::Own);
        let is_over =
            |entry: &TrackedAlert| entry.alert.state == AlertState::Firing && !entry.goes_on(hit);
        if self.entries.get(&Named(&key)).is_some_and(is_over)
            && let Some(entry) = self.entries.remove(&key)
        {
            // Whatever event time has come to: this is another episode.
            self.deadlines.remove(&(entry.scheduled, Arc::clone(&key)));
            self.resolve(now, suppress, Arc::clone(&key), entry, out);
        }
        let entry = self.entries.get(&Named(&key)).map(|e| (e.alert.state, e.suppress_until));
        // What a window decides was done by several, and the last of them says little.
        let doer = who.filter(|_| matches!(rule, Rule::Detection(_)));
        let is_known_actor = |entry: &TrackedAlert| match doer {
            Some(who) => entry.actors.is_empty() || entry.actors.iter().any(|known| known == who),
            None => true,
        };
        let is_held_back = self.entries.get(&Named(&key)).is_some_and(is_known_actor);
        match entry {
            Some((AlertState::Firing, _)) => {
                self.update(now, found, &Named(&key), out);
            }
            _ if hit.holds == Holds::Still => {}
            Some((AlertState::Resolved, Some(until))) if hit.time < until && is_held_back => {
                self.counts.suppressed += 1;
                if let Some((key, entry)) = self.entries.get_mut(&Named(&key)) {
                    entry.suppressed_count += 1;
                    note_changed(&mut self.changed, key, entry);
                }
            }
            _ => self.begin(now, found, key, place, out),
        }
    }

    /// Where a finding goes: into the alert that is known under its key, else where there is room.
    fn place_of(&mut self, key: &AlertKey, who: Option<&str>) -> Place {
        if self.entries.contains(&Named(key)) {
            return Place::Own;
        }
        if self.entries.len() >= ALERTS_MAX && !self.forget_ended() {
            return Place::OverflowOfRule;
        }
        match self.quotas.place(&key.0, who) {
            place @ Place::OverflowOfActor if self.quotas.is_full(&key.0) => {
                let own = place.key(&key.0, key.clone(), who);
                if self.entries.contains(&Named(&own)) { place } else { Place::OverflowOfRule }
            }
            place => place,
        }
    }

    /// Forgets some of the alerts that ended; whether there was any.
    fn forget_ended(&mut self) -> bool {
        if self.entries.len() <= self.quotas.all() {
            return false;
        }
        let has_ended = |(_, key): &&(EventTime, Arc<AlertKey>)| {
            let entry = self.entries.get(&Named(key));
            entry.is_some_and(|entry| entry.alert.state == AlertState::Resolved)
        };
        let ended = self.deadlines.iter().filter(has_ended).take(FORGOTTEN_AT_ONCE);
        let ended: Vec<(EventTime, Arc<AlertKey>)> = ended.cloned().collect();
        for deadline in ended {
            self.deadlines.remove(&deadline);
            self.entries.remove(&deadline.1);
            self.changed.insert(deadline.1);
        }
        true
    }

    fn begin(
        &mut self,
        now: WallTime,
        found: &Found<'_>,
        key: Arc<AlertKey>,
        place: Place,
        out: &mut Vec<Alert>,
    ) {
        let Found { rule, spec, hit, parts, cluster, who, steps } = *found;
        let before = self.entries.remove(&key);
        if let Some(before) = &before {
            self.deadlines.remove(&(before.scheduled, Arc::clone(&key)));
        }
        let meta = rule.meta();
        let severity = severity_of(meta, spec, hit.value);
        let mut labels = spec.labels.clone();
        labels.insert("alertname".to_owned(), meta.name.clone());
        labels.insert("severity".to_owned(), severity.as_str().to_owned());
        let mut shown_key = Vec::new();
        if place == Place::Own {
            let names = spec.key.iter().map(|slot| rule.capture().get(slot.index()));
            let named = names.zip(parts.iter().map(Option::as_deref));
            let named = named.map(|(name, value)| (name.map_or("", String::as_str), value));
            for (name, value) in named.chain([(CLUSTER, cluster)]) {
                let Some(value) = value else { continue };
                labels.insert(label_name(name), value.to_owned());
                shown_key.push((name.to_owned(), value.to_owned()));
            }
        }
        let mut actors = match &before {
            Some(before) if before.suppress_until.is_some_and(|until| hit.time < until) => {
                before.actors.clone()
            }
            _ => Vec::new(),
        };
        for step in steps {
            add_actor(&mut actors, step.who().as_deref());
        }
        add_actor(&mut actors, who);
        let mut alert = Alert {
            fingerprint: Fingerprint([0; 16]),
            state: AlertState::Firing,
            labels,
            annotations: BTreeMap::new(),
            rule_id: meta.id.clone(),
            rule_title: meta.about.title.clone(),
            severity,
            key: shown_key,
            starts_at: hit.time,
            first_seen: hit.first,
            last_seen: hit.last,
            ends_at: None,
            changed_at: now,
            value: hit.value,
            threshold: threshold_of(rule),
            finding_count: 1,
            suppressed_count: before.map_or(0, |before| before.held_back(spec, hit.time)),
            evidence: steps
                .iter()
                .take(EVIDENCE_MAX - 1)
                .cloned()
                .chain(found.evidence())
                .collect(),
            revision: 1,
            said: RuleSaid::of(&meta.about),
            tags: meta.about.tags.clone(),
        };
        if place != Place::Own {
            // It is about findings, whatever each of them counts.
            alert.value = 1.0;
            label_overflow(&mut alert, place, label_name);
        }
        alert.fingerprint = Fingerprint::of(&alert.labels);
        alert.annotations =
            annotations(&self.templates, &mut self.counts, (rule, spec), hit, &alert, &actors);
        out.push(alert.clone());
        let until = until(spec, hit, place != Place::Own);
        let told_value = alert.value;
        let mut entry = TrackedAlert::new(alert, until, told_value, actors);
        self.quotas.begun(&entry.alert);
        note_changed(&mut self.changed, &key, &mut entry);
        self.put(key, entry);
    }

    /// Puts an alert in its place, to be looked at when it ends.
    fn put(&mut self, key: Arc<AlertKey>, mut entry: TrackedAlert) {
        entry.scheduled = entry.until;
        self.deadlines.insert((entry.until, Arc::clone(&key)));
        self.entries.insert(key, entry);
    }

    /// Takes another finding of an alert that fires, if it goes on with it. Its texts are made when somebody looks at
    /// them.
    fn update(
        &mut self,
        now: WallTime,
        found: &Found<'_>,
        key: &impl Wanted,
        out: &mut Vec<Alert>,
    ) -> bool {
        let Found { rule, spec, hit, who, .. } = *found;
        let Some((key, entry)) = self.entries.get_mut(key).filter(|(_, entry)| entry.goes_on(hit))
        else {
            return false;
        };
        entry.correct_steps(found, &mut self.quotas);
        let alert = &mut entry.alert;
        let overflow = is_overflow(key);
        let plain = matches!(rule, Rule::Detection(_)) || overflow;
        let is_new_actor = add_actor(&mut entry.actors, who);
        let is_new = hit.holds != Holds::Still;
        alert.finding_count += u64::from(is_new);
        alert.first_seen = alert.first_seen.min(hit.first);
        alert.last_seen = alert.last_seen.max(hit.last);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let value = if plain { alert.finding_count as f64 } else { hit.value };
        alert.value = alert.value.max(value);
        let is_room = is_new && alert.evidence.len() < EVIDENCE_MAX;
        if is_room {
            alert.evidence.extend(found.evidence());
        }
        let weight = if overflow { hit.value } else { alert.value };
        let severity = severity_of(rule.meta(), spec, weight).max(alert.severity);
        let rose = severity > alert.severity;
        if rose {
            alert.severity = severity;
            alert.labels.insert("severity".to_owned(), severity.as_str().to_owned());
        }
        alert.revision += 1;
        alert.changed_at = now;
        entry.latest = Some(Latest::after(entry.latest.take(), spec, hit, is_new && !is_room));
        let until = match hit.holds {
            Holds::Until(until) if !overflow => until,
            _ => entry.until.max(until(spec, hit, overflow)),
        };
        move_end(&mut self.deadlines, key, entry, until);
        if rose || is_new_actor || entry.alert.value >= entry.told_value * 2.0 {
            entry.told_value = entry.alert.value;
            entry.settle(&self.rules, &key.0, &self.templates, &mut self.counts);
            out.push(entry.alert.clone());
        }
        note_changed(&mut self.changed, key, entry);
        true
    }

    /// The condition holds no longer: the alert resolves at this time unless it is found again.
    fn end(&mut self, key: &impl Wanted, until: EventTime) {
        let Some((key, entry)) = self.entries.get_mut(key) else { return };
        if entry.alert.state == AlertState::Firing && until < entry.until {
            move_end(&mut self.deadlines, key, entry, until);
            note_changed(&mut self.changed, key, entry);
        }
    }

    /// What was found of a key ended; the alert may be one of when clusters were not apart.
    pub(crate) fn end_of_all_clusters(&mut self, rule: &Rule, hit: &Hit) {
        let Some(spec) = &rule.meta().alert else { return };
        let value = |slot: &CaptureSlot| {
            let values = hit.captured.get(slot.index()).map(Captured::values).unwrap_or_default();
            values.first().map_or_else(String::new, |text| shown_value(text).into_owned())
        };
        let key = (rule.meta().id.clone(), spec.key.iter().map(value).collect());
        self.end(&Named(&key), hit.time);
    }

    /// Resolves what has not held for long enough, and forgets what need not be remembered.
    pub(crate) fn advance(
        &mut self,
        now: WallTime,
        rules: &RuleSet,
        watermark: EventTime,
        out: &mut Vec<Alert>,
    ) {
        // What happens exactly at the watermark is not late, and may go on with the episode; after the
        // end of a finite stream nothing does.
        while let Some((due, _)) = self.deadlines.first()
            && (*due < watermark || watermark == EventTime::MAX)
            && let Some((due, key)) = self.deadlines.pop_first()
        {
            let Some(mut entry) = self.entries.remove(&key) else { continue };
            if entry.until > due {
                // It was put off.
                self.put(key, entry);
                continue;
            }
            self.changed.insert(Arc::clone(&key));
            entry.is_changed = true;
            let suppress = rules
                .find(&key.0)
                .and_then(|index| rules.rule(index).meta().alert.as_ref()?.suppress)
                .filter(|_| !is_overflow(&key));
            if entry.alert.state == AlertState::Firing {
                self.resolve(now, suppress, key, entry, out);
            } else if let Some(suppress) = suppress
                && entry.suppressed_count > 0
                && entry.suppress_until == Some(entry.until)
            {
                // The next alert is to show what was held back, if there is one before long.
                entry.until = entry.until.plus(suppress);
                self.put(key, entry);
            }
        }
    }

    /// Ends an episode, never before it began: an event that comes late can say that what was found was over by
    /// then. A next one that begins within `suppress` will be held back.
    fn resolve(
        &mut self,
        now: WallTime,
        suppress: Option<Duration>,
        key: Arc<AlertKey>,
        mut entry: TrackedAlert,
        out: &mut Vec<Alert>,
    ) {
        entry.settle(&self.rules, &key.0, &self.templates, &mut self.counts);
        entry.alert.state = AlertState::Resolved;
        entry.alert.ends_at = Some(entry.until.max(entry.alert.starts_at));
        entry.alert.changed_at = now;
        entry.alert.revision += 1;
        out.push(entry.alert.clone());
        self.quotas.ended(&entry.alert);
        self.changed.insert(Arc::clone(&key));
        entry.is_changed = true;
        let until = suppress.map(|suppress| entry.alert.starts_at.plus(suppress));
        if let Some(until) = until.filter(|until| *until > entry.until) {
            entry.until = until;
            entry.suppress_until = Some(until);
            self.put(key, entry);
        }
    }

    /// The watermark at which something happens. An alert that fires until its rule says otherwise
    /// waits for no time.
    pub(crate) fn next_deadline(&self) -> Option<EventTime> {
        let (due, _) = self.deadlines.first()?;
        (*due < EventTime::MAX).then(|| due.plus(Duration::from_micros(1)))
    }

    /// Alerts that fire.
    pub(crate) fn firing(&self) -> impl Iterator<Item = &Alert> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.alert.state == AlertState::Firing)
            .map(|(key, entry)| entry.shown(&self.rules, &key.0, &self.templates))
    }

    /// Entries that changed since the last call, as stored; `None` if they are gone.
    pub(crate) fn take_changed(&mut self) -> Vec<(Arc<AlertKey>, Option<Vec<u8>>)> {
        std::mem::take(&mut self.changed)
            .into_iter()
            .map(|key| {
                let bytes = self.entries.get_mut(&Named(&key)).map(|(_, entry)| {
                    entry.is_changed = false;
                    entry.settle(&self.rules, &key.0, &self.templates, &mut self.counts);
                    encode(&*entry)
                });
                (key, bytes)
            })
            .collect()
    }

    /// Puts a stored entry back.
    pub(crate) fn restore(&mut self, key: AlertKey, entry: TrackedAlert) {
        if entry.alert.state == AlertState::Firing {
            self.quotas.begun(&entry.alert);
        }
        self.put(Arc::new(key), entry);
    }
}

/// Moves the end of an alert. Among the deadlines it moves only to an earlier time, or to where those stand
/// that wait for no time.
fn move_end(
    deadlines: &mut BTreeSet<(EventTime, Arc<AlertKey>)>,
    key: &Arc<AlertKey>,
    entry: &mut TrackedAlert,
    until: EventTime,
) {
    entry.until = until;
    if until < entry.scheduled || until == EventTime::MAX && entry.scheduled < until {
        deadlines.remove(&(entry.scheduled, Arc::clone(key)));
        deadlines.insert((until, Arc::clone(key)));
        entry.scheduled = until;
    }
}

fn note_changed(
    changed: &mut BTreeSet<Arc<AlertKey>>,
    key: &Arc<AlertKey>,
    entry: &mut TrackedAlert,
) {
    if !std::mem::replace(&mut entry.is_changed, true) {
        changed.insert(Arc::clone(key));
    }
}

/// What an alert says in words after this hit. Templates that fail are counted.
fn annotations(
    templates: &Templates,
    counts: &mut LifecycleCounts,
    (rule, spec): (&Rule, &AlertSpec),
    hit: &Hit,
    alert: &Alert,
    actors: &[String],
) -> BTreeMap<String, String> {
    let meta = rule.meta();
    let context = context_of(rule, hit, alert);
    let mut annotations = BTreeMap::new();
    for name in spec.annotations.keys() {
        match templates.render(&meta.id, name, &context) {
            Some(text) => {
                annotations.insert(name.clone(), text);
            }
            None => counts.template_errors += 1,
        }
    }
    // Of the latest event that claims one.
    let claimed = hit.claimed.map(EventTime::rfc3339);
    if let Some(claimed) = claimed.or_else(|| alert.annotations.get(CLAIMED_TIME).cloned()) {
        annotations.insert(CLAIMED_TIME.to_owned(), claimed);
    }
    if alert.is_overflow() {
        let text = bounded_lines(&overflow_summary(alert, actors), ANNOTATION_BYTES_MAX);
        annotations.insert("summary".to_owned(), text);
    }
    annotations.entry("summary".to_owned()).or_insert_with(|| default_summary(alert));
    if let Some(names) = newest_first(actors).filter(|_| actors.len() > 1) {
        let text = bounded_line(&names, ANNOTATION_BYTES_MAX);
        annotations.entry("actors".to_owned()).or_insert(text);
    }
    if !meta.about.description.is_empty() {
        let text = bounded_lines(&meta.about.description, ANNOTATION_BYTES_MAX);
        annotations.entry("description".to_owned()).or_insert(text);
    }
    if let Some(runbook) = &meta.about.runbook {
        let is_link = runbook.starts_with("https://") || runbook.starts_with("http://");
        let name = if is_link { "runbook_url" } else { "runbook" };
        annotations.entry(name.to_owned()).or_insert_with(|| runbook.clone());
    }
    if let Rule::Correlation(rule) = rule
        && rule.kind.is_about_silence()
    {
        let names: Vec<&str> = rule.inputs.iter().map(|input| input.name.as_str()).collect();
        annotations.entry(MISSING.to_owned()).or_insert_with(|| names.join(", "));
    }
    if !hit.values.is_empty() {
        let text = bounded_line(&hit.values.join(", "), ANNOTATION_BYTES_MAX);
        annotations.entry("values".to_owned()).or_insert(text);
    }
    annotations
}

/// The cluster that keeps an alert apart from others.
fn cluster_of<'h>(spec: &AlertSpec, hit: &'h Hit) -> Option<Cow<'h, str>> {
    let cluster = hit.captured.get(spec.cluster?.index())?.values().first()?;
    Some(shown_value(cluster))
}

/// When an alert resolves that begins with this hit.
///
/// One that stands for others hears the end of none of them.
fn until(spec: &AlertSpec, hit: &Hit, overflow: bool) -> EventTime {
    match hit.holds {
        Holds::Until(until) if !overflow => until,
        _ => hit.last.max(hit.time).plus(spec.resolve_after),
    }
}
