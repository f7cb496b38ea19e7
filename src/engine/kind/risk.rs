//! `risk`: findings of many rules about one entity, added up and slowly forgotten.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Captures, CorrelationKey, Frame, Hit, Holds, Kind, KindEntry, Losses, RuleState, Sample,
    StateKey, Taken, Written, keyed::Keyed, span,
};
use crate::engine::{time::EventTime, value::Captured};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "risk",
    written: Written::Contribution,
    summary: "Findings of many rules about one entity, added up and slowly forgotten.",
    doc: "Every finding of a rule with `risk: {entity: actor.id, score: 20}` adds its score to that \
          actor, whether the rule makes an alert of its own or not. The sum is halved every `half_life` \
          (24h). When it reaches `line` (100), the entity has an alert of its own, which names the \
          rules that contributed and ends when the sum has sunk below the line. `risk.yaml` beside the \
          rules may say another `line`, `half_life`, `level`, `levels`, `suppress`, `labels`, \
          `annotations`, `runbook` and `owner`. Rules with different entities are added up apart.",
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
    schema,
    read: None,
};

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["entity", "score"],
        "additionalProperties": false,
        "properties": {
            "entity": {"$ref": "#/$defs/field"},
            "score": {"type": "number", "exclusiveMinimum": 0},
        },
    })
}

/// The sum of the scores of one entity, against a line.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Risk {
    /// From which sum on the entity has an alert.
    pub(in crate::engine) line: f64,
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
        format!("risk ≥ {}, halved every {}", self.line, span(self.half_life))
    }

    fn state_parameters(&self, _: &Frame) -> String {
        span(self.half_life)
    }

    fn fresh(&self, _: Frame) -> Box<dyn RuleState> {
        Box::new(Sums { kind: self.clone(), entities: Keyed::default() })
    }
}

/// What an entity has come to.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sum {
    /// At this time …
    at: EventTime,
    /// … so much was left of the scores, by the names of their rules.
    parts: Vec<(Box<str>, f64)>,
    /// The first event that counted.
    first: EventTime,
    captured: Arc<[Captured]>,
}

impl Sum {
    fn total(&self) -> f64 {
        self.parts.iter().map(|(_, part)| part).sum()
    }
}

#[derive(Debug)]
struct Sums {
    kind: Risk,
    entities: Keyed<Sum>,
}

/// Below this share of the line a sum is forgotten.
const FORGOTTEN_BELOW: f64 = 0.01;

impl Risk {
    /// What is left of 1 after a time.
    fn left(&self, after: Duration) -> f64 {
        (-after.as_secs_f64() / self.half_life.as_secs_f64()).exp2()
    }

    /// When a sum has sunk to a level.
    fn sinks_to(&self, sum: &Sum, level: f64) -> EventTime {
        let halvings = (sum.total() / level).log2().max(0.0);
        let after = Duration::try_from_secs_f64(halvings * self.half_life.as_secs_f64());
        sum.at.plus(after.unwrap_or(Duration::MAX))
    }

    fn add(&self, sum: &mut Sum, time: EventTime, name: &str, score: f64) {
        let left = self.left(time.since(sum.at));
        for (_, part) in &mut sum.parts {
            *part *= left;
        }
        // One that comes late has been sinking since its own time.
        let score = score * self.left(sum.at.since(time));
        sum.at = sum.at.max(time);
        sum.first = sum.first.min(time);
        match sum.parts.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, part)) => *part += score,
            None => sum.parts.push((name.into(), score)),
        }
        let least = self.line * FORGOTTEN_BELOW * FORGOTTEN_BELOW;
        sum.parts.retain(|(_, part)| *part > least);
    }

    fn hit(&self, sum: &Sum) -> Hit {
        let mut parts: Vec<&(Box<str>, f64)> = sum.parts.iter().collect();
        parts.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Hit {
            time: sum.at,
            first: sum.first,
            last: sum.at,
            value: (sum.total() * 10.0).round() / 10.0,
            values: parts.into_iter().map(|(name, part)| format!("{name} ({part:.0})")).collect(),
            usual: None,
            captured: Arc::clone(&sum.captured),
            holds: Holds::Until(self.sinks_to(sum, self.line)),
        }
    }
}

impl RuleState for Sums {
    fn handle(
        &mut self,
        key: CorrelationKey,
        sample: Sample<'_>,
        _: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let kind = &self.kind;
        let Some((name, score)) = kind.scores.get(usize::from(sample.input)) else {
            return Taken::NotExpected;
        };
        let time = sample.time;
        let fresh = || Sum { at: time, parts: Vec::new(), first: time, captured: [].into() };
        self.entities.update(key, fresh, |sum| {
            kind.add(sum, time, name, *score);
            sum.captured = sample.captured;
            if sum.total() >= kind.line {
                out.push(kind.hit(sum));
            }
            Some(kind.sinks_to(sum, kind.line * FORGOTTEN_BELOW))
        });
        Taken::Counted
    }

    fn advance(&mut self, watermark: EventTime, _: &mut Vec<Hit>) {
        self.entities.advance(watermark, |_, _, _| None);
    }

    fn key_count(&self) -> usize {
        self.entities.len()
    }

    fn take_losses(&mut self) -> Losses {
        Losses { keys_evicted: self.entities.take_evicted(), ..Losses::default() }
    }

    fn take_changed(&mut self, out: &mut Vec<(StateKey, Option<Vec<u8>>)>) {
        self.entities.take_changed(0, out);
    }

    fn dump(&self, out: &mut Vec<(StateKey, Vec<u8>)>) {
        self.entities.dump(0, out);
    }

    fn restore(&mut self, key: StateKey, bytes: &[u8], captures: Captures) -> Option<()> {
        if key.table != 0 {
            return None;
        }
        self.entities
            .restore(key.key, bytes, |state, key| captures.of_key(&mut state.captured, key))
    }
}
