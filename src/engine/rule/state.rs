//! The kinds of state that Sigma has no word for: `first_seen`, `spike`, `absence`, `rarity`.
//!
//! They stand on a detection rule, which is then compiled to two rules: a hidden detection rule that
//! alerts on nothing, and a correlation over it that carries the rule's name. Without Tripline the file
//! is still the plain Sigma rule.

use std::time::Duration;

use super::{
    code,
    extension::required_texts,
    read::{Text, texts, timespan},
};
use crate::engine::{diagnostic::Diagnostic, yaml::Section};

/// One of the kinds, as it is written.
#[derive(Debug)]
pub(super) struct StateSyntax {
    /// What it looks for.
    pub(super) kind: StateKind,
    /// Length of its window or history.
    pub(super) timespan: Duration,
    /// The fields that it looks at (`of`); empty for kinds that count events.
    pub(super) of: Vec<Text>,
}

/// What is looked for.
#[derive(Debug)]
pub(super) enum StateKind {
    /// See [`super::CorrelationKind::FirstSeen`].
    FirstSeen {
        /// `history`
        history: Duration,
        /// `learn`
        learn: Duration,
    },
    /// See [`super::CorrelationKind::Spike`].
    Spike {
        /// `baseline.of`
        baseline: Duration,
        /// `baseline.season: hour-of-week`
        hour_of_week: bool,
        /// `factor`
        factor: f64,
        /// `min`
        at_least: f64,
    },
    /// See [`super::CorrelationKind::Absence`].
    Absence {
        /// `list:name`, or values.
        expect: Expect,
    },
    /// See [`super::CorrelationKind::Rarity`].
    Rarity {
        /// `history`
        history: Duration,
        /// `max_share`
        max_share: f64,
    },
}

/// Which groups an `absence` expects.
#[derive(Debug)]
pub(super) enum Expect {
    /// Whoever was ever seen.
    Seen,
    /// The entries of a list.
    List(Text),
    /// These.
    Values(Vec<Text>),
}

/// An entry of the table of kinds.
pub(super) struct StateEntry {
    /// The key under `tripline:`.
    pub(super) name: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    /// Reads its mapping; `group-by` may stand inside it or beside it.
    pub(super) read: fn(&Section<'_>, &mut Option<Vec<Text>>) -> Option<StateSyntax>,
}

/// Every kind; sorted.
pub(super) const STATES: &[StateEntry] = &[
    StateEntry {
        name: "absence",
        summary: "Nothing came for `timespan` from a group that is expected.",
        read: absence,
    },
    StateEntry {
        name: "first_seen",
        summary: "A combination of values that was not seen for `history`, after `learn`.",
        read: first_seen,
    },
    StateEntry {
        name: "rarity",
        summary: "A value that makes up at most `max_share` of its group's events in `history`.",
        read: rarity,
    },
    StateEntry {
        name: "spike",
        summary: "`factor` times more events in `timespan` than the group's own baseline.",
        read: spike,
    },
];

const HISTORY_DEFAULT: Duration = Duration::from_secs(30 * 86_400);
const LEARN_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
const BASELINE_DEFAULT: Duration = Duration::from_secs(14 * 86_400);

/// `group-by` inside the mapping; beside it is taken already, and both is a contradiction.
fn inner_group_by(section: &Section<'_>, group_by: &mut Option<Vec<Text>>) {
    let Some(inner) = texts(section, "group-by") else { return };
    if group_by.is_some() {
        let place = section.place_of_key("group-by");
        let title = "`group-by` is given twice";
        section.report(
            Diagnostic::error(code::TWICE, place, title).help("keep the one in this mapping"),
        );
    }
    *group_by = Some(inner);
}

fn number(section: &Section<'_>, key: &str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
    let number = section.number(key)?;
    if range.contains(&number) {
        return Some(number);
    }
    let title = format!("{} is {number}", section.path_of(key));
    section.invalid(key, title, format!("it may be {} to {}", range.start(), range.end()));
    None
}

fn first_seen(section: &Section<'_>, group_by: &mut Option<Vec<Text>>) -> Option<StateSyntax> {
    inner_group_by(section, group_by);
    let of =
        required_texts(section, "of", "the fields whose combination is new: `of: [userAgent]`");
    let history = timespan(section, "history").unwrap_or(HISTORY_DEFAULT);
    let learn = timespan(section, "learn").unwrap_or(LEARN_DEFAULT.min(history));
    if learn > history {
        section.invalid("learn", "learning takes longer than the memory lasts", "shorten `learn`");
    }
    let kind = StateKind::FirstSeen { history, learn };
    (!of.is_empty()).then_some(StateSyntax { kind, timespan: history, of })
}

fn spike(section: &Section<'_>, group_by: &mut Option<Vec<Text>>) -> Option<StateSyntax> {
    inner_group_by(section, group_by);
    let window = timespan(section, "timespan");
    if !section.has("timespan") {
        section.missing("timespan", "how long a spike is counted: `timespan: 10m`");
    }
    let (mut baseline, mut hour_of_week) = (BASELINE_DEFAULT, false);
    if let Some(inner) = section.section("baseline") {
        baseline = timespan(&inner, "of").unwrap_or(BASELINE_DEFAULT);
        hour_of_week =
            inner.one_of("season", &[("hour-of-week", true), ("none", false)]).unwrap_or(false);
        inner.finish();
    }
    let factor = number(section, "factor", 1.0..=1e6).unwrap_or(5.0);
    let at_least = number(section, "min", 1.0..=1e6).unwrap_or(10.0);
    let window = window?;
    if baseline < window * 2 {
        let title = "the baseline must be at least twice as long as `timespan`";
        section.invalid("baseline", title, "lengthen `baseline.of`");
    }
    let kind = StateKind::Spike { baseline, hour_of_week, factor, at_least };
    Some(StateSyntax { kind, timespan: window, of: Vec::new() })
}

fn absence(section: &Section<'_>, group_by: &mut Option<Vec<Text>>) -> Option<StateSyntax> {
    inner_group_by(section, group_by);
    let window = timespan(section, "timespan");
    if !section.has("timespan") {
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
    Some(StateSyntax { kind: StateKind::Absence { expect }, timespan: window?, of: Vec::new() })
}

fn rarity(section: &Section<'_>, group_by: &mut Option<Vec<Text>>) -> Option<StateSyntax> {
    inner_group_by(section, group_by);
    let of = required_texts(section, "of", "the fields whose values are rare: `of: [userAgent]`");
    let history = timespan(section, "history").unwrap_or(HISTORY_DEFAULT);
    let max_share = number(section, "max_share", 0.0..=1.0).unwrap_or(0.01);
    let kind = StateKind::Rarity { history, max_share };
    (!of.is_empty()).then_some(StateSyntax { kind, timespan: history, of })
}
