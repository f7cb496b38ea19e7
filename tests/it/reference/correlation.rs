//! Properties of correlations.

use proptest::{collection::vec, prelude::*, test_runner::TestCaseError};

use super::{
    case::{Case, Happening, Micros, SECOND, Shape, case},
    engine::{Engine, Outcome, rules, sort},
    model::{self, Episode},
};

const GRACE: Micros = 30 * SECOND;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn expected(case: &Case) -> Vec<Episode> {
    let mut episodes = model::episodes(case);
    sort(&mut episodes);
    episodes
}

/// Events one by one as they happened.
fn in_order(case: &Case, grace: Micros) -> Outcome {
    let mut engine = Engine::new(&rules(&case.rule.yaml()), grace);
    for event in &case.events {
        engine.feed(std::slice::from_ref(event));
    }
    engine.finish()
}

/// How a stream arrives: each event so much later than it happened, in batches, with something
/// behind each of them.
#[derive(Clone, Debug)]
struct Arrival {
    delays: Vec<Micros>,
    /// Events in a batch, again and again.
    batches: Vec<usize>,
    /// What is done behind a batch, again and again.
    between: Vec<Between>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    Nothing,
    Tick,
    Restart,
}

fn arrival(between: &'static [Between]) -> impl Strategy<Value = Arrival> {
    // No event is late: at its arrival nothing that happened more than grace after it has arrived.
    let delay = prop_oneof![Just(0), Just(GRACE), 0..=GRACE];
    let between = vec(prop::sample::select(between), 1..6);
    (vec(delay, 24), vec(1..5_usize, 1..6), between)
        .prop_map(|(delays, batches, between)| Arrival { delays, batches, between })
}

impl Arrival {
    fn play(&self, case: &Case) -> Outcome {
        let mut events: Vec<(Micros, &Happening)> = case
            .events
            .iter()
            .zip(&self.delays)
            .map(|(event, delay)| (event.at + delay, event))
            .collect();
        events.sort_by_key(|(arrives, _)| *arrives);
        let mut events: Vec<Happening> =
            events.into_iter().map(|(_, event)| event.clone()).collect();
        let mut engine = Engine::new(&rules(&case.rule.yaml()), GRACE);
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

fn same(case: &Case, found: &[Episode], wanted: &[Episode]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found, wanted, "{}\n{:#?}", case.rule.yaml(), case.events);
    Ok(())
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn alerts_are_those_of_the_model(case in case(), grace in prop::sample::select(&[0, GRACE][..])) {
        same(&case, &in_order(&case, grace).episodes("correlation"), &expected(&case))?;
    }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn order_of_arrival_within_grace_changes_nothing(
        mut case in case(),
        arrival in arrival(&[Between::Nothing]),
    ) {
        let at_once = model::decides_at_once(&case.rule.kind);
        if at_once && matches!(case.rule.shape, Shape::Session { .. }) {
            // Where a long session is cut depends on its first event, which may come last.
            case.rule.span = 600 * SECOND;
        }
        let found = arrival.play(&case).episodes("correlation");
        if at_once && !case.rule.kind.is_monotone() {
            // A window that is not complete yet may pass, and does so at once: more may fire.
            let keys = |episodes: &[Episode]| -> Vec<Vec<String>> {
                episodes.iter().map(|episode| episode.key.clone()).collect()
            };
            let found = keys(&found);
            for key in keys(&expected(&case)) {
                prop_assert!(found.contains(&key), "{key:?} {case:#?}");
            }
        } else {
            same(&case, &found, &expected(&case))?;
        }
    }

    #[test]
    fn restarts_and_spurious_timers_change_nothing(
        case in case(),
        arrival in arrival(&[Between::Nothing, Between::Tick, Between::Restart]),
    ) {
        let quiet = Arrival { between: vec![Between::Nothing], ..arrival.clone() };
        let (wanted, found) = (quiet.play(&case), arrival.play(&case));
        prop_assert_eq!(found.alerts, wanted.alerts, "{}", case.rule.yaml());
    }
}
