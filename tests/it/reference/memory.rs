//! Kinds with a memory: what is new, rare, silent, or more than usual, and risk. Each against a model
//! that looks at all events from the beginning, again and again.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json};

use super::{
    case::{self, GRACE, Happening, Micros, SECOND, START, user_name},
    correlation::{ANYTHING, Arrival, TICKS, arrival, in_time, outlines},
    engine::{rules_and_risk, sort},
    model::{Episode, Found, joined},
};

const HOUR: Micros = 3_600 * SECOND;

/// How long an alert fires that is about one event.
const RESOLVE_AFTER: Micros = 300 * SECOND;

/// A detection rule for all events of the cases, with one of the kinds.
fn yaml(kind: &str, parameters: Value, by_user: bool) -> String {
    let mut parameters = parameters;
    if by_user {
        parameters["group-by"] = json!(["user.username"]);
    }
    json!({
        "title": "correlation",
        "logsource": {"product": "kubernetes", "service": "audit"},
        "detection": {"selection": {"verb": ["get", "list", "delete"]}, "condition": "selection"},
        "tripline": {kind: parameters},
    })
    .to_string()
}

/// Events with one user and one value at most.
fn events(most: usize) -> impl Strategy<Value = Vec<Happening>> {
    case::events(most).prop_map(|events| events.into_iter().map(Happening::plain).collect())
}

fn key_of(event: &Happening, by_user: bool) -> Option<Vec<String>> {
    if by_user { Some(vec![user_name(event.user?)]) } else { Some(Vec::new()) }
}

/// Findings by alert, in order of time.
type Findings = BTreeMap<Vec<String>, Vec<Found>>;

fn episodes(findings: &Findings, span: Micros) -> Vec<Episode> {
    let mut all = Vec::new();
    for (key, found) in findings {
        for episode in joined(span, None, found) {
            all.push(Episode { key: key.clone(), ..episode });
        }
    }
    sort(&mut all);
    all
}

fn at(time: Micros, value: f64) -> Found {
    Found { time, first: time, last: time, value }
}

/// Events in order, as they are looked at: each with its key, and those of its key before it.
fn looked_at(events: &[Happening], by_user: bool) -> Vec<(Vec<String>, Vec<&Happening>)> {
    let keyed: Vec<(Vec<String>, &Happening)> =
        events.iter().filter_map(|event| Some((key_of(event, by_user)?, event))).collect();
    let of_key = |index: usize| {
        let before = keyed[..=index].iter().filter(|(key, _)| *key == keyed[index].0);
        before.map(|(_, event)| *event).collect()
    };
    (0..keyed.len()).map(|index| (keyed[index].0.clone(), of_key(index))).collect()
}

fn with_value(events: &[Happening]) -> Vec<Happening> {
    events.iter().filter(|event| event.value.is_some()).cloned().collect()
}

/// A value that its key has not had for `history`, but not before `learn` has passed. A key of `group-by` that
/// had nothing for `history` is forgotten, and learns anew; a rule does not.
fn first_seen(events: &[Happening], by_user: bool, history: Micros, learn: Micros) -> Findings {
    let mut findings = Findings::new();
    for (mut key, seen) in looked_at(&with_value(events), by_user) {
        let (now, before) = seen.split_last().unwrap();
        let mut began = now.at;
        for event in before.iter().rev() {
            if by_user && began - event.at >= history {
                break;
            }
            began = event.at;
        }
        let known =
            before.iter().any(|event| event.value == now.value && now.at - event.at < history);
        if !known && now.at - began >= learn {
            key.push(now.value.unwrap().to_string());
            findings.entry(key).or_default().push(at(now.at, 1.0));
        }
    }
    findings
}

/// A value with at most this share of its key's events, by thirty steps.
fn rarity(events: &[Happening], by_user: bool, history: Micros, share_max: f64) -> Findings {
    let mut findings = Findings::new();
    let step = |event: &Happening| (START + event.at).div_euclid((history / 30).max(SECOND));
    for (mut key, seen) in looked_at(&with_value(events), by_user) {
        let now = seen[seen.len() - 1];
        let recent: Vec<_> = seen.iter().filter(|event| step(event) > step(now) - 30).collect();
        let same = recent.iter().filter(|event| event.value == now.value).count();
        let share = count(same) / count(recent.len());
        if share <= share_max {
            key.push(now.value.unwrap().to_string());
            findings.entry(key).or_default().push(at(now.at, share));
        }
    }
    findings
}

