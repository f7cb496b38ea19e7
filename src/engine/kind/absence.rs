//! `absence`: silence of somebody who is expected.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    CorrelationKey, Frame, Hit, Holds, Kind, KindEntry, KindSyntax, Parameters, ResolveContext,
    RuleState, Sample, Taken, Written,
    calendar::{Calendar, counted, counted_at},
    keyed::{KeyState, Keyed, Standing, captured_of},
    life, memory,
    state::{Decide, Table, fresh},
    step_counts::SeenSpan,
};
use crate::engine::{
    diagnostic::{Diagnostic, Place},
    duration::written,
    encode::encode_into,
    syntax::{
        code,
        key::{Key, Shape, mapping, read_keys},
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
          that is named is waited for from the moment the rule is loaded, or from the first event if that \
          comes later. Without `expect`, whoever was \
          ever seen is expected, and given up after 30 times `timespan`, at least a day. With `inside` \
          or `outside` only silence at these times counts, and events count at any time: a backup that \
          may rest at night is not missed at night. Event time stands still while no source can be \
          read, so an outage of Kafka is not the silence of a cluster. With a silent stream event time \
          follows the clock.",
    lives: &[life::ABSENCE],
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
    schema: || mapping(KEYS),
    read: Some(read),
};

/// After how many times `timespan` a key that nobody named is given up.
const GIVEN_UP_AFTER: u32 = 30;
const GIVEN_UP_AFTER_MIN: Duration = Duration::from_secs(86_400);

/// The least that event times differ by.
const TICK: Duration = Duration::from_micros(1);

/// What rule files say of it.
#[derive(Default)]
struct Draft {
    timespan: Option<Duration>,
    expect: Option<Vec<Text>>,
}

const KEYS: &[Key<Draft>] = &[
    Key::required(
        "timespan",
        Shape::Timespan,
        "How long silence is accepted.",
        "how long silence is accepted: `timespan: 5m`",
        |s, key, to| to.timespan = timespan(s, key),
    ),
    Key::new("expect", Shape::Texts, "Who is expected: values, or a list.", |s, key, to| {
        to.expect = texts(s, key);
    }),
];

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    let mut draft = Draft::default();
    read_keys(KEYS, section, &mut draft);
    let expect = match draft.expect {
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
    let timespan = Some(draft.timespan?);
    let syntax = KindSyntax::new(Box::new(expect));
    Some(KindSyntax { timespan, has_calendar: true, ..syntax })
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
        let absence = |expect| {
            let (calendar, expires) = (context.calendar.clone(), context.expires);
            let parts = context.key_parts;
            Some(Arc::new(Absence { expect, parts, calendar, expires }) as Arc<dyn Kind>)
        };
        let (values, place): (Vec<(String, Option<EventTime>)>, Option<&Place>) = match self {
            Expect::Seen => return absence(None),
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
            return absence(Some(Arc::new(keys)));
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
    /// How many parts a key has, without its cluster.
    parts: usize,
    /// When silence counts; `None`: always.
    calendar: Option<Arc<dyn Calendar>>,
    /// From when on nobody is expected any more.
    expires: Option<EventTime>,
}

impl Absence {
    fn expects(&self, key: &CorrelationKey, time: EventTime) -> bool {
        let name = self.name_of(key);
        let is_named = self.expect.as_ref().is_none_or(|expect| expect.contains_key(name));
        is_named && self.expected_until(key).is_none_or(|until| time < until)
    }

    /// A key without the cluster: names are those of every cluster that they are heard of in.
    fn name_of<'k>(&self, key: &'k CorrelationKey) -> &'k [Arc<str>] {
        key.get(..self.parts).unwrap_or(key)
    }

    /// From when on a key is not expected any more; `None` if that is not said.
    fn expected_until(&self, key: &CorrelationKey) -> Option<EventTime> {
        let name = self.name_of(key);
        let of_key = self.expect.as_ref().and_then(|expect| *expect.get(name)?);
        of_key.into_iter().chain(self.expires).min()
    }
}

impl Kind for Absence {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn describe(&self, frame: &Frame) -> String {
        let hours = self.calendar.as_ref().map(|calendar| format!(" {}", calendar.describe()));
        format!("nothing for {}{}", written(frame.timespan), hours.unwrap_or_default())
    }

    fn is_about_silence(&self) -> bool {
        true
    }

