//! What correlations mean, said as plainly as possible: all events in a list, looked at again and
//! again. No windows that are kept, no timers, no index, no sketches.

use std::collections::BTreeMap;

use super::case::{
    Case, Chain, Happening, Kind, Micros, Op, Rule, START, Seen, Shape, Threshold, user_name,
};

/// A condition held.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) time: Micros,
    pub(crate) first: Micros,
    pub(crate) last: Micros,
    pub(crate) value: f64,
}

/// A condition kept holding: one alert.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Episode {
    pub(crate) key: Vec<String>,
    pub(crate) first: Micros,
    pub(crate) last: Micros,
    pub(crate) value: f64,
    pub(crate) ends: Micros,
}

/// Every alert that must come of a case, by key and time.
pub(crate) fn episodes(case: &Case) -> Vec<Episode> {
    let mut all = Vec::new();
    for (key, events) in by_key(&case.rule, &case.events) {
        let findings = findings(&case.rule, &events);
        for mut episode in joined(fires_for(&case.rule), case.rule.suppress, &findings) {
            episode.key.clone_from(&key);
            all.push(episode);
        }
    }
    all
}

/// What becomes of a chain: findings of the inner rule stand in place of the events that it looks at.
/// Each happens when it fires, and carries what the last event of its window carried.
pub(crate) fn chained(chain: &Chain, events: &[Happening]) -> Vec<Episode> {
    let (looked_at, mut others): (Vec<Happening>, Vec<Happening>) =
        events.iter().cloned().partition(|event| event.input == 0);
    for (key, group) in by_key(&chain.inner, &looked_at) {
        for (found, window) in findings_with_windows(&chain.inner, &group) {
            let mut last = window[window.len() - 1].clone();
            if let Some(name) = key.first() {
                // Of several users the one that it was found of.
                last.user = (0..3).find(|user| user_name(*user) == *name);
                last.more_users = Vec::new();
            }
            others.push(Happening { at: found.time, ..last });
        }
    }
    episodes(&Case { rule: chain.outer.clone(), events: others })
}

/// The events that count, by key, in order of time; events of one moment in the order of the rules.
fn by_key(rule: &Rule, events: &[Happening]) -> BTreeMap<Vec<String>, Vec<Happening>> {
    let needs_value = matches!(
        rule.kind,
        Kind::ValueCount(_) | Kind::Sum(_) | Kind::Avg(_) | Kind::Median(_) | Kind::Percentile(..)
    );
    let mut groups: BTreeMap<Vec<String>, Vec<Happening>> = BTreeMap::new();
    for event in events {
        let keys: Vec<Vec<String>> = if rule.by_user {
            event.users().into_iter().map(|user| vec![user_name(user)]).collect()
        } else {
            vec![Vec::new()]
        };
        for key in keys.into_iter().filter(|_| !needs_value || event.value.is_some()) {
            groups.entry(key).or_default().push(event.clone());
        }
    }
    for group in groups.values_mut() {
        group.sort_by_key(|event| (event.at, event.input));
    }
    groups
}

/// Every window of one key that holds.
fn findings(rule: &Rule, events: &[Happening]) -> Vec<Found> {
    findings_with_windows(rule, events).into_iter().map(|(found, _)| found).collect()
}

fn findings_with_windows(rule: &Rule, events: &[Happening]) -> Vec<(Found, Vec<Happening>)> {
    let windows = if decides_at_once(rule) {
        growing_windows(rule, events)
    } else {
        closed_windows(rule, events)
    };
    let mut found: Vec<(Found, Vec<Happening>)> = windows
        .into_iter()
        .filter_map(|(time, window)| {
            let (holds, value) = evaluate(&rule.kind, &window);
            let (first, last) = (window.first()?.at, window.last()?.at);
            let found = Found { time: time.unwrap_or(last), first, last, value };
            holds.then_some((found, window))
        })
        .collect();
    found.sort_by_key(|(found, _)| found.time);
    found
}

