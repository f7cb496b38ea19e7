//! `risk`: findings of many rules about one entity, added up and slowly forgotten.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    CorrelationKey, Frame, Hit, Holds, Kind, KindEntry, RuleState, Sample, Taken, Written,
    keyed::{KeyState, Keyed, Standing, captured_of},
    life, memory,
    state::{Decide, fresh},
};
use crate::engine::{
    duration::written,
    syntax::{
        key::{Key, Shape, mapping, read_all},
        read::{Text, text},
    },
    time::EventTime,
    value::Captured,
    yaml::Section,
};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "risk",
    written: Written::Contribution,
    summary: "Findings of many rules about one entity, added up and slowly forgotten.",
    doc: "Every finding of a rule with `risk: {entity: actor.id, score: 20}` adds its score to that \
          actor, whether the rule makes an alert of its own or not. The sum is halved every `half_life` \
          (24h). When it reaches `line` (100), the entity has an alert of its own, which names the \
          rules that contributed and ends when the sum has sunk below the threshold. `risk.yaml` beside the \
          rules may say another `line`, `half_life`, `level`, `levels`, `suppress`, `labels`, \
          `annotations`, `runbook` and `owner`. Rules with different entities are added up apart.",
    lives: &[life::RISK],
    example: "\
title: Secret listed by a person
name: secret_listed_by_person
logsource: {product: kubernetes, service: audit}
level: low
detection:
  listed: {objectRef.resource: secrets, verb: list, actor.human: true}
  condition: listed
tripline:
  risk: {entity: actor.id, score: 20}
",
    schema: || mapping(KEYS),
    read: None,
};

/// What a rule says of its share: whose risk grows, and by how much.
pub(super) const KEYS: &[Key<(Option<Text>, Option<f64>)>] = &[
    Key::required(
        "entity",
        Shape::Field,
        "Whose risk grows.",
        "whose risk grows: `entity: actor.id`",
        |s, key, to| to.0 = text(s, key),
    ),
    Key::required(
        "score",
        Shape::Is(score_schema),
        "By how much.",
        "by how much: `score: 20`",
        |s, key, to| {
            to.1 = s.number(key);
            if to.1.is_some_and(|score| !(score > 0.0 && score <= 1e6)) {
                s.invalid(key, "a score lies above 0 and up to 1000000", "such as `score: 20`");
            }
        },
    ),
];

fn score_schema() -> Value {
    json!({"type": "number", "exclusiveMinimum": 0})
}

/// Reads `risk:` under `tripline:` of a rule. `None` if it is not there, or unusable; that is reported.
pub(in crate::engine) fn read_risk(section: &Section<'_>) -> Option<(Text, f64)> {
    let (entity, score) = read_all(KEYS, section.section(ENTRY.name)?);
    Some((entity?, score?))
}

/// The sum of the scores of one entity, against a threshold.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Risk {
    /// From which sum on the entity has an alert.
    pub(in crate::engine) threshold: f64,
    /// How long it takes until half of a score is forgotten.
    pub(in crate::engine) half_life: Duration,
    /// By input: the name of the rule, and its score.
    pub(in crate::engine) scores: Vec<(String, f64)>,
}

impl Kind for Risk {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn describe(&self, _: &Frame) -> String {
        format!("risk ≥ {}, halved every {}", self.threshold, written(self.half_life))
    }

    fn state_parameters(&self, _: &Frame) -> String {
        written(self.half_life)
    }

    fn fresh(&self, _: Frame) -> Box<dyn RuleState> {
        fresh(self.clone())
    }
}

/// Scores of one entity that are told apart by time: 1,000. With more the oldest are added up, though an
/// earlier one may still come.
const RECENT_MAX: usize = 1_000;

/// What an entity has come to. Scores that an earlier one may still come before are kept apart: the sum
/// may have passed the threshold between two of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sum {
    compacted: Parts,
    /// By time, none before that of the compacted ones.
    recent: VecDeque<Contribution>,
    /// The first event that counted.
    first: EventTime,
    captured: Arc<[Captured]>,
}

/// What was left of scores at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Parts {
    at: EventTime,
    /// By the names of their rules.
    parts: Vec<(Box<str>, f64)>,
}

/// What one finding adds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Contribution {
    time: EventTime,
    /// Name of the rule.
    name: Box<str>,
    score: f64,
    /// What all scores until then had come to.
    total: f64,
}

impl Parts {
    fn total(&self) -> f64 {
        self.parts.iter().map(|(_, part)| part).sum()
    }
}

impl Sum {
    fn new(time: EventTime) -> Sum {
        Sum {
            compacted: Parts { at: time, parts: Vec::new() },
            recent: VecDeque::new(),
            first: time,
            captured: [].into(),
        }
    }

    /// What it came to last, and when.
    fn last(&self) -> (EventTime, f64) {
        let compacted = || (self.compacted.at, self.compacted.total());
        self.recent.back().map_or_else(compacted, |score| (score.time, score.total))
    }
}

/// What a score takes with the name of its rule.
const SCORE_BYTES: usize = size_of::<Contribution>() + 32;

impl KeyState for Sum {
    fn outdate(&mut self, key: &CorrelationKey) {
        self.captured = captured_of(key);
    }

    fn bytes(&mut self) -> usize {
        let scores = self.recent.len() + self.compacted.parts.len();
        memory::list(scores, SCORE_BYTES) + memory::captured(&self.captured)
    }

    /// It shows what its last event captured.
    fn pack(&self, _: &mut Vec<u8>) -> bool {
        false
    }

    fn unpack(_: &[u8]) -> Option<Sum> {
        None
    }
}