#[derive(Clone, Copy, Debug)]
struct Spike {
    timespan: Micros,
    baseline: Micros,
    hour_of_week: bool,
    factor: i64,
    at_least: usize,
}

impl Spike {
    fn parameters(self) -> Value {
        let season = if self.hour_of_week { "hour-of-week" } else { "none" };
        json!({
            "timespan": format!("{}s", self.timespan / SECOND),
            "baseline": {"of": format!("{}s", self.baseline / SECOND), "season": season},
            "factor": self.factor,
            "min": self.at_least,
        })
    }

    /// `None` if a number lies so near to its line that rounding decides.
    fn findings(self, events: &[Happening], by_user: bool) -> Option<Findings> {
        let mut findings = Findings::new();
        for (key, seen) in looked_at(events, by_user) {
            let now = seen[seen.len() - 1];
            let window: Vec<_> =
                seen.iter().filter(|event| event.at > now.at - self.timespan).collect();
            let counts = |event: &&Happening| key_of(event, by_user).is_some();
            let Some(began) = events.iter().find(counts).map(|event| event.at) else { continue };
            let Some(usual) = self.usual(&seen, now.at - self.timespan, began) else { continue };
            let value = count(window.len());
            let line = ratio(self.factor, 1) * usual;
            if (value - line).abs() < 1e-9 {
                return None;
            }
            if window.len() >= self.at_least && value > line {
                let (first, last) = (window[0].at, now.at);
                let found = Found { time: last, first, last, value };
                findings.entry(key).or_default().push(found);
            }
        }
        Some(findings)
    }

    /// Events that are usual in a window that begins at `start`, from those of its key.
    fn usual(self, seen: &[&Happening], start: Micros, began: Micros) -> Option<f64> {
        let hour_of = |at: Micros| (START + at).div_euclid(HOUR);
        let in_hours = |from: i64, to: i64| {
            seen.iter().filter(|event| (from..to).contains(&hour_of(event.at))).count()
        };
        let whole_since = hour_of(began) + 1;
        let first = hour_of(start);
        let hours = self.baseline / HOUR;
        if !self.hour_of_week {
            let (from, to) = (whole_since.max(first - 1 - hours), first - 1);
            if to - from < (hours - 1).min(24) {
                return None;
            }
            let share = ratio(self.timespan, HOUR);
            return Some(count(in_hours(from, to)) / ratio(to - from, 1) * share);
        }
        let mut usual = 0.0;
        for hour in first..=hour_of(start + self.timespan - 1) {
            let past: Vec<i64> = (1..=hours / 168)
                .map(|week| hour - week * 168)
                .filter(|past| *past >= whole_since)
                .collect();
            if past.is_empty() {
                return None;
            }
            let events: usize = past.iter().map(|past| in_hours(*past, past + 1)).sum();
            let (from, to) = (hour * HOUR - START, (hour + 1) * HOUR - START);
            let part = to.min(start + self.timespan) - from.max(start);
            usual += count(events) / count(past.len()) * ratio(part, HOUR);
        }
        Some(usual)
    }
}

/// Silence of whoever was ever seen: told after `timespan`, and again whenever it has doubled. It ends
/// with the next event, and so does the alert.
fn absence(events: &[Happening], by_user: bool, timespan: Micros) -> Vec<Episode> {
    let end = events.iter().map(|event| event.at).max().unwrap_or_default();
    let mut times: BTreeMap<Vec<String>, Vec<Micros>> = BTreeMap::new();
    for event in events {
        if let Some(key) = key_of(event, by_user) {
            times.entry(key).or_default().push(event.at);
        }
    }
    let mut all: Vec<Episode> = Vec::new();
    for (key, times) in times {
        for (index, last) in times.iter().copied().enumerate() {
            let next = times.get(index + 1).copied();
            let mut told = None;
            let mut silence = timespan;
            while last + silence <= next.unwrap_or(end) {
                told = Some(silence);
                silence *= 2;
            }
            let Some(told) = told else { continue };
            let ends = next.unwrap_or(Micros::MAX - START);
            let value = ratio(told, SECOND);
            all.push(Episode { key: key.clone(), first: last, last, value, ends });
        }
    }
    sort(&mut all);
    all
}

/// Scores of `a`, `b` and `c`, the line and the half-life in `risk.yaml`.
const SCORES: [f64; 3] = [17.0, 31.0, 5.0];
const LINE: f64 = 50.0;
const HALF_LIFE: Micros = 60 * SECOND;

