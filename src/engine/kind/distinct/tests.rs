//! What rules find whose values are too many to be kept: held against exact counts of the same rule.

use super::*;
use crate::engine::{
    kind::{Captures, Kind, Losses, StateKey, measured, value_count::ValueCount},
    syntax::threshold::Comparison,
};

fn threshold(comparison: Comparison, compared: f64) -> Threshold {
    Threshold { comparisons: vec![(comparison, compared)] }
}

/// State of a rule that compares with nothing else.
fn fresh_distinct(threshold: &Threshold, frame: Frame) -> Box<dyn RuleState> {
    let compared = threshold.greatest();
    super::fresh_distinct(threshold, (compared, compared), frame)
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
fn windows_that_are_not_told_apart_any_more_are_decided_by_their_number() {
    let session = WindowShape::Session { gap: Duration::from_secs(30) };
    for window in [WindowShape::Tumbling, session] {
        let threshold = threshold(Comparison::Less, 20_000.0);
        let mut state = fresh_distinct(&threshold, frame(60, window));
        for minute in 0..20 {
            for value in 0..7 {
                handle(&mut *state, at(minute * 60 + 1), value, EventTime::MIN);
            }
        }
        assert_eq!(state.take_losses(), Losses::default(), "nothing was lost");
        // Of six windows it is known which values they have, of others only how many.
        handle(&mut *state, at(19 * 60 + 1), 99, EventTime::MIN);
        handle(&mut *state, at(14 * 60 + 1), 99, EventTime::MIN);
        assert_eq!(state.take_losses(), Losses::default());
        handle(&mut *state, at(13 * 60 + 1), 99, EventTime::MIN);
        assert_eq!(state.take_losses().window_events_dropped, 1);
        let mut changed = Vec::new();
        state.take_changed(&mut changed);
        let mut again = fresh_distinct(&threshold, frame(60, window));
        let bytes = changed[0].1.as_ref().unwrap();
        again.restore(changed[0].0.clone(), bytes, Captures::Same).unwrap();
        for mut state in [state, again] {
            let mut out = Vec::new();
            state.advance(at(20 * 60), &mut out);
            let values: Vec<f64> = out.iter().map(|hit| hit.value).collect();
            let mut exact = [7.0; 20];
            (exact[14], exact[19]) = (8.0, 8.0);
            assert_eq!(values, exact, "{window:?}");
            assert!(out.iter().all(|hit| hit.captured_at == hit.last));
            assert_eq!(state.bytes(), 0);
        }
    }
}

#[test]
fn only_so_many_windows_are_open_at_once() {
    let threshold = threshold(Comparison::Less, 20_000.0);
    let mut state = fresh_distinct(&threshold, frame(60, WindowShape::Tumbling));
    for minute in 0..130 {
        handle(&mut *state, at(minute * 60 + 1), 7, EventTime::MIN);
    }
    assert_eq!(state.take_losses().window_events_dropped, 2);
    let mut out = Vec::new();
    state.advance(at(130 * 60), &mut out);
    assert_eq!(out.len(), apart::SPANS_MAX);
    assert_eq!(handle(&mut *state, at(1), 7, at(130 * 60)).0, Taken::TooLate);
}

/// Events of different values, each with when it happened, in the order in which they come; and how late they are
/// at most, in seconds.
fn in_some_order(seed: u64, count: u64, span: u64, grace: u64) -> Vec<(i64, u64)> {
    let mut random = seed;
    let (mut now, mut all) = (0, Vec::new());
    for value in 0..count {
        let apart = if below(&mut random, 300) == 0 { span * 1_000_000 / 4 } else { 40_000 };
        now += i64::try_from(below(&mut random, apart)).unwrap();
        let comes = now + i64::try_from(below(&mut random, grace * 1_000_000)).unwrap();
        all.push((comes, now, value));
    }
    all.sort_unstable();
    all.into_iter().map(|(_, time, value)| (time, value)).collect()
}

/// Whatever comes in which order within grace: what an exact count finds beyond the error of an estimate is found, and
/// what is found an exact count has nearly.
#[test]
fn order_within_grace_does_not_decide() {
    let (span, grace) = (60, 40);
    for seed in 0..60 {
        for compared in [300.0, 1_000.0] {
            let events = in_some_order(seed, 2_500, span, grace);
            let threshold = threshold(Comparison::GreaterOrEqual, compared);
            let mut told = fresh_distinct(&threshold, frame(span, WindowShape::Sliding));
            let mut greatest = 0.0_f64;
            let mut newest = 0;
            for (time, value) in &events {
                newest = newest.max(*time);
                let watermark = EventTime::from_micros(newest).minus(Duration::from_secs(grace));
                let time = EventTime::from_micros(*time);
                for hit in handle(&mut *told, time, *value, watermark).1 {
                    greatest = greatest.max(hit.value);
                    assert_eq!(hit.captured_at, time);
                }
            }
            let mut times: Vec<i64> = events.iter().map(|(time, _)| *time).collect();
            times.sort_unstable();
            let windows = times.iter().enumerate().map(|(at, last)| {
                let before = last - i64::try_from(span).unwrap() * 1_000_000;
                at + 1 - times.partition_point(|time| *time <= before)
            });
            let exact = count(windows.max().unwrap());
            // Steps are as fine as the threshold asks for; what is far above it is told less exactly.
            if exact >= compared * 1.05 {
                assert!(greatest >= exact * 0.9, "{seed}: {greatest} for {exact}");
            }
            assert!(greatest <= (exact * 1.1).max(exact + 3.0), "{seed}: {greatest} for {exact}");
        }
    }
}

/// A window that is neither the one that ends with the event that came nor the last of all.
#[test]
fn windows_behind_a_late_value_are_looked_at() {
    let threshold = threshold(Comparison::GreaterOrEqual, 12_000.0);
    let mut state = fresh_distinct(&threshold, frame(600, WindowShape::Sliding));
    let mut found = Vec::new();
    let batches = [(10, 6_000), (605, 6_000), (620, 1), (600, 6_000)];
    for (number, (second, values)) in (0_u64..).zip(batches) {
        for value in 0..values {
            let time = at(second).plus(Duration::from_micros(10 * value));
            let value = number << 32 | value;
            found.extend(handle(&mut *state, time, value, EventTime::MIN).1);
        }
    }
    let begun = &found[0];
    assert!(begun.holds == Holds::Once && begun.last >= at(605), "{begun:?}");
    let value = found.iter().map(|hit| hit.value).fold(0.0, f64::max);
    assert!((17_800.0..=18_200.0).contains(&value), "{value}");
}

/// Where levels are far above the threshold both are told.
#[test]
fn few_are_told_exactly_where_many_are_compared_with_too() {
    let threshold = threshold(Comparison::GreaterOrEqual, 100.0);
    let frame = frame(12_000, WindowShape::Sliding);
    let mut state = super::fresh_distinct(&threshold, (100.0, 20_000.0), frame);
    let (first, hit) = first_hit(&mut *state, 22_000).unwrap();
    assert_eq!(first, 100);
    assert!((21_780.0..=22_220.0).contains(&hit.value), "{hit:?}");
    // Ninety-nine in each window, unevenly.
    let mut state = super::fresh_distinct(&threshold, (100.0, 20_000.0), frame);
    for value in 0..2_000_u64 {
        let time = i64::try_from(value / 99).unwrap() * 12_000 + i64::try_from(value % 99).unwrap();
        assert_eq!(handle(&mut *state, at(time), value, at(time)).1, [], "{value}");
    }
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

/// What is counted exactly is told from one more, by each comparison.
#[test]
fn ten_thousand_are_told_from_more() {
    let comparisons = [
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Equal,
        Comparison::NotEqual,
    ];
    for comparison in comparisons {
        for values in [9_999, 10_000, 10_001, 10_200] {
            let threshold = threshold(comparison, 10_000.0);
            let frame = frame(20_000, WindowShape::Tumbling);
            let kind = measured::with(ValueCount, threshold.clone());
            let mut state = Kind::fresh(&kind, frame);
            let mut found = Vec::new();
            for value in 0..values {
                found
                    .extend(handle(&mut *state, at(value), value.unsigned_abs(), EventTime::MIN).1);
            }
            state.advance(EventTime::MAX, &mut found);
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let holds = threshold.holds(values as f64);
            assert_eq!(!found.is_empty(), holds, "{comparison:?} of {values}");
        }
    }
}