type Window = (Option<Micros>, Vec<Happening>);

/// For each event the window that ends with it.
fn growing_windows(rule: &Rule, events: &[Happening]) -> Vec<Window> {
    let window = |end: usize| -> Vec<Happening> {
        let so_far = &events[..=end];
        let last = &events[end];
        let inside: Box<dyn Fn(&Happening) -> bool> = match rule.shape {
            Shape::Usual => Box::new(|event| event.at > last.at - rule.span),
            Shape::Tumbling => {
                Box::new(|event| number_of(event.at, rule) == number_of(last.at, rule))
            }
            Shape::Session { gap } => {
                let session = sessions(so_far, gap, rule.span).pop().unwrap_or_default();
                Box::new(move |event| session.contains(event))
            }
        };
        so_far.iter().filter(|event| inside(event)).cloned().collect()
    };
    (0..events.len()).map(|end| (None, window(end))).collect()
}

/// The windows in which something happened, with the time at which each ends.
fn closed_windows(rule: &Rule, events: &[Happening]) -> Vec<Window> {
    match rule.shape {
        Shape::Session { gap } => sessions(events, gap, rule.span)
            .into_iter()
            .map(|session| {
                let (first, last) = (session[0].at, session[session.len() - 1].at);
                (Some((last + gap).min(first + rule.span)), session)
            })
            .collect(),
        // A condition with `not` waits `timespan` from the first event that it asks for.
        Shape::Usual if is_temporal(&rule.kind) => {
            let mut windows: Vec<Window> = Vec::new();
            let mut from = Micros::MIN;
            let opening = |from: Micros| {
                events.iter().find(|event| event.at >= from && opens(&rule.kind, event.input))
            };
            while let Some(first) = opening(from).map(|event| event.at) {
                from = first + rule.span;
                let inside = |event: &&Happening| (first..from).contains(&event.at);
                windows.push((Some(from), events.iter().filter(inside).cloned().collect()));
            }
            windows
        }
        Shape::Usual | Shape::Tumbling => {
            let mut windows: BTreeMap<Micros, Vec<Happening>> = BTreeMap::new();
            for event in events {
                windows.entry(number_of(event.at, rule)).or_default().push(event.clone());
            }
            windows.into_values().map(|w| (Some(window_end(w[0].at, rule)), w)).collect()
        }
    }
}

/// Windows are counted from the epoch on.
fn number_of(at: Micros, rule: &Rule) -> Micros {
    (START + at).div_euclid(rule.span)
}

/// Where the tumbling window ends that holds a time.
pub(crate) fn window_end(at: Micros, rule: &Rule) -> Micros {
    (number_of(at, rule) + 1) * rule.span - START
}

/// Whether the kind looks at which rules were seen.
pub(crate) const fn is_temporal(kind: &Kind) -> bool {
    matches!(kind, Kind::Temporal(_) | Kind::Ordered(_) | Kind::TemporalIf(_) | Kind::OrderedIf(_))
}

/// Each event in order of arrival, with the watermark that it meets: the latest before it, minus grace.
pub(crate) fn arrived(events: &[Happening], grace: Micros) -> Vec<(Happening, Micros)> {
    let mut latest = None;
    let mut arrived = Vec::new();
    for event in events {
        arrived.push((event.clone(), latest.map_or(Micros::MIN, |latest: Micros| latest - grace)));
        latest = Some(latest.map_or(event.at, |latest: Micros| latest.max(event.at)));
    }
    arrived
}

/// Cut where nothing came for `gap`, and at `longest`.
fn sessions(events: &[Happening], gap: Micros, longest: Micros) -> Vec<Vec<Happening>> {
    let mut sessions: Vec<Vec<Happening>> = Vec::new();
    for event in events {
        match sessions.last_mut() {
            Some(session)
                if event.at - session[session.len() - 1].at < gap
                    && event.at - session[0].at < longest =>
            {
                session.push(event.clone());
            }
            _ => sessions.push(vec![event.clone()]),
        }
    }
    sessions
}

