//! What a window of events comes to, for each kind that is decided by one window.

use super::window::Window;
use crate::engine::rule::{CorrelationKind, TemporalCondition, Threshold};

/// What looking at one window gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Whether the condition holds.
    pub(super) holds: bool,
    /// The number that people are shown.
    pub(super) value: f64,
}

/// Looks at entries `start..end` of a window.
pub(super) fn evaluate(
    kind: &CorrelationKind,
    inputs: usize,
    window: &mut Window,
    start: usize,
    end: usize,
) -> Verdict {
    let by = |threshold: &Threshold, value: f64| Verdict { holds: threshold.holds(value), value };
    match kind {
        CorrelationKind::EventCount(threshold) => by(threshold, number(end - start)),
        CorrelationKind::ValueCount(threshold) => {
            by(threshold, number(window.distinct(start, end)))
        }
        CorrelationKind::ValueSum(threshold) => by(threshold, sum(window, start, end)),
        CorrelationKind::ValueAvg(threshold) => {
            by(threshold, sum(window, start, end) / number(end - start).max(1.0))
        }
        CorrelationKind::ValueMedian(threshold) => {
            by(threshold, percentile(window, start, end, 50.0))
        }
        CorrelationKind::ValuePercentile(share, threshold) => {
            by(threshold, percentile(window, start, end, *share))
        }
        CorrelationKind::Temporal(condition) => {
            let mut seen = vec![false; inputs];
            for entry in window.range(start, end) {
                if let Some(seen) = seen.get_mut(usize::from(entry.input)) {
                    *seen = true;
                }
            }
            let value = number(seen.iter().filter(|seen| **seen).count());
            Verdict { holds: holds(condition, &seen, value), value }
        }
        CorrelationKind::TemporalOrdered(condition) => {
            let order = order(condition, inputs);
            let mut reached = 0;
            let mut seen = vec![false; inputs];
            for entry in window.range(start, end) {
                let input = usize::from(entry.input);
                if order.get(reached) == Some(&input) {
                    reached += 1;
                }
                if let Some(seen) = seen.get_mut(input) {
                    *seen = true;
                }
            }
            let value = number(reached);
            let in_order = match condition {
                TemporalCondition::Count(threshold) => threshold.holds(value),
                _ => reached == order.len() && holds(condition, &seen, value),
            };
            Verdict { holds: in_order, value }
        }
        CorrelationKind::FirstSeen { .. }
        | CorrelationKind::Spike { .. }
        | CorrelationKind::Absence { .. }
        | CorrelationKind::Rarity { .. } => Verdict { holds: false, value: 0.0 },
    }
}

/// Whether a kind can be decided the moment an event comes: more events can only make it more true.
pub(super) fn fires_at_once(kind: &CorrelationKind) -> bool {
    match kind {
        CorrelationKind::EventCount(threshold)
        | CorrelationKind::ValueCount(threshold)
        | CorrelationKind::ValueSum(threshold)
        | CorrelationKind::ValueAvg(threshold)
        | CorrelationKind::ValuePercentile(_, threshold)
        | CorrelationKind::ValueMedian(threshold) => threshold.fires_at_once(),
        CorrelationKind::Temporal(condition) | CorrelationKind::TemporalOrdered(condition) => {
            is_monotone(condition)
        }
        CorrelationKind::FirstSeen { .. }
        | CorrelationKind::Spike { .. }
        | CorrelationKind::Absence { .. }
        | CorrelationKind::Rarity { .. } => true,
    }
}

fn is_monotone(condition: &TemporalCondition) -> bool {
    match condition {
        TemporalCondition::Count(threshold) => threshold.fires_at_once(),
        TemporalCondition::Seen(_) => true,
        TemporalCondition::Not(_) => false,
        TemporalCondition::All(parts) | TemporalCondition::Any(parts) => {
            parts.iter().all(is_monotone)
        }
    }
}

fn holds(condition: &TemporalCondition, seen: &[bool], count: f64) -> bool {
    match condition {
        TemporalCondition::Count(threshold) => threshold.holds(count),
        TemporalCondition::Seen(input) => seen.get(*input).copied().unwrap_or(false),
        TemporalCondition::Not(inner) => !holds(inner, seen, count),
        TemporalCondition::All(parts) => parts.iter().all(|part| holds(part, seen, count)),
        TemporalCondition::Any(parts) => parts.iter().any(|part| holds(part, seen, count)),
    }
}

/// The inputs that must come one after the other: all of them, or those that a boolean condition asks
/// to be seen.
fn order(condition: &TemporalCondition, inputs: usize) -> Vec<usize> {
    fn wanted(condition: &TemporalCondition, out: &mut Vec<usize>) {
        match condition {
            TemporalCondition::Seen(input) => out.push(*input),
            TemporalCondition::All(parts) => parts.iter().for_each(|part| wanted(part, out)),
            TemporalCondition::Count(_) | TemporalCondition::Not(_) | TemporalCondition::Any(_) => {
            }
        }
    }
    if matches!(condition, TemporalCondition::Count(_)) {
        return (0..inputs).collect();
    }
    let mut order = Vec::new();
    wanted(condition, &mut order);
    order.sort_unstable();
    order.dedup();
    order
}

fn sum(window: &Window, start: usize, end: usize) -> f64 {
    window.range(start, end).map(|entry| entry.number).sum()
}

/// Nearest-rank percentile; 0 of an empty window.
fn percentile(window: &Window, start: usize, end: usize, share: f64) -> f64 {
    let mut numbers: Vec<f64> = window.range(start, end).map(|entry| entry.number).collect();
    numbers.sort_by(f64::total_cmp);
    let rank = (share / 100.0 * number(numbers.len())).ceil().max(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank between 1 and the length"
    )]
    let index = (rank as usize).min(numbers.len()).saturating_sub(1);
    numbers.get(index).copied().unwrap_or(0.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(super) const fn number(count: usize) -> f64 {
    count as f64
}
