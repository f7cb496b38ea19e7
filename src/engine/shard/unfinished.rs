//! Changes that were received, and of which no end has come.
//!
//! A server may do what it was asked and leave no event of its end: the body of an apply patch in YAML
//! cannot be recorded at level Request by many of them. What rules would say of such a request was asked
//! when it was received; here it waits for the end, and counts once event time has passed
//! [`UNFINISHED_AFTER`] without one. The two may come in any order, within grace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::{
    identity::{Identities, Run},
    remapped,
    stored::{NO_RULE, captures_hash, identity_change},
};
use crate::engine::{
    detect::{Detection, Ended},
    encode::encode,
    event::{RequestIdentity, Stage},
    kind::Hit,
    limits::{IDENTITIES_PER_RULE_MAX, UNFINISHED_AFTER, UNFINISHED_MAX},
    rule::{RuleIndex, RuleSet},
    state::{StateChange, StateEntry, StateTable},
    time::EventTime,
    value::Captured,
};

/// What a rule says of a request, should it never end.
type Verdict = (RuleIndex, Arc<[Captured]>);

/// Requests whose end is waited for.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// By the time at which it is over.
    waiting: BTreeMap<(EventTime, RequestIdentity), Vec<Verdict>>,
    deadlines: HashMap<RequestIdentity, EventTime>,
    /// Requests that ended: what says that they were received may come later.
    ended: Identities,
    changed: BTreeSet<RequestIdentity>,
}

/// As the store has one.
#[derive(Serialize, Deserialize)]
struct Stored {
    deadline: EventTime,
    /// Rule, what its detections carry, and that.
    verdicts: Vec<(String, u64, Arc<[Captured]>)>,
}

impl Unfinished {
    pub(super) fn new(grace: Duration) -> Unfinished {
        let keep = UNFINISHED_AFTER.saturating_add(grace);
        Unfinished {
            waiting: BTreeMap::new(),
            deadlines: HashMap::new(),
            ended: Identities::new(keep, IDENTITIES_PER_RULE_MAX),
            changed: BTreeSet::new(),
        }
    }

    /// A request was received. `false` if its end is not waited for: there are too many, or its time was
    /// over before it came.
    pub(super) fn received(
        &mut self,
        request: RequestIdentity,
        time: EventTime,
        verdicts: Vec<Verdict>,
        watermark: Option<EventTime>,
    ) -> bool {
        if verdicts.is_empty() || self.ended.knows(request) || self.deadlines.contains_key(&request)
        {
            return true;
        }
        let deadline = time.plus(UNFINISHED_AFTER);
        // What says that it ended may be forgotten by now.
        let is_over = watermark.is_some_and(|watermark| deadline <= watermark);
        if is_over || self.deadlines.len() >= UNFINISHED_MAX {
            return false;
        }
        self.insert(deadline, request, verdicts);
        self.changed.insert(request);
        true
    }

    /// A request was answered.
    pub(super) fn ended(&mut self, ended: Ended, watermark: Option<EventTime>) {
        if let Some(deadline) = self.deadlines.remove(&ended.identity) {
            self.waiting.remove(&(deadline, ended.identity));
            self.changed.insert(ended.identity);
        }
        let deadline = ended.time.plus(UNFINISHED_AFTER);
        if watermark.is_none_or(|watermark| deadline > watermark) {
            self.remember(ended.identity, ended.time);
        }
    }

    fn remember(&mut self, identity: RequestIdentity, time: EventTime) {
        // Which copy comes first does not matter.
        let _ = self.ended.see(&Detection {
            rule: RuleIndex(0),
            time,
            claimed: None,
            identity,
            stage: Stage::ResponseComplete,
            every_stage: false,
            captured: Arc::default(),
        });
    }

    fn insert(&mut self, deadline: EventTime, request: RequestIdentity, verdicts: Vec<Verdict>) {
        self.deadlines.insert(request, deadline);
        self.waiting.insert((deadline, request), verdicts);
    }

