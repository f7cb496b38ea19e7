//! `absence`: silence of somebody who is expected.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Captures, CorrelationKey, Frame, Hit, Holds, Kind, KindEntry, KindSyntax, Losses, Parameters,
    ResolveContext, RuleState, Sample, StateKey, Taken, Written, keyed::Keyed, span,
};
use crate::engine::{
    diagnostic::{Diagnostic, Place},
    syntax::{
        code,
        read::{Text, texts, timespan},
    },
    time::EventTime,
    value::Captured,
    yaml::Section,
};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "absence",
    written: Written::Key,
    summary: "Nothing came for `timespan` from a key that is expected.",
    doc: "Fires when no event of the rule came from a key for `timespan` of event time, and goes on \
          firing until one comes; the value is the silence in seconds. `expect` names the keys: \
          `list:clusters` for those of a list, or values (several parts with `/` between them). A key \
          that is named is waited for from the moment the rule is loaded. Without `expect`, whoever was \
          ever seen is expected, and given up after 30 times `timespan`, at least a day. Event time \
          stands still while no source can be read, so an outage of Kafka is not the silence of a \
          cluster. With a silent stream event time follows the clock.",
    example: "\
title: Audit events of a cluster stopped
name: audit_silence
logsource: {product: kubernetes, service: audit}
level: high
detection:
  anything: {verb: '*'}
  condition: anything
tripline:
  absence: {group-by: [cluster], timespan: 15m}
  annotations:
    summary: 'No audit event from {{ cluster }} since {{ last_seen }}'
",
    schema,
    read: Some(read),
};

/// After how many times `timespan` a key that nobody named is given up.
const GIVEN_UP_AFTER: u32 = 30;
const GIVEN_UP_AFTER_MIN: Duration = Duration::from_secs(86_400);

fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["timespan"],
        "additionalProperties": false,
        "properties": {
            "group-by": {"$ref": "#/$defs/fields"},
            "timespan": {"$ref": "#/$defs/timespan"},
            "expect": {"$ref": "#/$defs/texts"},
        },
    })
}

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    let window = timespan(section, "timespan");
    if section.node("timespan").is_none() {
        section.missing("timespan", "how long silence is accepted: `timespan: 5m`");
    }
    let expect = match texts(section, "expect") {
        None => Expect::Seen,
        Some(mut values) => match values.as_slice() {
            [one] if one.value.starts_with("list:") => {
                let mut name = values.swap_remove(0);
                name.value = name.value.split_off("list:".len());
                Expect::List(name)
            }
            _ => Expect::Values(values),
        },
    };
    window?;
    Some(KindSyntax { timespan: window, ..KindSyntax::new(Box::new(expect)) })
}

/// Which keys are expected, as it is written.
#[derive(Debug)]
enum Expect {
    /// Whoever was ever seen.
    Seen,
    /// The entries of a list.
    List(Text),
    /// These.
    Values(Vec<Text>),
}

impl Parameters for Expect {
    fn resolve(&self, context: &ResolveContext<'_>) -> Option<Arc<dyn Kind>> {
        let (values, place): (Vec<(String, Option<EventTime>)>, Option<&Place>) = match self {
            Expect::Seen => return Some(Arc::new(Absence { expect: None })),
            Expect::Values(texts) => {
                let values = texts.iter().map(|text| (text.value.clone(), None)).collect();
                (values, texts.first().map(|text| &text.place))
            }
            Expect::List(name) => ((context.list)(name)?, Some(&name.place)),
        };
        let parts = context.key_parts;
        let key_of = |value: &str| -> CorrelationKey {
            if parts == 1 {
                return Box::from([Box::from(value)]);
            }
            value.split('/').map(Box::from).collect()
        };
        let keys: Expected = values.iter().map(|(value, until)| (key_of(value), *until)).collect();
        let title = if parts == 0 {
            "keys are expected, but the rule has no `group-by`".to_owned()
        } else if keys.keys().any(|key| key.len() != parts) {
            format!("each expected key needs {parts} parts, with `/` between them")
        } else if keys.is_empty() {
            "no key is expected".to_owned()
        } else {
            return Some(Arc::new(Absence { expect: Some(Arc::new(keys)) }));
        };
        let place = place.unwrap_or(context.place).clone();
        context.problems.push(Diagnostic::error(code::SHAPE_MISMATCH, place, title));
        None
    }
}

/// The keys that are named, with the time from which on each is not expected any more.
type Expected = BTreeMap<CorrelationKey, Option<EventTime>>;

#[derive(Clone, Debug)]
struct Absence {
    /// `None`: whoever was ever seen.
    expect: Option<Arc<Expected>>,
}

impl Absence {
    fn expects(&self, key: &CorrelationKey, time: EventTime) -> bool {
        let Some(expect) = &self.expect else { return true };
        expect.get(key).is_some_and(|until| until.is_none_or(|until| time < until))
    }
}

