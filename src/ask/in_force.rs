//! Which rules were in force while the hours of a time were told, and so which accesses were recorded: of what no rule
//! recorded there is nothing, however complete the coverage is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::tz::TimeZone;

use super::{
    AskError, Params, Period,
    coverage::{self, Coverage},
    shown_time,
};
use crate::{
    archive::{ArchiveError, Reader, Turn, rules_before, turns},
    engine::{
        rule::{CLASSES, LoadOptions, RuleSet, SESSION, load},
        time::EventTime,
    },
};

/// Rule sets that are loaded for one time: 30. What further ones said is not known.
const SETS_MAX: usize = 30;

/// A rule set that was in force.
#[derive(Clone, Debug)]
pub struct SetThen {
    /// Its version.
    pub version: String,
    /// When it was put in force.
    pub since: EventTime,
    /// When another one was.
    pub until: Option<EventTime>,
    /// What it says; `None` if the ledger does not have all of its texts, or this version cannot read them.
    pub rules: Option<Arc<RuleSet>>,
}

/// The rule sets by which the hours of a time were read, as far as the ledger says.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// In the order in which they were put in force.
    pub sets: Vec<SetThen>,
    /// Hours are told, and the ledger does not say by which rules the first of them were read.
    lacks_first: bool,
}

impl InForce {
    /// Those of the hours that a coverage tells. Cost: three passes over what the ledger has of rules for each set, and
    /// loading it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn of(reader: &Reader, period: &Period, seen: &Coverage) -> Result<InForce, ArchiveError> {
        let Some((first, last)) = seen.told else { return Ok(InForce::default()) };
        let turns = turns(reader)?;
        // An hour is told when it is over: another set may have been in force while it was read.
        let by_row = turns.iter().rposition(|turn| turn.row < first);
        let by_time = turns.iter().rposition(|turn| turn.at <= period.from);
        let begin = by_row.min(by_time).or(by_row).unwrap_or(0);
        let lacks_first = by_row.is_none() && turns.first().is_none_or(|turn| !turn.is_still);
        let mut loaded: BTreeMap<&str, Option<Arc<RuleSet>>> = BTreeMap::new();
        let mut sets = Vec::new();
        let used = turns.iter().skip(begin).take_while(|turn| turn.row < last);
        for (place, turn) in (begin..).zip(used) {
            if !loaded.contains_key(turn.version.as_str()) && loaded.len() < SETS_MAX {
                loaded.insert(&turn.version, rules_of(reader, turn)?);
            }
            sets.push(SetThen {
                version: turn.version.clone(),
                since: turn.at,
                until: turns.get(place + 1).map(|next| next.at),
                rules: loaded.get(turn.version.as_str()).cloned().flatten(),
            });
        }
        Ok(InForce { sets, lacks_first })
    }

    /// Whether all of them are known.
    pub fn is_known(&self) -> bool {
        !self.lacks_first
            && !self.sets.is_empty()
            && self.sets.iter().all(|set| set.rules.is_some())
    }

    /// Of these classes, those that each of them recorded.
    pub fn recorded<'c>(&self, classes: &BTreeSet<&'c str>) -> BTreeSet<&'c str> {
        let mut recorded = if self.is_known() { classes.clone() } else { BTreeSet::new() };
        for rules in self.sets.iter().filter_map(|set| set.rules.as_ref()) {
            let known = rules.classes();
            recorded.retain(|class| known.contains(*class));
        }
        recorded
    }

    /// What a reader must know who finds nothing of these classes: a line for each rule set that did not record all of
    /// them, or of which nobody knows.
    pub fn warnings(&self, classes: &BTreeSet<&str>, zone: &TimeZone) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.lacks_first {
            warnings.push(
                "the ledger does not say which rules were in force when this time began: what no rule recorded then is \
                 not there"
                    .to_owned(),
            );
        }
        for set in &self.sets {
            let until =
                set.until.map_or_else(String::new, |end| format!(" to {}", shown_time(end, zone)));
            let named = format!(
                "rule set {}, in force from {}{until},",
                set.version,
                shown_time(set.since, zone)
            );
            let Some(rules) = &set.rules else {
                warnings.push(format!(
                    "{named} cannot be read from the ledger: nobody knows what it recorded"
                ));
                continue;
            };
            let known = rules.classes();
            let missing: Vec<&str> =
                classes.iter().copied().filter(|class| !known.contains(*class)).collect();
            if !missing.is_empty() {
                warnings.push(format!(
                    "{named} has no rule that records {}: that none is shown does not say that there was none",
                    missing.join(", ")
                ));
            }
        }
        warnings
    }
}

/// The classes of the shipped rules.
pub fn shipped_classes() -> BTreeSet<&'static str> {
    CLASSES.into_iter().chain([SESSION]).collect()
}

fn rules_of(reader: &Reader, turn: &Turn) -> Result<Option<Arc<RuleSet>>, ArchiveError> {
    let then = rules_before(reader, |row| row.id <= turn.row)?;
    let sources = then.sources().ok();
    let loaded = sources.and_then(|sources| load(&sources, &LoadOptions::default()).rules);
    Ok(loaded.map(Arc::new))
}

/// What is to be said where a question about accesses has no answer.
///
/// # Errors
/// The question is wrong, or the ledger cannot be read.
pub(super) fn said_of_nothing(
    reader: &Reader,
    (params, period): (&Params, &Period),
    is_of_sessions: bool,
) -> Result<Vec<String>, AskError> {
    let classes = match (is_of_sessions, params.text("class")) {
        (true, _) => [SESSION].into(),
        (false, Some(class)) => [class].into(),
        (false, None) => shipped_classes(),
    };
    let question = coverage::Question { period: period.clone(), cluster: None, problems: false };
    let seen = match coverage::ask(reader, &question) {
        Ok(seen) => seen,
        // More hours than are added up.
        Err(AskError::Mistake(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(InForce::of(reader, period, &seen)?.warnings(&classes, &period.zone))
}
