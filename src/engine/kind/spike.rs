//! `spike`: many more events than the key usually has.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    CorrelationKey, Frame, Hit, Holds, Kind, KindEntry, KindSyntax, Ready, RuleState, Sample,
    Taken, Written,
    keyed::{KeyState, Keyed, captured_of},
    life, memory,
    state::{Decide, fresh},
    step_counts::{SeenSpan, StepCounts, start_of, step_of},
    window::{Window, WindowEvent, WindowShape},
};
use crate::engine::{
    duration::written,
    limits::{BASELINE_MAX, WINDOW_EVENTS_MAX},
    syntax::{
        key::{Key, Shape, mapping, read_all, read_keys},
        read::{number_within, timespan},
    },
    time::EventTime,
    value::Captured,
    yaml::Section,
};

/// The line of the table.
pub(super) const ENTRY: KindEntry = KindEntry {
    name: "spike",
    written: Written::Key,
    summary: "`factor` times more events in `timespan` than the key's own baseline.",
    doc: "Fires when a key has at least `min` (10) events within `timespan`, and at least `factor` (5) \
          times as many as is usual for it. What is usual is the mean of its own past: of the last \
          `baseline.of` (14d), or with `season: hour-of-week` of the same hour of the week (UTC) in the \
          weeks of the baseline. The hour before the window does not count, so that a slow rise is not \
          its own baseline. Nothing is reported before the rule has seen a day (`season: hour-of-week`: \
          the same hour a week before; a baseline shorter than a day: the whole baseline). After that, \
          however long nothing comes, a key without a past is judged by `min` alone. Alerts say what was \
          usual: `{{ usual }}`.",
    lives: &[life::AT_ONCE_ALWAYS],
    example: "\
title: Many more secrets read than usual
name: secret_read_spike
logsource: {product: kubernetes, service: audit}
level: high
detection:
  read: {objectRef.resource: secrets, verb: [get, list]}
  condition: read
tripline:
  spike:
    group-by: [actor.id]
    timespan: 10m
    baseline: {of: 14d, season: hour-of-week}
    factor: 5
    min: 20
  annotations:
    summary: '{{ actor.id }} read {{ count }} secrets in ten minutes; usual are {{ usual }}'
",
    schema: || mapping(KEYS),
    read: Some(read),
};

const BASELINE_DEFAULT: Duration = Duration::from_secs(14 * 86_400);

/// Steps in which the past is kept.
const HOUR: Duration = Duration::from_secs(3_600);
const HOURS_A_DAY: i64 = 24;
const HOURS_A_WEEK: i64 = 7 * HOURS_A_DAY;

/// What rule files say of it.
#[derive(Default)]
struct Draft {
    window: Option<Duration>,
    past: Past,
    factor: Option<f64>,
    at_least: Option<f64>,
}

/// What they say of its baseline.
#[derive(Clone, Copy, Default)]
struct Past {
    of: Option<Duration>,
    is_by_hour_of_week: bool,
}

const SEASONS: [(&str, bool); 2] = [("none", false), ("hour-of-week", true)];

/// Factors and numbers of events.
const NUMBERS: (f64, f64) = (1.0, 1e6);

const KEYS: &[Key<Draft>] = &[
    Key::required(
        "timespan",
        Shape::Timespan,
        "How long a spike is counted.",
        "how long a spike is counted: `timespan: 10m`",
        |s, key, to| to.window = timespan(s, key),
    ),
    Key::new("baseline", Shape::Is(|| mapping(BASELINE)), "What is usual.", |s, key, to| {
        let inner = s.section(key);
        to.past = inner.map(|inner| read_all(BASELINE, inner)).unwrap_or_default();
        let baseline = to.past.of.unwrap_or(BASELINE_DEFAULT);
        let Some(window) = to.window else { return };
        let wrong = |title: &str, help| s.invalid(key, title, help);
        if baseline < window * 2 {
            let title = "the baseline must be at least twice as long as `timespan`";
            wrong(title, "lengthen `baseline.of`");
        } else if to.past.is_by_hour_of_week && baseline < HOUR * 24 * 7 {
            let title = "an hour of the week comes once a week";
            wrong(title, "lengthen `baseline.of` to a week or more");
        } else if baseline > BASELINE_MAX {
            let title = format!("the baseline is longer than {}", written(BASELINE_MAX));
            wrong(&title, "shorten `baseline.of`");
        } else if baseline < HOUR * 2 {
            let help = "lengthen `baseline.of` to two hours or more";
            wrong("the past is kept by the hour", help);
        }
    }),
    Key::new("factor", Shape::Within(NUMBERS.0, NUMBERS.1), "", |s, key, to| {
        to.factor = number_within(s, key, NUMBERS.0..=NUMBERS.1);
    }),
    Key::new("min", Shape::Within(NUMBERS.0, NUMBERS.1), "Least events.", |s, key, to| {
        to.at_least = number_within(s, key, NUMBERS.0..=NUMBERS.1);
    }),
];