    /// Whoever is heard twice is heard.
    fn minds_copies(&self) -> bool {
        false
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        let (kind, timespan) = (self.clone(), frame.timespan);
        fresh(Silences { kind, timespan, checked: false, horizon: EventTime::MIN })
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

impl KeyState for Heard {
    fn outdate(&mut self, key: &CorrelationKey) {
        self.captured = captured_of(key);
    }

    fn bytes(&mut self) -> usize {
        memory::list(self.spans.len(), size_of::<SeenSpan>()) + memory::captured(&self.captured)
    }

    /// It shows what its last event captured.
    fn pack(&self, _: &mut Vec<u8>) -> bool {
        false
    }

    fn unpack(_: &[u8]) -> Option<Heard> {
        None
    }
}

/// The last event of a key that claims to be of later than it can have been when it was read: what is wrong is
/// perhaps our own clock.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Claim {
    /// When it was taken to have happened.
    taken_as: EventTime,
    /// When it claims to have happened.
    claimed: EventTime,
}

impl KeyState for Claim {
    fn pack(&self, out: &mut Vec<u8>) -> bool {
        *out = encode_into(std::mem::take(out), self);
        true
    }

    fn unpack(packed: &[u8]) -> Option<Claim> {
        postcard::from_bytes(packed).ok()
    }
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

    /// How long the silence must be to be told (again).
    fn telling(&self, timespan: Duration) -> Duration {
        self.told.map_or(timespan, |told| told.saturating_mul(2))
    }

    /// The first stretch lasted longer than was thought; those that it reaches become one with it.
    fn lasted(&mut self, until: EventTime, timespan: Duration) {
        let Some(mut span) = self.spans.pop_front() else { return };
        span.last = span.last.max(until);
        while let Some(next) =
            self.spans.pop_front_if(|next| next.first <= span.last.plus(timespan))
        {
            span.last = span.last.max(next.last);
        }
        self.spans.push_front(span);
    }

    /// Stretches between two times become one. What was told stays.
    fn join(&mut self, since: EventTime, until: EventTime) {
        let is_before = |span: &SeenSpan| span.last < since;
        let from = self.spans.partition_point(is_before).max(usize::from(self.told.is_some()));
        let joined = self.spans.partition_point(|span| span.first <= until);
        if joined <= from + 1 {
            return;
        }
        let last = self.spans.drain(from + 1..joined).map(|span| span.last).max();
        if let (Some(span), Some(last)) = (self.spans.get_mut(from), last) {
            span.last = span.last.max(last);
        }
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
    /// Whether the keys held are those that are expected.
    checked: bool,
    /// Claims of up to this time are believed.
    horizon: EventTime,
}

impl Silences {
    /// Stops waiting for keys that are not named any more.
    fn check(&self, keys: &mut Keyed<Heard>, watermark: EventTime, out: &mut Vec<Hit>) {
        let is_dropped = |key: &CorrelationKey| !self.kind.expects(key, watermark);
        for key in keys.sorted_keys().into_iter().filter(is_dropped) {
            let heard = keys.remove(&key).filter(|heard| heard.told.is_some());
            out.extend(heard.map(|heard| ended(&heard, watermark)));
        }
    }

    /// Begins to wait for keys that are named.
    fn wait(&self, keys: &mut Keyed<Heard>, time: EventTime) {
        let known = keys.sorted_keys();
        for key in self.kind.expect.iter().flat_map(|expect| expect.keys()) {
            // Of a cluster, with its name behind it.
            let at = known.partition_point(|known| known < key);
            let is_known = known.get(at).is_some_and(|known| known.starts_with(key));
            if is_known || !self.kind.expects(key, time) {
                continue;
            }
            let heard = Heard::at(time, captured_of(key));
            let due = self.earliest_look(self.kind.expected_until(key), &heard);
            keys.update(key.clone(), || heard, |_| Some(due));
        }
    }

    /// A time before which nothing happens to a key. Cheaper than [`Silences::next_look`], as silence
    /// counts no faster than time.
    fn earliest_look(&self, expected_until: Option<EventTime>, heard: &Heard) -> EventTime {
        look_at(expected_until, heard, heard.last().plus(heard.telling(self.timespan)))
    }

    /// When a key must be looked at next: when it falls silent, or its silence has doubled; when it is
    /// heard again; and when it is not expected any more.
    fn next_look(&self, key: &CorrelationKey, heard: &Heard) -> EventTime {
        let silence = heard.telling(self.timespan);
        let told_at = counted_at(self.kind.calendar.as_deref(), heard.last(), silence);
        look_at(self.kind.expected_until(key), heard, told_at)
    }

