//! What rules find whose values are too many to be kept: held against exact counts of the same rule.

use super::*;
use crate::engine::{
    kind::{Captures, Kind, StateKey, measured, value_count::ValueCount},
    syntax::threshold::Comparison,
};

fn threshold(comparison: Comparison, compared: f64) -> Threshold {
    Threshold { comparisons: vec![(comparison, compared)] }
}

fn frame(seconds: u64, window: WindowShape) -> Frame {
    Frame { timespan: Duration::from_secs(seconds), window }
}

fn at(seconds: i64) -> EventTime {
    EventTime::from_micros(seconds * 1_000_000)
}

fn key() -> CorrelationKey {
    [Arc::from("eve")].into()
}

fn handle(
    state: &mut dyn RuleState,
    time: EventTime,
    value: u64,
    watermark: EventTime,
) -> (Taken, Vec<Hit>) {
    let name = format!("secret-{value}");
    let captured: Arc<[Captured]> = [Captured::One(name.as_str().into())].into();
    let values = [name.as_str()];
    let sample = Sample { time, claimed: None, input: 0, values: &values, fields: 1, captured };
    let mut out = Vec::new();
    let taken = state.handle(key(), sample, Some(watermark), &mut out);
    (taken, out)
}

/// Numbers that look like chance.
fn below(random: &mut u64, most: u64) -> u64 {
    *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    (*random >> 33) % most
}

/// As long as values are few, windows that stand apart find what exact counts find, with the same evidence.
#[test]
fn few_values_are_counted_exactly() {
    let session = WindowShape::Session { gap: Duration::from_secs(20) };
    for window in [WindowShape::Tumbling, session, WindowShape::Sliding] {
        for comparison in [Comparison::GreaterOrEqual, Comparison::Less, Comparison::Equal] {
            if window == WindowShape::Sliding && comparison == Comparison::GreaterOrEqual {
                continue;
            }
            let (threshold, frame) = (threshold(comparison, 4.0), frame(60, window));
            let mut told = fresh_distinct(&threshold, frame);
            let mut exact = measured::fresh_exact(ValueCount, &threshold, frame);
            let mut random = 11;
            let mut now = 0;
            for _ in 0..3_000 {
                now += i64::try_from(below(&mut random, 14)).unwrap();
                let value = below(&mut random, 7);
                let watermark = at(now - 5);
                let found = handle(&mut *told, at(now), value, watermark);
                let wanted = handle(&mut *exact, at(now), value, watermark);
                assert_eq!(found.0, wanted.0);
                let (mut found, mut wanted) = (found.1, wanted.1);
                told.advance(watermark, &mut found);
                exact.advance(watermark, &mut wanted);
                // Names are of values that were new in some window.
                found.iter_mut().chain(&mut wanted).for_each(|hit| hit.values.clear());
                assert_eq!(found, wanted, "{window:?} {comparison:?} at {now}");
            }
        }
    }
}

/// Feeds so many different values, one each half second; when it first holds, and the last hit.
fn first_hit(state: &mut dyn RuleState, values: u64) -> Option<(u64, Hit)> {
    let (mut first, mut last) = (None, None);
    for value in 0..values {
        let time = EventTime::from_micros(i64::try_from(value).unwrap() * 500_000);
        let (_, found) = handle(state, time, value, time.minus(Duration::from_secs(30)));
        if let Some(hit) = found.into_iter().last() {
            first.get_or_insert(value + 1);
            last = Some(hit);
        }
    }
    Some((first?, last?))
}

#[test]
fn a_rule_holds_within_a_hundredth_of_its_threshold() {
    let threshold = threshold(Comparison::GreaterOrEqual, 20_000.0);
    let mut state = fresh_distinct(&threshold, frame(12_000, WindowShape::Sliding));
    let (first, hit) = first_hit(&mut *state, 23_000).unwrap();
    assert!((19_800..=20_200).contains(&first), "{first}");
    assert!((22_770.0..=23_230.0).contains(&hit.value), "{hit:?}");
    assert_eq!((hit.first, hit.values.len()), (at(0), NAMES_MAX));
    assert_eq!(hit.captured.len(), 1, "what the event carried");
    let mut few = fresh_distinct(&threshold, frame(9_000, WindowShape::Sliding));
    assert!(first_hit(&mut *few, 23_000).is_none(), "18,000 in a window are too few");
}

#[test]
fn values_that_come_again_do_not_count_again() {
    let threshold = threshold(Comparison::GreaterOrEqual, 10_001.0);
    for window in [WindowShape::Sliding, WindowShape::Tumbling] {
        let mut state = fresh_distinct(&threshold, frame(86_400, window));
        for number in 0..60_000_u64 {
            let time = EventTime::from_micros(i64::try_from(number).unwrap() * 1_000_000);
            let (_, found) = handle(&mut *state, time, number % 9_800, time);
            assert!(found.is_empty(), "{found:?}");
        }
    }
}