    /// When the time of the next one is over.
    pub(super) fn next_deadline(&self) -> Option<EventTime> {
        self.waiting.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// The next one whose time is over, and what rules say of it.
    pub(super) fn take_due(
        &mut self,
        watermark: EventTime,
    ) -> Option<(EventTime, Vec<(RuleIndex, Hit)>)> {
        if self.next_deadline()? > watermark {
            return None;
        }
        let ((deadline, request), verdicts) = self.waiting.pop_first()?;
        self.deadlines.remove(&request);
        self.changed.insert(request);
        // A copy of what was received must not wait again.
        self.remember(request, deadline);
        let hit = |(rule, captured)| (rule, Hit::of_event(deadline, captured));
        Some((deadline, verdicts.into_iter().map(hit).collect()))
    }

    /// Waits for no end any more.
    pub(super) fn give_up(&mut self) {
        self.waiting.clear();
        self.changed.extend(self.deadlines.drain().map(|(request, _)| request));
    }

    /// Forgets requests that ended long ago.
    pub(super) fn expire(&mut self, watermark: EventTime, slowest: EventTime) {
        self.ended.expire(watermark, slowest);
    }

    /// What waits is for the rules of another set.
    pub(super) fn replace_rules(&mut self, old: &RuleSet, new: &RuleSet) {
        for ((_, request), verdicts) in &mut self.waiting {
            let renewed = |(index, captured): &Verdict| {
                let rule = old.rules.get(index.index())?;
                let index = new.find(&rule.meta().id)?;
                Some((index, remapped(rule, new.rule(index), captured)))
            };
            *verdicts = verdicts.iter().filter_map(renewed).collect();
            self.changed.insert(*request);
        }
        self.waiting.retain(|(_, request), verdicts| {
            if verdicts.is_empty() {
                self.deadlines.remove(request);
            }
            !verdicts.is_empty()
        });
    }

    /// What changed since the last call.
    pub(super) fn take_changes(&mut self, rules: &RuleSet, out: &mut Vec<StateChange>) {
        self.ended.take_changed(|run, keys| out.push(identity_change(NO_RULE, run, keys)));
        for request in std::mem::take(&mut self.changed) {
            let deadline = self.deadlines.get(&request).copied();
            let value = deadline.and_then(|deadline| {
                let verdicts = self.waiting.get(&(deadline, request))?;
                let stored = |(index, captured): &Verdict| {
                    let rule = rules.rule(*index);
                    (rule.meta().id.clone(), captures_hash(rule.capture()), Arc::clone(captured))
                };
                let verdicts = verdicts.iter().map(stored).collect();
                Some(encode(&Stored { deadline, verdicts }))
            });
            let (table, key) = (StateTable::Unfinished, request.0.to_vec());
            out.push(StateChange { table, key, value });
        }
    }

    /// Puts requests that ended back.
    pub(super) fn restore_ended(&mut self, run: Run, keys: &[u8]) -> Option<()> {
        self.ended.restore(run, keys)
    }

    /// Puts one back that waited: whether some rule still asks for it; `None` if it cannot be read.
    pub(super) fn restore(&mut self, entry: &StateEntry, rules: &RuleSet) -> Option<bool> {
        let request = RequestIdentity(entry.key.as_slice().try_into().ok()?);
        let stored: Stored = postcard::from_bytes(&entry.value).ok()?;
        let verdict = |(id, captures, captured): (String, u64, Arc<[Captured]>)| {
            let index = rules.find(&id)?;
            (captures_hash(rules.rule(index).capture()) == captures).then_some((index, captured))
        };
        let verdicts: Vec<Verdict> = stored.verdicts.into_iter().filter_map(verdict).collect();
        if verdicts.is_empty() {
            return Some(false);
        }
        self.insert(stored.deadline, request, verdicts);
        Some(true)
    }
}