    /// How much silence counts between two times.
    fn silence(&self, since: EventTime, until: EventTime) -> Duration {
        counted(self.kind.calendar.as_deref(), since, until)
    }

    /// Looks at a key at a time that the watermark has passed. When to look next; `None` to forget it.
    fn look(
        &self,
        key: &CorrelationKey,
        (heard, claims): (&mut Heard, &Keyed<Claim>),
        time: EventTime,
        out: &mut Vec<Hit>,
    ) -> Option<EventTime> {
        let mut silence = self.silence(heard.last(), time);
        if silence >= heard.telling(self.timespan)
            && heard.told.is_none()
            && let Some(claim) = claims.look(key, Claim::clone)
            && let Some(last) = self.last_by_claim(&claim, heard.last(), time)
        {
            heard.lasted(last, self.timespan);
            silence = self.silence(heard.last(), time);
        }
        if !self.kind.expects(key, time) || heard.told.is_some() && self.gives_up(silence) {
            out.extend(heard.told.map(|_| ended(heard, time)));
            return None;
        }
        let next = heard.spans.get(1).map(|span| span.first).filter(|first| *first <= time);
        if let Some(first) = next {
            out.extend(heard.told.take().map(|_| ended(heard, first)));
            heard.spans.pop_front();
        } else if silence >= heard.telling(self.timespan) {
            heard.told = Some(silence);
            out.push(silent(heard, time, silence));
        }
        let next = self.next_look(key, heard);
        (next > time.plus(TICK)).then_some(next)
    }

    /// Until when a key was heard, if that is later than `known` because our own clock was behind when it made
    /// its claim. `time`: how far event time has come.
    fn last_by_claim(&self, claim: &Claim, known: EventTime, time: EventTime) -> Option<EventTime> {
        let last = if claim.claimed <= self.horizon {
            // Our clock is not behind any more: then it may well have been when it claims.
            claim.claimed
        } else {
            // Event time has perhaps gone on faster than our clock, by what others claimed within the allowed
            // skew. By our clock it was no longer ago than this.
            let ago = self.horizon.since(claim.taken_as);
            time.minus(ago).min(claim.claimed)
        };
        (claim.taken_as <= known && known < last).then_some(last)
    }

    /// A name that was waited for and never heard of is waited for in no other place, once it is heard of in
    /// a cluster.
    fn found_in_cluster(
        &self,
        keys: &mut Keyed<Heard>,
        key: &CorrelationKey,
        time: EventTime,
        out: &mut Vec<Hit>,
    ) {
        let name = self.kind.name_of(key);
        if self.kind.expect.is_none() || name.len() == key.len() {
            return;
        }
        let name = CorrelationKey::from(name);
        // What was captured of an event is more than its key.
        let never_heard = |heard: &Heard| heard.captured.len() == name.len();
        if keys.look(&name, never_heard) == Some(true)
            && let Some(heard) = keys.remove(&name).filter(|heard| heard.told.is_some())
        {
            out.push(ended(&heard, time));
        }
    }

    fn gives_up(&self, silence: Duration) -> bool {
        let most = (self.timespan * GIVEN_UP_AFTER).max(GIVEN_UP_AFTER_MIN);
        self.kind.expect.is_none() && silence >= most
    }
}

/// Remembers the latest claim of a key, as long as it may matter.
fn note_claim(claims: &mut Keyed<Claim>, key: &CorrelationKey, claim: Claim, timespan: Duration) {
    claims.update(
        key.clone(),
        || claim,
        |known| {
            known.taken_as = known.taken_as.max(claim.taken_as);
            known.claimed = known.claimed.max(claim.claimed);
            Some(known.claimed.plus(timespan).plus(TICK))
        },
    );
}

/// When a key must be looked at that is to be told at a time.
fn look_at(expected_until: Option<EventTime>, heard: &Heard, told_at: EventTime) -> EventTime {
    let heard_again = heard.spans.get(1).map(|span| span.first);
    let next = heard_again.into_iter().chain(expected_until).fold(told_at, EventTime::min);
    // What comes exactly then is not late: the watermark must have passed it.
    next.plus(TICK)
}

/// It is silent no more, or nobody minds.
fn ended(heard: &Heard, time: EventTime) -> Hit {
    Hit { holds: Holds::Ended, ..silent(heard, time, Duration::ZERO) }
}

fn silent(heard: &Heard, time: EventTime, silence: Duration) -> Hit {
    let (last, captured) = (heard.last(), Arc::clone(&heard.captured));
    Hit {
        first: last,
        last,
        captured_at: last,
        value: silence.as_secs_f64(),
        holds: Holds::Until(EventTime::MAX),
        ..Hit::of_event(time, captured)
    }
}

impl Decide for Silences {
    type Tables = (Keyed<Heard>, Keyed<Claim>);