#[test]
fn a_key_takes_64_kib_at_most_and_little_while_it_has_few_values() {
    for window in [WindowShape::Sliding, WindowShape::Tumbling] {
        let threshold = threshold(Comparison::GreaterOrEqual, 1_000_000.0);
        let mut state = fresh_distinct(&threshold, frame(3_600, window));
        let mut most = 0;
        for number in 0..120_000_u64 {
            let time = EventTime::from_micros(i64::try_from(number).unwrap() * 60_000);
            handle(&mut *state, time, number, time.minus(Duration::from_secs(120)));
            most = most.max(state.bytes());
            if number == 9 {
                assert!(most <= 1_500, "{most}");
            }
        }
        assert!((50 << 10..=64 << 10).contains(&most), "{most}");
        let mut out = Vec::new();
        state.advance(EventTime::MAX, &mut out);
        assert_eq!((state.bytes(), state.key_count(), out.len()), (0, 0, 0));
    }
}

/// A process that was restarted at any time goes on as one that never stopped.
#[test]
fn state_is_restored_as_it_was() {
    let threshold = threshold(Comparison::GreaterOrEqual, 10_001.0);
    for window in [WindowShape::Sliding, WindowShape::Tumbling] {
        let frame = frame(6_000, window);
        let mut state = fresh_distinct(&threshold, frame);
        let mut other = fresh_distinct(&threshold, frame);
        let mut random = 5;
        for number in 0..30_000_u64 {
            let late = i64::try_from(below(&mut random, 20_000_000)).unwrap();
            let time = i64::try_from(number).unwrap() * 400_000 - late;
            let time = EventTime::from_micros(time.max(0));
            let watermark = time.minus(Duration::from_secs(60));
            let found = handle(&mut *state, time, number, watermark);
            assert_eq!(found, handle(&mut *other, time, number, watermark), "{number}");
            assert_eq!(state.bytes(), other.bytes());
            if number % 1_499 == 0 {
                let (mut changed, mut again) = (Vec::new(), Vec::new());
                other.take_changed(&mut changed);
                other = fresh_distinct(&threshold, frame);
                for (name, bytes) in &changed {
                    let bytes = bytes.as_ref().unwrap();
                    assert!(bytes.len() <= 64 << 10, "{}", bytes.len());
                    other.restore(name.clone(), bytes, Captures::Same).unwrap();
                    // What is cut off is an error, and never a window.
                    let mut cut = fresh_distinct(&threshold, frame);
                    let half = &bytes[..bytes.len() / 2];
                    assert!(cut.restore(name.clone(), half, Captures::Same).is_none());
                }
                state.take_changed(&mut again);
                assert_eq!(changed, again, "it is stored as it was");
                assert_eq!(changed[0].0, StateKey { table: 0, key: key() });
            }
        }
    }
}

#[test]
fn only_so_many_windows_are_open_at_once() {
    let threshold = threshold(Comparison::Less, 20_000.0);
    let mut state = fresh_distinct(&threshold, frame(60, WindowShape::Tumbling));
    for minute in 0..8 {
        handle(&mut *state, at(minute * 60 + 1), 7, EventTime::MIN);
    }
    assert_eq!(state.take_losses().window_events_dropped, 2);
    assert_eq!(handle(&mut *state, at(1), 7, EventTime::MIN).0, Taken::Counted);
    assert_eq!(state.take_losses().window_events_dropped, 1, "it is behind all of them");
    let mut out = Vec::new();
    state.advance(at(8 * 60), &mut out);
    let times: Vec<EventTime> = out.iter().map(|hit| hit.time).collect();
    assert_eq!(times, (3..=8).map(|minute| at(minute * 60)).collect::<Vec<_>>());
    assert_eq!(handle(&mut *state, at(1), 7, at(8 * 60)).0, Taken::TooLate);
}

#[test]
fn ten_thousand_are_counted_and_more_are_estimated() {
    let says = |compared: f64| {
        let kind = measured::with(ValueCount, threshold(Comparison::GreaterOrEqual, compared));
        let frame = frame(600, WindowShape::Sliding);
        (kind.describe(&frame), kind.state_parameters(&frame))
    };
    assert_eq!(says(10_000.0), ("≥ 10000 different values in 10m".into(), String::new()));
    assert_eq!(
        says(10_001.0),
        (
            "≥ 10001 different values in 10m, estimated to about 1 %".into(),
            "values in cells, 64 of 64, at once".into()
        )
    );
    assert_eq!(says(1_000_000.0).1, "values in cells, 6 of 64, at once");
}