/// Whether seeing an input can make the condition hold.
fn opens(kind: &Kind, input: usize) -> bool {
    fn asks(seen: &Seen, input: usize, wanted: bool) -> bool {
        match seen {
            Seen::Input(seen) => wanted && *seen == input,
            Seen::Not(inner) => asks(inner, input, !wanted),
            Seen::All(parts) | Seen::Any(parts) => {
                parts.iter().any(|part| asks(part, input, wanted))
            }
        }
    }
    match kind {
        Kind::TemporalIf(seen) | Kind::OrderedIf(seen) => asks(seen, input, true),
        _ => true,
    }
}

/// Whether a rule fires the moment its condition is reached. A mean may pass a threshold and fall below
/// it again before its window has ended.
pub(crate) fn decides_at_once(rule: &Rule) -> bool {
    let only_lower =
        |threshold: &Threshold| threshold.iter().all(|(op, _)| matches!(op, Op::Gt | Op::Gte));
    match &rule.kind {
        Kind::EventCount(threshold) | Kind::ValueCount(threshold) | Kind::Sum(threshold) => {
            only_lower(threshold)
        }
        Kind::Avg(threshold) | Kind::Median(threshold) | Kind::Percentile(_, threshold) => {
            only_lower(threshold) && rule.shape == Shape::Usual
        }
        Kind::Temporal(threshold) | Kind::Ordered(threshold) => {
            threshold.as_ref().is_none_or(only_lower)
        }
        Kind::TemporalIf(seen) | Kind::OrderedIf(seen) => !has_not(seen),
    }
}

fn has_not(seen: &Seen) -> bool {
    match seen {
        Seen::Input(_) => false,
        Seen::Not(_) => true,
        Seen::All(parts) | Seen::Any(parts) => parts.iter().any(has_not),
    }
}

/// Whether a window holds, and the number that people are shown.
fn evaluate(kind: &Kind, window: &[Happening]) -> (bool, f64) {
    let by = |threshold: &Threshold, value: f64| (passes(threshold, value), value);
    let numbers: Vec<i64> = window.iter().flat_map(Happening::values).collect();
    let inputs =
        |condition: &dyn Fn(usize) -> bool| (0..3).filter(|input| condition(*input)).count();
    let is_seen = |input: usize| window.iter().any(|event| event.input == input);
    match kind {
        Kind::EventCount(threshold) => by(threshold, count(window.len())),
        Kind::ValueCount(threshold) => {
            let mut different = numbers.clone();
            different.sort_unstable();
            different.dedup();
            by(threshold, count(different.len()))
        }
        Kind::Sum(threshold) => by(threshold, sum(&numbers)),
        Kind::Avg(threshold) => by(threshold, sum(&numbers) / count(numbers.len())),
        Kind::Median(threshold) => by(threshold, percentile(&numbers, 50)),
        Kind::Percentile(share, threshold) => by(threshold, percentile(&numbers, *share)),
        Kind::Temporal(threshold) => {
            let value = count(inputs(&is_seen));
            (threshold.as_ref().map_or(value >= 3.0, |t| passes(t, value)), value)
        }
        Kind::Ordered(threshold) => {
            let value = count(steps(&[0, 1, 2], window));
            (threshold.as_ref().map_or(value >= 3.0, |t| passes(t, value)), value)
        }
        Kind::TemporalIf(seen) => (holds(seen, &is_seen), count(inputs(&is_seen))),
        Kind::OrderedIf(seen) => {
            let order = wanted(seen);
            let reached = steps(&order, window);
            (reached == order.len() && holds(seen, &is_seen), count(reached))
        }
    }
}

