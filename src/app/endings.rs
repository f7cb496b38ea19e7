//! Owners are told before an exception ends: a filter, or an entry of a list. Like the owner of a silence, and
//! earlier, since rules are changed by hand and somebody has to agree.

use std::{collections::BTreeSet, time::Duration};

use super::troubles::{EXCEPTION_ENDS, Troubles};
use crate::engine::{
    alert::Alert,
    rule::{Exception, RuleSet},
    text::bounded_line,
    time::{EventTime, WallTime},
};

/// So long before its end an exception's owner is told: 7 days.
const TOLD_BEFORE: Duration = Duration::from_secs(7 * 86_400);

/// Exceptions that are told of at once: 200, those first that end first. Further ones follow when these have ended.
const TOLD_MAX: usize = 200;

/// Bytes of the name of an exception, and of its owner, in a label: 256. A longer one is cut, with `…` at its end.
const LABEL_BYTES_MAX: usize = 256;

/// How often it is looked whether one ends: every minute.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(60);

/// When it was looked at last.
#[derive(Debug, Default)]
pub(super) struct Endings {
    looked_at: Option<WallTime>,
    /// The rule set of then.
    version: String,
}

impl Endings {
    /// Looks which exceptions end soon, if that is due. Returns what is to be told.
    pub(super) fn look(
        &mut self,
        now: WallTime,
        rules: &RuleSet,
        troubles: &mut Troubles,
    ) -> Vec<Alert> {
        let is_due = |at: WallTime| now < at || now.since(at) >= LOOK_EVERY;
        if self.version == rules.version && !self.looked_at.is_none_or(is_due) {
            return Vec::new();
        }
        self.looked_at = Some(now);
        self.version.clone_from(&rules.version);
        let (from, to) = (now.as_event(), now.plus(TOLD_BEFORE).as_event());
        let ends_soon = |end: &EventTime| *end > from && *end <= to;
        let ending = rules.exceptions.iter().map(|exception| &**exception);
        let mut ending: Vec<(EventTime, &Exception)> = ending
            .filter_map(|exception| Some((exception.expires.filter(ends_soon)?, exception)))
            .collect();
        ending.sort_by_key(|(end, exception)| (*end, &exception.name));
        let mut told = BTreeSet::new();
        let mut alerts = Vec::new();
        for (end, exception) in ending.into_iter().take(TOLD_MAX) {
            let label = |text: &str| bounded_line(text, LABEL_BYTES_MAX);
            let name = label(&exception.name);
            let owner = exception.owner.as_deref().map(label);
            let of_owner = owner.iter().map(|owner| ("owner", owner.as_str()));
            let about: Vec<(&str, &str)> = of_owner.chain([("exception", name.as_str())]).collect();
            told.insert(Troubles::key_of(&about));
            let summary = summary_of(exception, end);
            alerts.extend(troubles.set_about(now, &EXCEPTION_ENDS, &about, &summary));
        }
        alerts.extend(troubles.end_all_but(now, &EXCEPTION_ENDS, &told));
        alerts
    }
}

fn summary_of(exception: &Exception, end: EventTime) -> String {
    let why = exception.reason.as_deref();
    let why = why.map_or_else(String::new, |why| format!(" ({})", bounded_line(why, 500)));
    format!(
        "{}{why} ends at {}; what it leaves out is told from then on",
        bounded_line(&exception.name, LABEL_BYTES_MAX),
        end.as_wall().for_people(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        alert::AlertState,
        diagnostic::SourceText,
        rule::{LoadOptions, RuleSources, load},
    };

    const RULE: &str = "title: reads\nlogsource: {product: kubernetes, service: audit}\n\
        detection: {s: {verb: get}, o: {user.username|expand: '%readers%'}, condition: s and not o}\n\
        level: low\n";

    fn rules(list: &str) -> RuleSet {
        let sources = RuleSources {
            rules: vec![SourceText::new("r.yaml", RULE)],
            lists: vec![("readers".to_owned(), SourceText::new("lists/readers.yaml", list))],
            ..RuleSources::default()
        };
        load(&sources, &LoadOptions::default()).rules.expect("they are good")
    }

    fn at(text: &str) -> WallTime {
        EventTime::parse(text).expect("it is a time").as_wall()
    }

    #[test]
    fn an_owner_is_told_a_week_before_and_once_until_it_ends_or_is_given_longer() {
        let first = rules(
            "- {value: bob, owner: ops, reason: on call, expires: 2026-05-20}\n\
             - {value: eve, reason: a test, expires: 2027-01-01}\n- {value: ann, owner: dev}\n",
        );
        let (mut endings, mut troubles) = (Endings::default(), Troubles::default());
        let mut look = |now, rules: &RuleSet| -> Vec<(AlertState, Option<String>)> {
            let told = endings.look(at(now), rules, &mut troubles);
            told.into_iter()
                .map(|alert| {
                    assert_eq!(alert.labels["exception"], "`bob` in lists/readers.yaml");
                    (alert.state, alert.labels.get("owner").cloned())
                })
                .collect()
        };
        let ops = || Some("ops".to_owned());
        assert_eq!(look("2026-05-13T23:59:00Z", &first), []);
        assert_eq!(look("2026-05-14T00:00:00Z", &first), [(AlertState::Firing, ops())]);
        assert_eq!(look("2026-05-14T00:00:30Z", &first), []);
        assert_eq!(look("2026-05-19T00:00:00Z", &first), []);
        let longer = rules("- {value: bob, owner: ops, expires: 2026-06-20}\n");
        assert_eq!(look("2026-05-19T00:00:01Z", &longer), [(AlertState::Resolved, ops())]);
        assert_eq!(look("2026-06-20T12:00:00Z", &longer), [(AlertState::Firing, ops())]);
        assert_eq!(look("2026-06-21T00:00:00Z", &longer), [(AlertState::Resolved, ops())]);
    }

    #[test]
    fn who_has_no_owner_is_told_without_that_label() {
        let set = rules("- {value: bob, expires: 2026-05-20}\n");
        let told =
            Endings::default().look(at("2026-05-20T00:00:00Z"), &set, &mut Troubles::default());
        assert_eq!(told.len(), 1);
        assert!(!told[0].labels.contains_key("owner"), "{:?}", told[0].labels);
    }
}