const BASELINE: &[Key<Past>] = &[
    Key::new("of", Shape::Timespan, "How far it goes back.", |s, key, to| {
        to.of = timespan(s, key);
    }),
    Key::new(
        "season",
        Shape::Is(|| json!({"enum": SEASONS.map(|(name, _)| name)})),
        "",
        |s, key, to| {
            to.is_by_hour_of_week = s.one_of(key, &SEASONS).unwrap_or(false);
        },
    ),
];

fn read(section: &Section<'_>) -> Option<KindSyntax> {
    let mut draft = Draft::default();
    read_keys(KEYS, section, &mut draft);
    let kind = Spike {
        baseline: draft.past.of.unwrap_or(BASELINE_DEFAULT),
        hour_of_week: draft.past.is_by_hour_of_week,
        factor: draft.factor.unwrap_or(5.0),
        at_least: draft.at_least.unwrap_or(10.0),
    };
    let timespan = Some(draft.window?);
    Some(KindSyntax { timespan, ..KindSyntax::new(Box::new(Ready(kind))) })
}

#[derive(Clone, Debug)]
struct Spike {
    baseline: Duration,
    hour_of_week: bool,
    factor: f64,
    at_least: f64,
}

impl Kind for Spike {
    fn entry(&self) -> &'static KindEntry {
        &ENTRY
    }

    fn compares_with_before(&self) -> bool {
        true
    }

    fn describe(&self, frame: &Frame) -> String {
        let (factor, at_least) = (self.factor, self.at_least);
        let season = if self.hour_of_week { " at that hour of the week" } else { "" };
        let span = written(frame.timespan);
        format!("≥ {factor} × the usual{season} and ≥ {at_least} events in {span}")
    }

    fn fresh(&self, frame: Frame) -> Box<dyn RuleState> {
        fresh(Baselines { kind: self.clone(), timespan: frame.timespan })
    }
}

/// Recent and past events of one key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct KeyPast {
    window: Window,
    hours: StepCounts,
    captured: Arc<[Captured]>,
}

impl KeyState for KeyPast {
    fn outdate(&mut self, key: &CorrelationKey) {
        self.captured = captured_of(key);
    }

    fn bytes(&mut self) -> usize {
        self.window.bytes() + self.hours.bytes() + memory::captured(&self.captured)
    }

    /// It shows what its last event captured.
    fn pack(&self, _: &mut Vec<u8>) -> bool {
        false
    }

    fn unpack(_: &[u8]) -> Option<KeyPast> {
        None
    }
}

#[derive(Debug)]
struct Baselines {
    kind: Spike,
    timespan: Duration,
}

impl Spike {
    fn baseline_hours(&self) -> i64 {
        i64::try_from(self.baseline.as_secs() / HOUR.as_secs()).unwrap_or(i64::MAX)
    }

    /// The usual number of events in a window that begins at `start`. `None` while too little of the
    /// past is known: the rule has been seeing events since `began`.
    fn usual(
        &self,
        hours: &StepCounts,
        start: EventTime,
        timespan: Duration,
        began: EventTime,
    ) -> Option<f64> {
        // The first hour was seen in part only.
        let known_from = step_of(began, HOUR) + 1;
        let first = step_of(start, HOUR);
        if !self.hour_of_week {
            let to = first - 1;
            let from = known_from.max(to - self.baseline_hours());
            let enough = HOURS_A_DAY.min(self.baseline_hours() - 1);
            if to - from < enough {
                return None;
            }
            let per_hour = ratio(hours.between(from, to), to - from);
            return Some(per_hour * timespan.as_secs_f64() / HOUR.as_secs_f64());
        }
        let end = start.plus(timespan);
        let mut usual = 0.0;
        let mut hour = first;
        while start_of(hour, HOUR) < end {
            let weeks = self.baseline_hours() / HOURS_A_WEEK;
            let past = (1..=weeks).map(|week| hour - week * HOURS_A_WEEK);
            let past: Vec<i64> = past.take_while(|past| *past >= known_from).collect();
            let seen = i64::try_from(past.len()).unwrap_or(i64::MAX);
            if seen == 0 {
                return None;
            }
            let events: u64 = past.iter().map(|past| u64::from(hours.at(*past))).sum();
            let from = start.max(start_of(hour, HOUR));
            let share = end.min(start_of(hour + 1, HOUR)).since(from);
            usual += ratio(events, seen) * share.as_secs_f64() / HOUR.as_secs_f64();
            hour += 1;
        }
        Some(usual)
    }

