//! `absence`: silence of somebody who is expected.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Captures, CorrelationKey, Frame, Hit, Holds, Kind, KindEntry, KindSyntax, Losses, Parameters,
    ResolveContext, RuleState, Sample, StateKey, Taken, Written, history::SeenSpan, keyed::Keyed,
    span,
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

/// The least that event times differ by.
const TICK: Duration = Duration::from_micros(1);

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
                return Box::from([Arc::from(value)]);
            }
            value.split('/').map(Arc::from).collect()
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

    /// From when on a key is not expected any more; `None` if that is not said.
    fn expected_until(&self, key: &CorrelationKey) -> Option<EventTime> {
        *self.expect.as_ref()?.get(key)?
    }
}

impl Kind for Absence {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn describe(&self, frame: &Frame) -> String {
        format!("nothing for {}", span(frame.timespan))
    }

    /// Whoever is heard twice is heard.
    fn minds_copies(&self) -> bool {
        false
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
    /// When events came, as far as the watermark has not passed it: stretches without a silence in
    /// them, ascending. At least one, and nearly always just one.
    spans: VecDeque<SeenSpan>,
    /// How long the silence after the first of them was when it was last told.
    told: Option<Duration>,
    captured: Arc<[Captured]>,
}

impl Heard {
    /// Heard of once.
    fn at(time: EventTime, captured: Arc<[Captured]>) -> Heard {
        Heard { spans: VecDeque::from([SeenSpan::at(time)]), told: None, captured }
    }

    /// When an event last came before the silence that is looked at.
    fn last(&self) -> EventTime {
        self.spans.front().map_or(EventTime::MIN, |span| span.last)
    }

    /// When it must be looked at next: when it falls silent; while it is silent, when it is heard again,
    /// or when the silence has doubled; and when it is not expected any more.
    fn next_look(&self, timespan: Duration, expected_until: Option<EventTime>) -> EventTime {
        let silence = self.told.map_or(timespan, |told| told.saturating_mul(2));
        let mut next = self.last().plus(silence);
        if self.told.is_some() {
            next = self.spans.get(1).map_or(next, |span| span.first.min(next));
        }
        // What comes exactly then is not late: the watermark must have passed it.
        expected_until.map_or(next, |until| until.min(next)).plus(TICK)
    }

    /// An event came; stretches that it joins become one.
    fn add(&mut self, time: EventTime, timespan: Duration) {
        let at = self.spans.partition_point(|span| span.first <= time);
        self.spans.insert(at, SeenSpan::at(time));
        // What was told stays: an event after it ends the silence.
        let mut at = at.saturating_sub(1).max(usize::from(self.told.is_some()));
        while let (Some(span), Some(next)) = (self.spans.get(at), self.spans.get(at + 1)) {
            if next.first > span.last.plus(timespan) {
                at += 1;
                if next.first > time {
                    break;
                }
                continue;
            }
            let (first, last) = (span.first, span.last.max(next.last));
            self.spans.remove(at + 1);
            if let Some(span) = self.spans.get_mut(at) {
                *span = SeenSpan { first, last };
            }
        }
    }
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
            let heard = self.keys.remove(&key).filter(|heard| heard.told.is_some());
            out.extend(heard.map(|heard| ended(&heard, watermark)));
        }
        for key in expect.keys() {
            if self.keys.get(key).is_some() || !self.kind.expects(key, watermark) {
                continue;
            }
            let captured = key.iter().map(|part| Captured::One(Arc::clone(part))).collect();
            let heard = Heard::at(watermark, captured);
            let due = heard.next_look(self.timespan, self.kind.expected_until(key));
            self.keys.update(key.clone(), || heard, |_| Some(due));
        }
    }

    fn expects(&self, key: &CorrelationKey, time: EventTime) -> bool {
        self.kind.expects(key, time)
    }

    /// Looks at a key at a time that the watermark has passed. When to look next; `None` to forget it.
    fn look(
        &self,
        key: &CorrelationKey,
        heard: &mut Heard,
        time: EventTime,
        out: &mut Vec<Hit>,
    ) -> Option<EventTime> {
        let silence = time.since(heard.last());
        if !self.expects(key, time) || heard.told.is_some() && self.gives_up(silence) {
            out.extend(heard.told.map(|_| ended(heard, time)));
            return None;
        }
        let next = heard.spans.get(1).map(|span| span.first).filter(|first| *first <= time);
        if let Some(first) = next {
            out.push(ended(heard, first));
            heard.told = None;
            heard.spans.pop_front();
        } else if silence >= self.timespan {
            heard.told = Some(silence);
            out.push(silent(heard, time));
        }
        let next = heard.next_look(self.timespan, self.kind.expected_until(key));
        (next > time.plus(TICK)).then_some(next)
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
    let last = heard.last();
    Hit {
        time,
        first: last,
        last,
        value: time.since(last).as_secs_f64(),
        values: Vec::new(),
        usual: None,
        captured: Arc::clone(&heard.captured),
        holds: Holds::Until(EventTime::MAX),
    }
}

impl RuleState for Silences {
    fn handle(
        &mut self,
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        _: &mut Vec<Hit>,
    ) -> Taken {
        let Sample { time, captured, .. } = sample;
        if !self.expects(&key, time) {
            return Taken::NotExpected;
        }
        let is_late = watermark.is_some_and(|watermark| time < watermark);
        let is_decided = |heard: &Heard| {
            let first = heard.spans.front().map_or(time, |span| span.first);
            is_late && (time < first || heard.told.is_some() && time <= heard.last())
        };
        if self.keys.get(&key).is_some_and(is_decided) {
            return Taken::TooLate;
        }
        let (timespan, until) = (self.timespan, self.kind.expected_until(&key));
        let fresh = || Heard::at(time, Arc::clone(&captured));
        self.keys.update(key, fresh, |heard| {
            heard.add(time, timespan);
            heard.captured = Arc::clone(&captured);
            Some(heard.next_look(timespan, until))
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
        keys.advance(watermark, |key, heard, due| self.look(key, heard, due.minus(TICK), out));
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
