//! Properties of correlations.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, prelude::*};
use tripline::engine::rule::RuleSet;

use super::{
    case::{Case, GRACE, Happening, Micros, Rule, SECOND, Shape, case, chain, events},
    engine::{Engine, Outcome, rules, sort},
    model::{self, Episode},
};

/// How a stream is cut into batches, and what is done behind each of them, again and again.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    batches: Vec<usize>,
    between: Vec<Between>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    Nothing,
    Tick,
    Restart,
}

pub(super) fn arrival(between: &'static [Between]) -> impl Strategy<Value = Arrival> {
    (vec(1..5_usize, 1..6), vec(prop::sample::select(between), 1..6))
        .prop_map(|(batches, between)| Arrival { batches, between })
}

impl Arrival {
    fn play(&self, case: &Case, grace: Micros) -> Outcome {
        let mut events = case.events.clone();
        events.sort_by_key(|event| event.at + event.delay);
        self.feed(&case.rule.yaml(), events, grace)
    }

    pub(super) fn feed(&self, yaml: &str, events: Vec<Happening>, grace: Micros) -> Outcome {
        self.feed_to(&rules(yaml), events, grace)
    }

    pub(super) fn feed_to(
        &self,
        rules: &Arc<RuleSet>,
        mut events: Vec<Happening>,
        grace: Micros,
    ) -> Outcome {
        let mut engine = Engine::new(rules, grace);
        let mut sizes = self.batches.iter().cycle();
        let mut between = self.between.iter().cycle();
        while !events.is_empty() {
            let size = (*sizes.next().unwrap()).min(events.len());
            let batch: Vec<Happening> = events.drain(..size).collect();
            engine.feed(&batch);
            match between.next().unwrap() {
                Between::Nothing => {}
                Between::Tick => engine.tick(),
                Between::Restart => engine.restart(),
            }
        }
        engine.finish()
    }
}

/// Each event arrives when it happens.
pub(super) fn in_time(events: &mut [Happening]) {
    for event in events {
        event.delay = 0;
    }
}

/// What order of arrival must not change: who alerts, from when to when, up to which number. An event
/// that arrives behind others may join two episodes that were told of as one.
pub(super) fn outlines(episodes: &[Episode]) -> BTreeMap<Vec<String>, Episode> {
    let mut outlines: BTreeMap<Vec<String>, Episode> = BTreeMap::new();
    for episode in episodes {
        let outline = outlines.entry(episode.key.clone()).or_insert_with(|| episode.clone());
        outline.first = outline.first.min(episode.first);
        outline.last = outline.last.max(episode.last);
        outline.value = outline.value.max(episode.value);
        outline.ends = outline.ends.max(episode.ends);
    }
    outlines
}

/// What order of arrival means for a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Nothing.
    Free,
    /// A window that is not complete yet may pass, and does so at once: more may fire.
    AtLeast,
    /// What passes depends on what came first: windows that grow, of kinds that later events can make
    /// less true, and sessions that are cut at their greatest length.
    Matters,
}

fn order(rule: &Rule) -> Order {
    let cut = matches!(rule.shape, Shape::Session { .. }) && rule.span < LONG;
    match (model::decides_at_once(rule), rule.kind.is_monotone(), rule.shape) {
        (false, ..) => Order::Free,
        (true, true, _) => {
            if cut {
                Order::Matters
            } else {
                Order::Free
            }
        }
        (true, false, Shape::Usual) => Order::AtLeast,
        (true, false, _) => Order::Matters,
    }
}

/// Longer than any case.
const LONG: Micros = 600 * SECOND;

