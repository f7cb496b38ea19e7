//! `rarity`: a value that makes up next to nothing of its key's events.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    CorrelationKey, Frame, Hit, Kind, KindEntry, KindSyntax, Ready, RuleState, Sample, Taken,
    Written,
    keyed::Keyed,
    life,
    state::{Decide, Table, fresh},
    step_counts::{StepCounts, start_of, step_of},
};
use crate::engine::{
    duration::written,
    syntax::{
        key::{Key, Shape, mapping, read_keys},
        read::{Text, number_within, required_texts, timespan},
    },
    time::EventTime,
    yaml::Section,
};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "rarity",
    written: Written::Key,
    summary: "A value that makes up at most `max_share` of its key's events in `history`.",
    doc: "Fires when an event's value of the field in `of` (of several fields: their combination) makes \
          up at most `max_share` (0.01) of the events of its key within `history` (30d), this event \
          included. Nothing can be rare among few: with a share of 0.01 a key has a hundred events \
          before anything is. Numbers are kept in thirty steps of `history`, and an event is judged by \
          what is known when it comes. An event in which one of the fields is absent does not count.",
    lives: &[life::RARE],
    example: "\
title: Service account with a rare user agent
name: rare_user_agent
logsource: {product: kubernetes, service: audit}
level: medium
detection:
  account: {actor.kind: serviceaccount}
  condition: account
tripline:
  rarity: {of: [userAgent], group-by: [actor.id], history: 30d, max_share: 0.001}
",
    schema: || mapping(KEYS),
    read: Some(read),
};

const HISTORY_DEFAULT: Duration = Duration::from_secs(30 * 86_400);
const SHARE_MAX_DEFAULT: f64 = 0.01;

/// Steps that `history` is kept in.
const STEPS: u32 = 30;

/// What rule files say of it.
#[derive(Default)]
struct Draft {
    of: Vec<Text>,
    history: Option<Duration>,
    share_max: Option<f64>,
}

const KEYS: &[Key<Draft>] = &[
    Key::required("of", Shape::Fields, "The fields whose values are rare.", "", |s, key, to| {
        to.of = required_texts(s, key, "the fields whose values are rare: `of: [userAgent]`");
    }),
    Key::new("history", Shape::Timespan, "How far back events count.", |s, key, to| {
        to.history = timespan(s, key);
    }),
    Key::new("max_share", Shape::Is(share_schema), "What is still rare.", |s, key, to| {
        to.share_max = number_within(s, key, 0.0..=1.0);
        if to.share_max == Some(0.0) {
            s.invalid(key, "no share is 0", "what comes is more than nothing: `max_share: 0.001`");
        }
    }),
];

fn share_schema() -> Value {
    json!({"type": "number", "exclusiveMinimum": 0, "maximum": 1})
}

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    let mut draft = Draft::default();
    read_keys(KEYS, section, &mut draft);
    let share_max = draft.share_max.unwrap_or(SHARE_MAX_DEFAULT);
    (!draft.of.is_empty()).then(|| KindSyntax {
        fields: draft.of,
        timespan: draft.history.or(Some(HISTORY_DEFAULT)),
        ..KindSyntax::new(Box::new(Ready(Rarity { share_max })))
    })
}

#[derive(Clone, Debug)]
struct Rarity {
    share_max: f64,
}

impl Kind for Rarity {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn describe(&self, frame: &Frame) -> String {
        format!("≤ {} of all events in {}", self.share_max, written(frame.timespan))
    }

    fn compares_with_before(&self) -> bool {
        true
    }

    fn is_about_values(&self) -> bool {
        true
    }

    /// What is new or rare is so for one event; the memory of it lasts much longer.
    fn fires_for(&self, _: &Frame) -> Option<Duration> {
        None
    }

    fn state_parameters(&self, frame: &Frame) -> String {
        written(step_length(frame.timespan))
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        fresh(Shares { share_max: self.share_max, step: step_length(frame.timespan) })
    }
}

fn step_length(history: Duration) -> Duration {
    (history / STEPS).max(Duration::from_secs(1))
}

#[derive(Debug)]
struct Shares {
    share_max: f64,
    step: Duration,
}

/// Counts an event of a key; the key's events within the history that ends with `step`.
fn count(table: &mut Keyed<StepCounts>, key: CorrelationKey, step: i64, length: Duration) -> u64 {
    let mut events = 0;
    table.update(key, StepCounts::default, |history| {
        history.add(step);
        let last = history.last().unwrap_or(step);
        history.forget_before(first_kept(last));
        events = history.since(first_kept(step));
        Some(start_of(last + i64::from(STEPS), length))
    });
    events
}

/// The first of the steps that end with `last`.
fn first_kept(last: i64) -> i64 {
    last - i64::from(STEPS) + 1
}

impl Decide for Shares {
    const IS_MEMORY: bool = true;

    /// Numbers of events of all keys; and by the key and, behind it, the values.
    type Tables = (Keyed<StepCounts>, Keyed<StepCounts>);

    fn handle(
        &mut self,
        (keys, combinations): &mut Self::Tables,
        key: CorrelationKey,
        sample: Sample<'_>,
        _: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let step = step_of(sample.time, self.step);
        let combination = sample.with_values(&key);
        let of_key = count(keys, key, step, self.step);
        let of_values = count(combinations, combination, step, self.step);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let share = of_values as f64 / of_key.max(of_values) as f64;
        if share <= self.share_max {
            let values = vec![sample.values.join(" ")];
            out.push(Hit { value: share, values, ..Hit::of_event(sample.time, sample.captured) });
        }
        Taken::Counted
    }

    fn make_room(
        &mut self,
        (keys, combinations): &mut Self::Tables,
        _: EventTime,
        _: &mut Vec<Hit>,
    ) {
        let larger = if combinations.bytes() > keys.bytes() { combinations } else { keys };
        larger.evict(|history| history.standing(self.step), |_| false);
    }

    fn advance(
        &mut self,
        (keys, combinations): &mut Self::Tables,
        watermark: EventTime,
        _: &mut Vec<Hit>,
    ) {
        keys.advance(watermark, |_, _, _| None);
        combinations.advance(watermark, |_, _, _| None);
    }
}