/// Below this share of the threshold a sum is forgotten.
const FORGOTTEN_BELOW: f64 = 0.01;

impl Risk {
    /// What is left of 1 after a time.
    fn left(&self, after: Duration) -> f64 {
        libm::exp2(-after.as_secs_f64() / self.half_life.as_secs_f64())
    }

    /// When a sum that came to `total` at a time has sunk to a level.
    fn sinks_to(&self, (at, total): (EventTime, f64), level: f64) -> EventTime {
        let halvings = libm::log2(total / level).max(0.0);
        let after = Duration::try_from_secs_f64(halvings * self.half_life.as_secs_f64());
        at.plus(after.unwrap_or(Duration::MAX))
    }

    /// Adds a score. Found is when the sum was greatest from its own time on, and when it last reached the
    /// threshold: what the scores would have come to if they had come in order.
    fn add(&self, sum: &mut Sum, score: Contribution, out: &mut Vec<Hit>) {
        sum.first = sum.first.min(score.time);
        if sum.compacted.parts.is_empty() {
            sum.compacted.at = sum.compacted.at.min(score.time);
        }
        let time = score.time;
        let from = if score.time < sum.compacted.at {
            self.compact(&mut sum.compacted, &score);
            0
        } else {
            let at = sum.recent.partition_point(|known| known.time <= score.time);
            sum.recent.insert(at, score);
            at
        };
        let mut before = match from.checked_sub(1).and_then(|before| sum.recent.get(before)) {
            Some(score) => (score.time, score.total),
            None => (sum.compacted.at, sum.compacted.total()),
        };
        if sum.recent.is_empty() && before.1 >= self.threshold {
            out.push(self.hit(sum, &sum.compacted, time));
        }
        let (mut greatest, mut reached) = (None, None);
        for (at, one) in sum.recent.iter_mut().enumerate().skip(from) {
            one.total = before.1 * self.left(one.time.since(before.0)) + one.score;
            before = (one.time, one.total);
            if one.total >= self.threshold {
                reached = Some(at);
                greatest = greatest.filter(|(_, most)| *most > one.total).or(Some((at, one.total)));
            }
        }
        let greatest = greatest.map(|(at, _)| at).filter(|at| Some(*at) != reached);
        for at in greatest.into_iter().chain(reached) {
            let mut parts = sum.compacted.clone();
            sum.recent.iter().take(at + 1).for_each(|one| self.compact(&mut parts, one));
            out.push(self.hit(sum, &parts, time));
        }
    }

    /// Adds up the scores that no other can come before any more.
    fn compact_before(&self, sum: &mut Sum, watermark: Option<EventTime>) {
        let is_final =
            |score: &Contribution| watermark.is_some_and(|watermark| score.time < watermark);
        while (sum.recent.len() > RECENT_MAX || sum.recent.front().is_some_and(is_final))
            && let Some(score) = sum.recent.pop_front()
        {
            self.compact(&mut sum.compacted, &score);
        }
    }

    fn compact(&self, compacted: &mut Parts, score: &Contribution) {
        let left = self.left(score.time.since(compacted.at));
        for (_, part) in &mut compacted.parts {
            *part *= left;
        }
        // One that comes late has been sinking since its own time.
        let part = score.score * self.left(compacted.at.since(score.time));
        compacted.at = compacted.at.max(score.time);
        match compacted.parts.iter_mut().find(|(known, _)| *known == score.name) {
            Some((_, known)) => *known += part,
            None => compacted.parts.push((score.name.clone(), part)),
        }
        let least = self.threshold * FORGOTTEN_BELOW * FORGOTTEN_BELOW;
        compacted.parts.retain(|(_, part)| *part > least);
    }

    /// `captured_at`: the time of the event that came last.
    fn hit(&self, sum: &Sum, reached: &Parts, captured_at: EventTime) -> Hit {
        let mut parts: Vec<&(Box<str>, f64)> = reached.parts.iter().collect();
        parts.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let total = reached.total();
        Hit {
            time: reached.at,
            claimed: None,
            first: sum.first,
            last: reached.at,
            value: (total * 10.0).round() / 10.0,
            values: parts.into_iter().map(|(name, part)| format!("{name} ({part:.0})")).collect(),
            usual: None,
            captured: Arc::clone(&sum.captured),
            captured_at,
            steps: Vec::new(),
            holds: Holds::Until(self.sinks_to((reached.at, total), self.threshold)),
        }
    }
}

impl Decide for Risk {
    type Tables = Keyed<Sum>;

    fn handle(
        &mut self,
        entities: &mut Keyed<Sum>,
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let Some((name, score)) = self.scores.get(usize::from(sample.input)) else {
            return Taken::NotExpected;
        };
        let (time, name, score) = (sample.time, Box::from(name.as_str()), *score);
        let score = Contribution { time, name, score, total: score };
        entities.update(
            key,
            || Sum::new(time),
            |sum| {
                self.compact_before(sum, watermark);
                sum.captured = sample.captured;
                self.add(sum, score, out);
                Some(self.sinks_to(sum.last(), self.threshold * FORGOTTEN_BELOW))
            },
        );
        Taken::Counted
    }

    fn make_room(&mut self, entities: &mut Keyed<Sum>, _: EventTime, _: &mut Vec<Hit>) {
        // What is left of a sum longest has come furthest: that is by what keys are kept that are alike.
        entities.evict(|sum| Standing { progress: 0.0, since: sum.first }, |_| false);
    }

    fn advance(&mut self, entities: &mut Keyed<Sum>, watermark: EventTime, _: &mut Vec<Hit>) {
        entities.advance(watermark, |_, _, _| None);
    }
}