const NOTHING: &[Between] = &[Between::Nothing];
pub(super) const TICKS: &[Between] = &[Between::Nothing, Between::Tick];
pub(super) const ANYTHING: &[Between] = &[Between::Nothing, Between::Tick, Between::Restart];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn alerts_are_those_of_the_model(
        mut case in case(),
        arrival in arrival(TICKS),
        grace in prop::sample::select(&[0, GRACE][..]),
    ) {
        in_time(&mut case.events);
        let found = arrival.play(&case, grace).episodes("correlation");
        let mut wanted = model::episodes(&case);
        sort(&mut wanted);
        prop_assert_eq!(found, wanted, "{}\n{:#?}", case.rule.yaml(), case.events);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn order_of_arrival_within_grace_changes_nothing(
        mut case in case(),
        arrival in arrival(NOTHING),
    ) {
        case.rule.suppress = None;
        if model::decides_at_once(&case.rule) {
            if matches!(case.rule.shape, Shape::Session { .. }) {
                case.rule.span = LONG;
            }
            if !case.rule.kind.is_monotone() {
                // Of events of one moment any may be the first to pass.
                for (event, micros) in case.events.iter_mut().zip(0..) {
                    event.at += micros;
                }
            }
        }
        let found = outlines(&arrival.play(&case, GRACE).episodes("correlation"));
        let wanted = outlines(&model::episodes(&case));
        match order(&case.rule) {
            Order::Free => {
                prop_assert_eq!(found, wanted, "{}\n{:#?}", case.rule.yaml(), case.events);
            }
            Order::AtLeast => {
                let missed: Vec<_> = wanted.keys().filter(|key| !found.contains_key(*key)).collect();
                prop_assert!(missed.is_empty(), "{missed:?} {case:#?}");
            }
            Order::Matters => {}
        }
    }

    #[test]
    fn restarts_and_spurious_timers_change_nothing(case in case(), arrival in arrival(ANYTHING)) {
        let quiet = Arrival { between: vec![Between::Nothing], ..arrival.clone() };
        let (wanted, found) = (quiet.play(&case, GRACE), arrival.play(&case, GRACE));
        prop_assert_eq!(found.alerts, wanted.alerts, "{}", case.rule.yaml());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn chains_are_those_of_the_model(
        chain in chain(),
        mut events in events(24),
        arrival in arrival(TICKS),
        grace in prop::sample::select(&[0, GRACE][..]),
    ) {
        in_time(&mut events);
        let mut wanted = model::chained(&chain, &events);
        sort(&mut wanted);
        let found = arrival.feed(&chain.yaml(), events.clone(), grace).episodes("correlation");
        if model::decides_at_once(&chain.inner) {
            prop_assert_eq!(found, wanted, "{}\n{:#?}", chain.yaml(), events);
        } else if order(&chain.outer) == Order::Free && chain.outer.suppress.is_none() {
            // What the inner rule finds at the end of a window comes behind later events.
            prop_assert_eq!(outlines(&found), outlines(&wanted), "{}\n{:#?}", chain.yaml(), events);
        }
    }

    #[test]
    fn a_request_counts_once(
        mut case in case(),
        again in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..8),
    ) {
        in_time(&mut case.events);
        let mut events = case.events.clone();
        for (from, to) in again.iter().filter(|_| !case.events.is_empty()) {
            // Somewhere behind the first of them.
            let event = from.get(&case.events);
            let first = events.iter().position(|known| known.id == event.id).unwrap();
            let at = first + 1 + to.index(events.len() - first);
            events.insert(at, event.clone());
        }
        let one_by_one = Arrival { batches: vec![1], between: vec![Between::Nothing] };
        let outcome = one_by_one.feed(&case.rule.yaml(), events.clone(), GRACE);
        let mut wanted = model::episodes(&case);
        sort(&mut wanted);
        prop_assert_eq!(outcome.episodes("correlation"), wanted, "{}\n{:#?}", case.rule.yaml(), events);
        let duplicates = u64::try_from(events.len() - case.events.len()).unwrap();
        prop_assert_eq!(outcome.counts.duplicates, duplicates);
    }

    #[test]
    fn what_is_late_counts_where_a_window_is_open(mut case in case()) {
        case.rule.suppress = None;
        for event in &mut case.events {
            event.delay *= 3;
        }
        case.events.sort_by_key(|event| event.at + event.delay);
        let arrived = model::arrived(&case.events, GRACE);
        let one_by_one = Arrival { batches: vec![1], between: vec![Between::Nothing] };
        let outcome = one_by_one.feed(&case.rule.yaml(), case.events.clone(), GRACE);
        let late = arrived.iter().filter(|(event, watermark)| event.at < *watermark).count();
        prop_assert_eq!(outcome.counts.events_late, u64::try_from(late).unwrap());

        let found = outlines(&outcome.episodes("correlation"));
        let with = |events: Vec<Happening>| {
            outlines(&model::episodes(&Case { rule: case.rule.clone(), events }))
        };
        let at_once = model::decides_at_once(&case.rule);
        let tumbling = !model::is_temporal(&case.rule.kind) && case.rule.shape == Shape::Usual
            || case.rule.shape == Shape::Tumbling;
        if !at_once && tumbling {
            let open = arrived
                .iter()
                .filter(|(event, watermark)| model::window_end(event.at, &case.rule) > *watermark);
            let wanted = with(open.map(|(event, _)| event.clone()).collect());
            prop_assert_eq!(found, wanted, "{}\n{:#?}", case.rule.yaml(), case.events);
        } else if at_once && order(&case.rule) == Order::Free {
            // At least what is not late counts, and at most everything.
            let in_time = arrived.iter().filter(|(event, watermark)| event.at >= *watermark);
            let (least, most) =
                (with(in_time.map(|(event, _)| event.clone()).collect()), with(case.events.clone()));
            prop_assert!(least.keys().all(|key| found.contains_key(key)), "{case:#?}");
            prop_assert!(found.keys().all(|key| most.contains_key(key)), "{case:#?}");
        }
    }
}
