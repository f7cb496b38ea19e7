//! `rarity`: a value that makes up next to nothing of its key's events.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Captures, CorrelationKey, Frame, Hit, Holds, Kind, KindEntry, KindSyntax, Losses, Ready,
    RuleState, Sample, StateKey, Taken, Written,
    history::{History, start_of, step_of},
    keyed::Keyed,
    span,
};
use crate::engine::{
    syntax::read::{number_within, required_texts, timespan},
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
    schema,
    read: Some(read),
};

const HISTORY_DEFAULT: Duration = Duration::from_secs(30 * 86_400);
const SHARE_MAX_DEFAULT: f64 = 0.01;

/// Steps that `history` is kept in.
const STEPS: u32 = 30;

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["of"],
        "additionalProperties": false,
        "properties": {
            "of": {"$ref": "#/$defs/fields"},
            "group-by": {"$ref": "#/$defs/fields"},
            "history": {"$ref": "#/$defs/timespan"},
            "max_share": {"type": "number", "minimum": 0, "maximum": 1},
        },
    })
}

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    let of = required_texts(section, "of", "the fields whose values are rare: `of: [userAgent]`");
    let history = timespan(section, "history").unwrap_or(HISTORY_DEFAULT);
    let share_max = number_within(section, "max_share", 0.0..=1.0).unwrap_or(SHARE_MAX_DEFAULT);
    (!of.is_empty()).then(|| KindSyntax {
        fields: of,
        timespan: Some(history),
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
        format!("≤ {} of all events in {}", self.share_max, span(frame.timespan))
    }

    fn is_about_values(&self) -> bool {
        true
    }

    fn state_parameters(&self, frame: &Frame) -> String {
        span(step_length(frame.timespan))
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        Box::new(Shares {
            share_max: self.share_max,
            step: step_length(frame.timespan),
            keys: Keyed::default(),
            values: Keyed::default(),
        })
    }
}

fn step_length(history: Duration) -> Duration {
    (history / STEPS).max(Duration::from_secs(1))
}

/// Numbers of events of all keys, and of all values of all keys.
#[derive(Debug)]
struct Shares {
    share_max: f64,
    step: Duration,
    keys: Keyed<History>,
    /// By the key and, behind it, the values.
    values: Keyed<History>,
}

const KEYS: u8 = 0;
const VALUES: u8 = 1;

impl Shares {
    /// Counts an event of a key; the key's events within the history that ends with `step`.
    fn count(table: &mut Keyed<History>, key: CorrelationKey, step: i64, length: Duration) -> u64 {
        let mut events = 0;
        table.update(key, History::default, |history| {
            history.add(step);
            let last = history.last().unwrap_or(step);
            history.forget_before(first_kept(last));
            events = history.since(first_kept(step));
            Some(start_of(last + i64::from(STEPS), length))
        });
        events
    }
}

/// The first of the steps that end with `last`.
fn first_kept(last: i64) -> i64 {
    last - i64::from(STEPS) + 1
}

impl RuleState for Shares {
    fn handle(
        &mut self,
        key: CorrelationKey,
        sample: Sample<'_>,
        _: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let Sample { time, values, captured, .. } = sample;
        let step = step_of(time, self.step);
        let value: CorrelationKey =
            key.iter().cloned().chain(values.iter().map(|value| Arc::from(*value))).collect();
        let of_key = Shares::count(&mut self.keys, key, step, self.step);
        let of_value = Shares::count(&mut self.values, value, step, self.step);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let share = of_value as f64 / of_key.max(of_value) as f64;
        if share <= self.share_max {
            out.push(Hit {
                time,
                first: time,
                last: time,
                value: share,
                values: vec![values.join(" ")],
                captured,
                usual: None,
                holds: Holds::Once,
            });
        }
        Taken::Counted
    }

    fn advance(&mut self, watermark: EventTime, _: &mut Vec<Hit>) {
        self.keys.advance(watermark, |_, _, _| None);
        self.values.advance(watermark, |_, _, _| None);
    }

    fn key_count(&self) -> usize {
        self.values.len()
    }

    fn take_losses(&mut self) -> Losses {
        let keys_evicted = self.keys.take_evicted() + self.values.take_evicted();
        Losses { keys_evicted, ..Losses::default() }
    }

    fn take_changed(&mut self, out: &mut Vec<(StateKey, Option<Vec<u8>>)>) {
        self.keys.take_changed(KEYS, out);
        self.values.take_changed(VALUES, out);
    }

    fn dump(&self, out: &mut Vec<(StateKey, Vec<u8>)>) {
        self.keys.dump(KEYS, out);
        self.values.dump(VALUES, out);
    }

    fn restore(&mut self, key: StateKey, bytes: &[u8], _: Captures) -> Option<()> {
        match key.table {
            KEYS => self.keys.restore(key.key, bytes, |_, _| ()),
            VALUES => self.values.restore(key.key, bytes, |_, _| ()),
            _ => None,
        }
    }
}