    fn handle(
        &mut self,
        (keys, claims): &mut (Keyed<Heard>, Keyed<Claim>),
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let Sample { time, claimed, captured, .. } = sample;
        if !self.kind.expects(&key, time) {
            return Taken::NotExpected;
        }
        let is_late = watermark.is_some_and(|watermark| time < watermark);
        let is_decided = |heard: &Heard| {
            let first = heard.spans.front().map_or(time, |span| span.first);
            is_late && (time < first || heard.told.is_some() && time <= heard.last())
        };
        if keys.look(&key, is_decided) == Some(true) {
            return Taken::TooLate;
        }
        self.found_in_cluster(keys, &key, time, out);
        let mut heard_since = time;
        if let Some(claimed) = claimed.filter(|claimed| *claimed > time) {
            // If by what both claim there is no silence between them, there is none: our clock may have been set.
            if let Some(known) = claims.look(&key, Claim::clone)
                && known.claimed.max(claimed).since(known.claimed.min(claimed)) <= self.timespan
            {
                heard_since = known.taken_as.min(time);
            }
            note_claim(claims, &key, Claim { taken_as: time, claimed }, self.timespan);
        }
        let until = self.kind.expected_until(&key);
        // Who was told to be silent, and would be by this event as well: what it did not say in time is known by
        // now, but nothing has come of the time since then.
        let silent_still = |heard: &Heard| {
            let now = watermark.filter(|_| heard.told.is_some())?;
            let silence = self.silence(time, now);
            (silence >= self.timespan).then_some((now, silence))
        };
        let fresh = || Heard::at(time, Arc::clone(&captured));
        keys.update(key, fresh, |heard| {
            heard.captured = Arc::clone(&captured);
            if let Some((now, silence)) = silent_still(heard) {
                heard.lasted(time, Duration::ZERO);
                heard.told = Some(silence);
                out.push(silent(heard, now, silence));
            } else {
                heard.add(time, self.timespan);
                heard.join(heard_since, time);
            }
            Some(self.earliest_look(until, heard))
        });
        Taken::Counted
    }

    /// Whoever was heard of longest stays. Nobody is left to end a silence of one that goes, so it ends.
    fn make_room(
        &mut self,
        (keys, claims): &mut (Keyed<Heard>, Keyed<Claim>),
        time: EventTime,
        out: &mut Vec<Hit>,
    ) {
        if claims.bytes() > keys.bytes() {
            claims.evict(|claim| Standing { progress: 0.0, since: claim.taken_as }, |_| false);
            return;
        }
        let known_for = |heard: &mut Heard| {
            let since = heard.spans.front().map_or(EventTime::MIN, |span| span.first);
            let last = heard.spans.back().map_or(EventTime::MIN, |span| span.last);
            let is_told = heard.told.is_some();
            let progress = if is_told { f64::INFINITY } else { last.since(since).as_secs_f64() };
            Standing { progress, since }
        };
        let gone = keys.evict(known_for, |heard| heard.told.is_some());
        out.extend(gone.iter().map(|heard| ended(heard, time)));
    }

    fn begin(&mut self, (keys, _): &mut (Keyed<Heard>, Keyed<Claim>), time: EventTime) {
        self.wait(keys, time);
    }

    fn believe(&mut self, horizon: EventTime) {
        self.horizon = horizon;
    }

    fn advance(
        &mut self,
        (keys, claims): &mut (Keyed<Heard>, Keyed<Claim>),
        watermark: EventTime,
        out: &mut Vec<Hit>,
    ) {
        if watermark == EventTime::MAX {
            // The stream has ended: nobody is silent, there is nothing more to hear.
            return;
        }
        if !std::mem::replace(&mut self.checked, true) {
            self.check(keys, watermark, out);
        }
        keys.advance(watermark, |key, heard, due| {
            self.look(&key.unpack(), (heard, claims), due.minus(TICK), out)
        });
        // By now silence after them is decided.
        claims.advance(watermark, |_, _, _| None);
    }

    fn next_deadline(&self, (keys, _): &(Keyed<Heard>, Keyed<Claim>)) -> Option<EventTime> {
        let unchecked = (self.kind.expect.is_some() && !self.checked).then_some(EventTime::MIN);
        unchecked.or_else(|| keys.next_deadline())
    }
}
