//! `first_seen`: a combination of values that is new.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    Captures, CorrelationKey, Frame, Hit, Holds, Kind, KindEntry, KindSyntax, Losses, Ready,
    RuleState, Sample, StateKey, Taken, Written, history::SeenSpan, keyed::Keyed, span,
};
use crate::engine::{
    syntax::read::{required_texts, timespan, timespan_or_none},
    time::EventTime,
    yaml::Section,
};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "first_seen",
    written: Written::Key,
    summary: "A combination of values that was not seen for `history`, after `learn`.",
    doc: "Fires when the values of the fields in `of` come together for the first time, or for the first \
          time in `history` (30d unless said otherwise). With `group-by`, each key has a memory of its \
          own: `of: [userAgent], group-by: [actor.id]` is a user agent that is new for this actor. \
          Nothing is reported for `learn` (7d) after the rule, or the key if there is `group-by`, first \
          saw anything: what is seen meanwhile is learnt; with `learn: 0s` even the first is reported. \
          The memory is part of the checkpoint. An event in which one of the fields is absent does not \
          count.",
    example: "\
title: First exec of a user in a namespace
name: first_exec_in_namespace
logsource: {product: kubernetes, service: audit}
level: medium
detection:
  exec: {objectRef.resource: pods, objectRef.subresource: exec, outcome: success}
  condition: exec
tripline:
  first_seen: {of: [user.username, objectRef.namespace], history: 30d, learn: 7d}
",
    schema,
    read: Some(read),
};

const HISTORY_DEFAULT: Duration = Duration::from_secs(30 * 86_400);
const LEARN_DEFAULT: Duration = Duration::from_secs(7 * 86_400);

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["of"],
        "additionalProperties": false,
        "properties": {
            "of": {"$ref": "#/$defs/fields"},
            "group-by": {"$ref": "#/$defs/fields"},
            "history": {"$ref": "#/$defs/timespan"},
            "learn": {"$ref": "#/$defs/timespan"},
        },
    })
}

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    let of =
        required_texts(section, "of", "the fields whose combination is new: `of: [userAgent]`");
    let history = timespan(section, "history").unwrap_or(HISTORY_DEFAULT);
    let learn = timespan_or_none(section, "learn").unwrap_or(LEARN_DEFAULT.min(history));
    if learn > history {
        section.invalid("learn", "learning takes longer than the memory lasts", "shorten `learn`");
    }
    (!of.is_empty()).then(|| KindSyntax {
        fields: of,
        timespan: Some(history),
        ..KindSyntax::new(Box::new(Ready(FirstSeen { learn })))
    })
}

#[derive(Clone, Debug)]
struct FirstSeen {
    learn: Duration,
}

impl Kind for FirstSeen {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn describe(&self, frame: &Frame) -> String {
        format!("not seen for {}", span(frame.timespan))
    }

    fn is_about_values(&self) -> bool {
        true
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        Box::new(Memory {
            learn: self.learn,
            history: frame.timespan,
            keys: Keyed::default(),
            combinations: Keyed::default(),
        })
    }
}

/// All keys, and all combinations of all keys.
#[derive(Debug)]
struct Memory {
    learn: Duration,
    history: Duration,
    keys: Keyed<SeenSpan>,
    /// By the key and, behind it, the values.
    combinations: Keyed<SeenSpan>,
}

const KEYS: u8 = 0;
const COMBINATIONS: u8 = 1;

impl RuleState for Memory {
    fn handle(
        &mut self,
        key: CorrelationKey,
        sample: Sample<'_>,
        _: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let Sample { time, values, captured, .. } = sample;
        let combination: CorrelationKey =
            key.iter().cloned().chain(values.iter().map(|value| Arc::from(*value))).collect();
        let mut began = time;
        let history = self.history;
        self.keys.update(
            key,
            || SeenSpan::at(time),
            |known| {
                known.add(time, history);
                began = known.first;
                Some(known.last.plus(history))
            },
        );
        let mut is_new = false;
        self.combinations.update(
            combination,
            // Longer ago than any memory lasts.
            || SeenSpan::at(EventTime::MIN),
            |known| {
                // An event before the last one was not the first: that one was new, or was learnt.
                is_new = time >= known.last && known.last.plus(history) <= time;
                known.add(time, history);
                Some(known.last.plus(history))
            },
        );
        if is_new && time.since(began) >= self.learn {
            out.push(Hit {
                time,
                first: time,
                last: time,
                value: 1.0,
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
        self.combinations.advance(watermark, |_, _, _| None);
    }

    fn key_count(&self) -> usize {
        self.combinations.len()
    }

    fn take_losses(&mut self) -> Losses {
        let keys_evicted = self.keys.take_evicted() + self.combinations.take_evicted();
        Losses { keys_evicted, ..Losses::default() }
    }

    fn take_changed(&mut self, out: &mut Vec<(StateKey, Option<Vec<u8>>)>) {
        self.keys.take_changed(KEYS, out);
        self.combinations.take_changed(COMBINATIONS, out);
    }

    fn dump(&self, out: &mut Vec<(StateKey, Vec<u8>)>) {
        self.keys.dump(KEYS, out);
        self.combinations.dump(COMBINATIONS, out);
    }

    fn restore(&mut self, key: StateKey, bytes: &[u8], _: Captures) -> Option<()> {
        match key.table {
            KEYS => self.keys.restore(key.key, bytes, |_, _| ()),
            COMBINATIONS => self.combinations.restore(key.key, bytes, |_, _| ()),
            _ => None,
        }
    }
}