/// `None` if a number lies so near to its line that rounding, or the least parts, which are forgotten,
/// decide.
fn risk(events: &[Happening]) -> Option<Vec<Episode>> {
    let mut all: Vec<Episode> = Vec::new();
    for (key, seen) in looked_at(events, true) {
        let now = seen[seen.len() - 1].at;
        let left =
            |event: &&Happening| SCORES[event.input] * (-ratio(now - event.at, HALF_LIFE)).exp2();
        let sum: f64 = seen.iter().map(left).sum();
        let before = all.iter_mut().rfind(|episode| episode.key == key);
        let near = before.as_ref().is_some_and(|before| (now - before.ends).abs() < SECOND);
        if near || (sum - LINE).abs() < 0.1 {
            return None;
        }
        if sum < LINE {
            continue;
        }
        #[expect(clippy::cast_possible_truncation, reason = "some minutes")]
        let ends = now + ((sum / LINE).log2() * ratio(HALF_LIFE, 1)) as Micros;
        match before.filter(|before| now <= before.ends) {
            Some(before) => {
                before.last = now;
                before.value = before.value.max(sum);
                before.ends = ends;
            }
            None => all.push(Episode { key, first: now, last: now, value: sum, ends }),
        }
    }
    sort(&mut all);
    Some(all)
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn count(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn ratio(part: i64, whole: i64) -> f64 {
    part as f64 / whole as f64
}

fn play(arrival: &Arrival, yaml: &str, events: &[Happening], grace: Micros) -> Vec<Episode> {
    let mut events = events.to_vec();
    in_time(&mut events);
    arrival.feed(yaml, events, grace).episodes("correlation")
}

/// Events over many hours, some of them crowded, or at the same hours of several weeks.
fn long_events() -> impl Strategy<Value = Vec<Happening>> {
    let minute = select(&[0, 1, 2, 9, 10, 11, 30, 49, 50, 51, 59][..]);
    let user = prop_oneof![8 => (0..2_u8).prop_map(Some), 1 => Just(None)];
    (vec((0..3_i64, 0..32_i64, minute, user), 0..80), any::<bool>()).prop_map(|(list, weekly)| {
        let mut events: Vec<Happening> = list
            .into_iter()
            .map(|(week, hour, minute, user)| {
                let hours = if weekly { week * 168 + hour % 4 } else { hour };
                let at = hours * HOUR + minute * 60 * SECOND;
                Happening {
                    at,
                    delay: 0,
                    user,
                    input: 0,
                    value: None,
                    more_users: Vec::new(),
                    more_values: Vec::new(),
                    id: 0,
                }
            })
            .collect();
        events.sort_by_key(|event| event.at);
        for (id, event) in events.iter_mut().enumerate() {
            event.id = id;
        }
        events
    })
}

fn spike() -> impl Strategy<Value = Spike> {
    let timespan = select(&[600, 1_800, 5_400][..]);
    let baseline = select(&[3, 6, 12, 26][..]);
    (timespan, baseline, any::<bool>(), 1..4_i64, 1..5_usize).prop_map(
        |(seconds, hours, hour_of_week, factor, at_least)| Spike {
            timespan: seconds * SECOND,
            baseline: if hour_of_week { 336 * HOUR } else { hours * HOUR },
            hour_of_week,
            factor,
            at_least,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_new_is_what_the_model_says(
        events in events(24),
        by_user in any::<bool>(),
        (history, learn) in select(&[(60, 20), (60, 60), (150, 1), (240, 100)][..]),
        arrival in arrival(TICKS),
        grace in select(&[0, GRACE][..]),
    ) {
        let parameters = json!({
            "of": ["requestObject.value"],
            "history": format!("{history}s"),
            "learn": format!("{learn}s"),
        });
        let yaml = yaml("first_seen", parameters, by_user);
        let wanted = first_seen(&events, by_user, history * SECOND, learn * SECOND);
        let wanted = episodes(&wanted, RESOLVE_AFTER);
        prop_assert_eq!(play(&arrival, &yaml, &events, grace), wanted, "{} {:#?}", yaml, events);
    }

    #[test]
    fn what_is_rare_is_what_the_model_says(
        events in events(24),
        by_user in any::<bool>(),
        history in select(&[30, 60, 240][..]),
        share in select(&[0.1, 0.25, 0.5, 1.0][..]),
        arrival in arrival(TICKS),
        grace in select(&[0, GRACE][..]),
    ) {
        let parameters = json!({
            "of": ["requestObject.value"],
            "history": format!("{history}s"),
            "max_share": share,
        });
        let yaml = yaml("rarity", parameters, by_user);
        let wanted = episodes(&rarity(&events, by_user, history * SECOND, share), RESOLVE_AFTER);
        prop_assert_eq!(play(&arrival, &yaml, &events, grace), wanted, "{} {:#?}", yaml, events);
    }

    #[test]
    fn a_spike_is_what_the_model_says(
        events in long_events(),
        by_user in any::<bool>(),
        spike in spike(),
        arrival in arrival(TICKS),
        grace in select(&[0, GRACE][..]),
    ) {
        let yaml = yaml("spike", spike.parameters(), by_user);
        let findings = spike.findings(&events, by_user);
        prop_assume!(findings.is_some());
        let wanted = episodes(&findings.unwrap(), spike.timespan);
        prop_assert_eq!(play(&arrival, &yaml, &events, grace), wanted, "{} {:#?}", yaml, events);
    }

    #[test]
    fn silence_is_what_the_model_says(
        events in events(24),
        by_user in any::<bool>(),
        // No distance of two events, nor its double.
        timespan in select(&[13, 23, 33][..]),
        arrival in arrival(TICKS),
        grace in select(&[0, GRACE][..]),
    ) {
        let yaml = yaml("absence", json!({"timespan": format!("{timespan}s")}), by_user);
        let wanted = absence(&events, by_user, timespan * SECOND);
        prop_assert_eq!(play(&arrival, &yaml, &events, grace), wanted, "{} {:#?}", yaml, events);
    }

    #[test]
    fn risk_adds_up_as_the_model_says(
        mut events in events(24),
        arrival in arrival(ANYTHING),
        grace in select(&[0, GRACE][..]),
    ) {
        in_time(&mut events);
        let found = risk_episodes(&arrival, events.clone(), grace);
        let wanted = risk(&events);
        prop_assume!(wanted.is_some());
        let wanted = wanted.unwrap();
        prop_assert_eq!(found.len(), wanted.len(), "{:?} {:?} {:#?}", found, wanted, events);
        for (found, wanted) in found.iter().zip(&wanted) {
            prop_assert!(are_alike(found, wanted), "{found:?} {wanted:?} {events:#?}");
        }
    }

    #[test]
    fn risk_adds_up_the_same_in_whatever_order_events_arrive(
        events in events(24),
        arrival in arrival(ANYTHING),
    ) {
        prop_assume!(risk(&events).is_some());
        let mut late = events.clone();
        late.sort_by_key(|event| event.at + event.delay);
        let late = outlines(&risk_episodes(&arrival, late, GRACE));
        let straight = outlines(&risk_episodes(&arrival, events.clone(), GRACE));
        prop_assert_eq!(late.len(), straight.len(), "{:?} {:?} {:#?}", late, straight, events);
        for (late, straight) in late.values().zip(straight.values()) {
            prop_assert!(are_alike(late, straight), "{late:?} {straight:?} {events:#?}");
        }
    }
}

/// Alerts about users whose risk has added up.
fn risk_episodes(arrival: &Arrival, events: Vec<Happening>, grace: Micros) -> Vec<Episode> {
    let document = |(verb, score): (&str, f64)| {
        let rule = json!({
            "title": verb,
            "logsource": {"product": "kubernetes", "service": "audit"},
            "detection": {"selection": {"verb": verb}, "condition": "selection"},
            "tripline": {"risk": {"entity": "user.username", "score": score}},
        });
        format!("{rule}\n---\n")
    };
    let yaml: String = ["get", "list", "delete"].into_iter().zip(SCORES).map(document).collect();
    let settings = json!({"line": LINE, "half_life": format!("{}s", HALF_LIFE / SECOND)});
    let rules = rules_and_risk(yaml.trim_end_matches("---\n"), &settings.to_string());
    arrival.feed_to(&rules, events, grace).episodes("risk_user_username")
}

/// Whether two episodes of risk are the same. People are shown one decimal place of the sum.
fn are_alike(one: &Episode, other: &Episode) -> bool {
    (&one.key, one.last) == (&other.key, other.last)
        && (one.value - other.value).abs() < 0.11
        && (one.ends - other.ends).abs() < SECOND / 10
}
