//! `first_seen`: a combination of values that is new.

use std::time::Duration;

use super::{
    CorrelationKey, Frame, Hit, Kind, KindEntry, KindSyntax, Ready, RuleState, Sample, Taken,
    Written,
    keyed::Keyed,
    life,
    state::{Decide, Table, fresh},
    step_counts::SeenSpan,
};
use crate::engine::{
    duration::written,
    syntax::{
        key::{Key, Shape, mapping, read_keys},
        read::{Text, required_texts, timespan, timespan_or_none},
    },
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
          A rule learns once, however long nothing comes afterwards; a key of `group-by` that was quiet \
          for `history` is forgotten, and learns anew. \
          The memory is part of the checkpoint. An event in which one of the fields is absent does not \
          count.",
    lives: &[life::NEW],
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
    schema: || mapping(KEYS),
    read: Some(read),
};

const HISTORY_DEFAULT: Duration = Duration::from_secs(30 * 86_400);
const LEARN_DEFAULT: Duration = Duration::from_secs(7 * 86_400);

/// What rule files say of it.
#[derive(Default)]
struct Draft {
    of: Vec<Text>,
    history: Option<Duration>,
    learn: Option<Duration>,
}

const KEYS: &[Key<Draft>] = &[
    Key::required("of", Shape::Fields, "The fields whose combination is new.", "", |s, key, to| {
        to.of = required_texts(s, key, "the fields whose combination is new: `of: [userAgent]`");
    }),
    Key::new("history", Shape::Timespan, "How long it is remembered.", |s, key, to| {
        to.history = timespan(s, key);
    }),
    Key::new("learn", Shape::Timespan, "How long everything is learnt at first.", |s, key, to| {
        to.learn = timespan_or_none(s, key);
        if to.learn > Some(to.history.unwrap_or(HISTORY_DEFAULT)) {
            s.invalid(key, "learning takes longer than the memory lasts", "shorten `learn`");
        }
    }),
];

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    let mut draft = Draft::default();
    read_keys(KEYS, section, &mut draft);
    let history = draft.history.unwrap_or(HISTORY_DEFAULT);
    let learn = draft.learn.unwrap_or(LEARN_DEFAULT.min(history));
    (!draft.of.is_empty()).then(|| KindSyntax {
        fields: draft.of,
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
        format!("not seen for {}", written(frame.timespan))
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

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        fresh(Memory { learn: self.learn, history: frame.timespan })
    }
}

#[derive(Debug)]
struct Memory {
    learn: Duration,
    history: Duration,
}

impl Decide for Memory {
    const IS_MEMORY: bool = true;

    /// All keys; and by the key and, behind it, the values.
    type Tables = (Keyed<SeenSpan>, Keyed<SeenSpan>);

    fn handle(
        &mut self,
        (keys, combinations): &mut Self::Tables,
        key: CorrelationKey,
        sample: Sample<'_>,
        _: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let time = sample.time;
        let combination = sample.with_values(&key);
        let mut began = time;
        let history = self.history;
        // Without `group-by` the one key is the rule. It is not forgotten: else the first event after a quiet time as
        // long as `history` would be learnt, and all that follow it.
        let memory = if key.is_empty() { Duration::MAX } else { history };
        keys.update(
            key,
            || SeenSpan::at(time),
            |known| {
                known.add(time, memory);
                began = known.first;
                Some(known.last.plus(memory))
            },
        );
        let mut is_new = false;
        combinations.update(
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
            let values = vec![sample.values.join(" ")];
            out.push(Hit { values, ..Hit::of_event(time, sample.captured) });
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
        larger.evict(|known| known.standing(), |_| false);
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