/// The greatest number of these inputs that come one after the other in this order.
fn steps(order: &[usize], window: &[Happening]) -> usize {
    // Every choice of them is tried.
    (0..1_u32 << order.len())
        .map(|choice| {
            let chosen = (0..order.len()).filter(|place| choice & 1 << place != 0);
            chosen.map(|place| order[place]).collect::<Vec<usize>>()
        })
        .filter(|chosen| come_in_order(chosen, window))
        .map(|chosen| chosen.len())
        .max()
        .unwrap_or(0)
}

/// Whether there is an event of each input, none before that of the input before it; those of one moment
/// stand in either order.
fn come_in_order(inputs: &[usize], window: &[Happening]) -> bool {
    let mut earliest = Micros::MIN;
    inputs.iter().all(|input| {
        let next = window.iter().filter(|event| event.input == *input && event.at >= earliest);
        let at = next.map(|event| event.at).min();
        earliest = at.unwrap_or(earliest);
        at.is_some()
    })
}

/// The inputs that a condition wants in any case.
fn wanted(seen: &Seen) -> Vec<usize> {
    let mut inputs = match seen {
        Seen::Input(input) => vec![*input],
        Seen::All(parts) => parts.iter().flat_map(wanted).collect(),
        Seen::Not(_) | Seen::Any(_) => Vec::new(),
    };
    inputs.sort_unstable();
    inputs.dedup();
    inputs
}

fn holds(seen: &Seen, is_seen: &dyn Fn(usize) -> bool) -> bool {
    match seen {
        Seen::Input(input) => is_seen(*input),
        Seen::Not(inner) => !holds(inner, is_seen),
        Seen::All(parts) => parts.iter().all(|part| holds(part, is_seen)),
        Seen::Any(parts) => parts.iter().any(|part| holds(part, is_seen)),
    }
}

fn passes(threshold: &Threshold, value: f64) -> bool {
    threshold.iter().all(|(op, bound)| {
        let bound = number(*bound);
        match op {
            Op::Gt => value > bound,
            Op::Gte => value >= bound,
            Op::Lt => value < bound,
            Op::Lte => value <= bound,
            Op::Eq => (value - bound).abs() == 0.0,
            Op::Neq => (value - bound).abs() > 0.0,
        }
    })
}

fn sum(numbers: &[i64]) -> f64 {
    numbers.iter().map(|value| number(*value)).sum()
}

/// The least number that so many percent of the numbers do not pass (nearest rank).
fn percentile(numbers: &[i64], share: i64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let enough = |candidate: &i64| {
        let below = sorted.iter().filter(|value| *value <= candidate).count();
        count(below) * 100.0 >= number(share) * count(sorted.len())
    };
    sorted.iter().copied().find(enough).map_or(0.0, number)
}

/// How long an alert fires after its condition last held.
fn fires_for(rule: &Rule) -> Micros {
    match rule.shape {
        Shape::Session { gap } => gap,
        Shape::Usual | Shape::Tumbling => rule.span,
    }
}

/// Findings that follow each other within `span` are one episode. An episode that begins within
/// `suppress` of the beginning of the last one makes no alert.
pub(crate) fn joined(span: Micros, suppress: Option<Micros>, findings: &[Found]) -> Vec<Episode> {
    let mut episodes: Vec<Episode> = Vec::new();
    let mut quiet_until = Micros::MIN;
    for found in findings {
        let ends = found.time.max(found.last) + span;
        if let Some(episode) = episodes.last_mut().filter(|episode| found.time <= episode.ends) {
            episode.first = episode.first.min(found.first);
            episode.last = episode.last.max(found.last);
            episode.value = episode.value.max(found.value);
            episode.ends = episode.ends.max(ends);
        } else if found.time >= quiet_until {
            quiet_until = suppress.map_or(Micros::MIN, |suppress| found.time + suppress);
            let Found { first, last, value, .. } = *found;
            episodes.push(Episode { key: Vec::new(), first, last, value, ends });
        }
    }
    episodes
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn count(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn number(number: i64) -> f64 {
    number as f64
}