    /// Looks at every window that the entry at `at` is part of; the hit with the most events.
    fn look(
        &self,
        state: &KeyPast,
        at: usize,
        timespan: Duration,
        began: EventTime,
    ) -> Option<Hit> {
        let window = &state.window;
        let time = window.get(at)?.time;
        if window.events(0, window.len()) < self.at_least {
            return None;
        }
        let mut best: Option<Hit> = None;
        for end_index in at..window.len() {
            let last = window.get(end_index)?.time;
            if end_index > at && last.minus(timespan) >= time {
                break;
            }
            let (start, end) = window.bounds(WindowShape::Sliding, timespan, end_index);
            let value = window.events(start, end);
            if value < self.at_least || best.as_ref().is_some_and(|best| best.value >= value) {
                continue;
            }
            // A sliding window holds what came after its beginning.
            let usual = self.usual(&state.hours, last.minus(timespan), timespan, began)?;
            if value >= self.factor * usual {
                let first = window.get(start)?.time;
                best = Some(Hit {
                    time: last,
                    claimed: None,
                    first,
                    last,
                    value,
                    values: Vec::new(),
                    usual: Some(usual),
                    captured: Arc::clone(&state.captured),
                    captured_at: last,
                    steps: Vec::new(),
                    holds: Holds::Once,
                });
            }
        }
        best
    }

    /// When a key must be looked at next; `None` if nothing of it can matter any more.
    fn deadline(&self, state: &KeyPast, timespan: Duration) -> Option<EventTime> {
        if let Some(last) = state.window.last_time() {
            return Some(last.plus(timespan));
        }
        let last = state.hours.last()?;
        // A window that begins in the last hour that still looks at it ends so much later.
        Some(start_of(last.saturating_add(self.baseline_hours() + 2), HOUR).plus(timespan))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn ratio(events: u64, hours: i64) -> f64 {
    events as f64 / hours.max(1) as f64
}

impl Decide for Baselines {
    const IS_MEMORY: bool = true;

    /// All keys; and, under the empty key, since when the rule has been seeing events.
    type Tables = (Keyed<KeyPast>, Keyed<SeenSpan>);

    fn handle(
        &mut self,
        (keys, rule): &mut Self::Tables,
        key: CorrelationKey,
        sample: Sample<'_>,
        watermark: Option<EventTime>,
        out: &mut Vec<Hit>,
    ) -> Taken {
        let (kind, timespan) = (&self.kind, self.timespan);
        let frame = Frame { timespan, window: WindowShape::Sliding };
        let time = sample.time;
        let mut began = time;
        rule.update(
            CorrelationKey::default(),
            || SeenSpan::at(time),
            |seen| {
                // For good: the quieter what is watched, the more a burst of it has to say.
                seen.add(time, Duration::MAX);
                began = seen.first;
                Some(seen.last.plus(Duration::MAX))
            },
        );
        let mut dropped = 0;
        keys.update(key, KeyPast::default, |state| {
            let mut at = state.window.insert(WindowEvent::of(&sample));
            if state.window.len() > WINDOW_EVENTS_MAX {
                dropped += state.window.join_neighbours(frame, |earlier, later| later.with(earlier))
                    as u64;
                at = state.window.last_at((time, sample.input));
            }
            state.hours.add(step_of(time, HOUR));
            state.captured = sample.captured;
            let found = kind.look(state, at, timespan, began);
            out.extend(found.map(|hit| Hit { captured_at: time, ..hit }));
            if let Some(watermark) = watermark {
                state.window.prune(watermark, timespan);
            }
            let last = state.hours.last().unwrap_or_default();
            let reach = kind.baseline + timespan + HOUR * 2;
            state.hours.forget_before(step_of(start_of(last, HOUR).minus(reach), HOUR));
            kind.deadline(state, timespan)
        });
        keys.lose_events(dropped);
        Taken::Counted
    }

    fn make_room(&mut self, (keys, _): &mut Self::Tables, _: EventTime, _: &mut Vec<Hit>) {
        keys.evict(|state| state.hours.standing(HOUR), |_| false);
    }

    fn advance(&mut self, (keys, rule): &mut Self::Tables, watermark: EventTime, _: &mut Vec<Hit>) {
        let (kind, timespan) = (&self.kind, self.timespan);
        keys.advance(watermark, |_, state, due| {
            state.window.prune(watermark, timespan);
            kind.deadline(state, timespan).filter(|next| *next > due)
        });
        rule.advance(watermark, |_, _, _| None);
    }
}