impl Kind for Absence {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn describe(&self, frame: &Frame) -> String {
        format!("nothing for {}", span(frame.timespan))
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        Box::new(Silences {
            kind: self.clone(),
            timespan: frame.timespan,
            keys: Keyed::default(),
            checked: false,
        })
    }
}

/// One key.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Heard {
    /// When an event last came, or since when one is waited for.
    last: EventTime,
    /// Its silence was told.
    told: bool,
    captured: Box<[Captured]>,
}

#[derive(Debug)]
struct Silences {
    kind: Absence,
    timespan: Duration,
    keys: Keyed<Heard>,
    /// Whether the keys held are those that are expected.
    checked: bool,
}

impl Silences {
    /// Begins to wait for keys that are named, and stops waiting for those that are not any more.
    fn check(&mut self, watermark: EventTime, out: &mut Vec<Hit>) {
        let Some(expect) = self.kind.expect.clone() else { return };
        let dropped: Vec<CorrelationKey> =
            self.keys.keys().filter(|key| !self.kind.expects(key, watermark)).cloned().collect();
        for key in dropped {
            if let Some(heard) = self.keys.remove(&key).filter(|heard| heard.told) {
                out.push(ended(&heard, watermark));
            }
        }
        for key in expect.keys() {
            if self.keys.get(key).is_some() || !self.kind.expects(key, watermark) {
                continue;
            }
            let captured = key.iter().map(|part| Captured::One(part.clone())).collect();
            let heard = Heard { last: watermark, told: false, captured };
            let due = watermark.plus(self.timespan);
            self.keys.update(key.clone(), || heard, |_| Some(due));
        }
    }

    fn gives_up(&self, silence: Duration) -> bool {
        let most = (self.timespan * GIVEN_UP_AFTER).max(GIVEN_UP_AFTER_MIN);
        self.kind.expect.is_none() && silence >= most
    }
}

/// It is silent no more, or nobody minds.
fn ended(heard: &Heard, time: EventTime) -> Hit {
    Hit { holds: Holds::Ended, ..silent(heard, time) }
}

fn silent(heard: &Heard, time: EventTime) -> Hit {
    Hit {
        time,
        first: heard.last,
        last: heard.last,
        value: time.since(heard.last).as_secs_f64(),
        values: Vec::new(),
        usual: None,
        captured: heard.captured.clone(),
        holds: Holds::Until(EventTime::MAX),
    }
}

impl RuleState for Silences {
    fn handle(
        &mut self,
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let Sample { time, captured, .. } = sample;
        if !self.kind.expects(&key, time) {
            return Taken::NotExpected;
        }
        let timespan = self.timespan;
        let before = self.keys.deadline(&key);
        let fresh = || Heard { last: time, told: false, captured: captured.clone() };
        self.keys.update(key, fresh, |heard| {
            if time >= heard.last {
                heard.last = time;
                heard.captured.clone_from(&captured);
            }
            let due = heard.last.plus(timespan);
            let is_silent = watermark.is_some_and(|watermark| due <= watermark);
            if heard.told && is_silent {
                // It came late, and what came was not enough to end the silence.
                return before;
            }
            if std::mem::take(&mut heard.told) {
                out.push(ended(heard, heard.last));
            }
            Some(due)
        });
        Taken::Counted
    }

    fn advance(&mut self, watermark: EventTime, out: &mut Vec<Hit>) {
        if watermark == EventTime::MAX {
            // The stream has ended: nobody is silent, there is nothing more to hear.
            return;
        }
        if !std::mem::replace(&mut self.checked, true) {
            self.check(watermark, out);
        }
        let mut keys = std::mem::take(&mut self.keys);
        keys.advance(watermark, |key, heard, due| {
            let silence = due.since(heard.last);
            if self.gives_up(silence) || !self.kind.expects(key, due) {
                out.push(ended(heard, due));
                return None;
            }
            heard.told = true;
            out.push(silent(heard, due));
            // Told again whenever the silence has doubled.
            Some(due.plus(silence)).filter(|next| *next > due)
        });
        self.keys = keys;
    }

    fn waits(&self) -> bool {
        !self.keys.is_empty()
    }

    fn key_count(&self) -> usize {
        self.keys.len()
    }

    fn take_losses(&mut self) -> Losses {
        Losses { keys_evicted: self.keys.take_evicted(), ..Losses::default() }
    }

    fn take_changed(&mut self, out: &mut Vec<(StateKey, Option<Vec<u8>>)>) {
        self.keys.take_changed(0, out);
    }

    fn dump(&self, out: &mut Vec<(StateKey, Vec<u8>)>) {
        self.keys.dump(0, out);
    }

    fn restore(&mut self, key: StateKey, bytes: &[u8], captures: Captures) -> Option<()> {
        if key.table != 0 {
            return None;
        }
        self.keys.restore(key.key, bytes, |state, key| captures.of_key(&mut state.captured, key))
    }
}
