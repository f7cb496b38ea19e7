//! Who is who: which users are people, and whose team they are in, from their names and groups.
//!
//! The API server knows neither. `identities.yaml` beside the rules says it, in entries that are tried
//! in their order; here is what it was compiled to. `actor.human` and `actor.team` ask it.

use hashbrown::HashMap;
use regex::{RegexSet, RegexSetBuilder};

use super::{Event, FieldId, well_known};
use crate::engine::{
    limits,
    time::EventTime,
    value::{Value, fold_case},
};

/// A name, or a pattern of names.
#[derive(Clone, Debug)]
pub enum NamePattern {
    /// Exactly this, in lower case.
    Exact(String),
    /// What a regular expression matches.
    Regex(String),
}

/// What is said of some users.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Their names; any of them.
    pub users: Vec<NamePattern>,
    /// Groups that they are in; any of them. With `users` too, both must fit.
    pub groups: Vec<NamePattern>,
    /// Whether they are people.
    pub human: Option<bool>,
    /// Their team.
    pub team: Option<String>,
    /// The first moment at which this does not count any more, by the time of the event.
    pub until: Option<EventTime>,
}

/// All that is known of identities. Immutable and shared.
#[derive(Debug, Default)]
pub struct Identities {
    entries: Vec<ListedIdentity>,
    users: Index,
    groups: Index,
    /// Where the groups of an impersonated user are, if anything looks at groups.
    impersonated_groups: Option<FieldId>,
    /// When entries end, sorted.
    ends: Vec<EventTime>,
    /// Some entry says of groups whether they are of people.
    humans_by_group: bool,
}

#[derive(Debug)]
struct ListedIdentity {
    by_user: bool,
    by_group: bool,
    human: Option<bool>,
    team: Option<String>,
    until: Option<EventTime>,
}

/// What is known of one actor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known<'i> {
    /// Whether it is a person, if anything says so.
    pub(super) human: Option<bool>,
    /// Its team, if anything says so.
    pub(super) team: Option<&'i str>,
}

impl Identities {
    /// `impersonated_groups` is the field of that name. Cost: that of making the expressions.
    ///
    /// # Errors
    /// The patterns are too much for one automaton.
    pub fn new(
        identities: Vec<Identity>,
        impersonated_groups: FieldId,
    ) -> Result<Identities, regex::Error> {
        let (mut users, mut groups) = (IndexBuilder::default(), IndexBuilder::default());
        let mut entries = Vec::with_capacity(identities.len());
        for identity in identities {
            let number = u32::try_from(entries.len()).expect("identities are bounded");
            let (by_user, by_group) = (!identity.users.is_empty(), !identity.groups.is_empty());
            users.add(number, identity.users);
            groups.add(number, identity.groups);
            let Identity { human, team, until, .. } = identity;
            entries.push(ListedIdentity { by_user, by_group, human, team, until });
        }
        let asks_groups = entries.iter().any(|entry| entry.by_group);
        let humans_by_group = entries.iter().any(|entry| entry.by_group && entry.human.is_some());
        let mut ends: Vec<EventTime> = entries.iter().filter_map(|entry| entry.until).collect();
        ends.sort_unstable();
        Ok(Identities {
            entries,
            users: users.finish()?,
            groups: groups.finish()?,
            impersonated_groups: asks_groups.then_some(impersonated_groups),
            ends,
            humans_by_group,
        })
    }

    /// How many entries have ended by then: at two times of the same number, the same is known of the same
    /// actor.
    pub(in crate::engine) fn ended(&self, time: EventTime) -> usize {
        self.ends.partition_point(|end| *end <= time)
    }

    /// Whether nothing is known of anybody.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of the actor of an event: of the impersonated user if there is one, else of the
    /// user. Cost: a look-up and a pass over each name.
    pub(super) fn of(&self, event: &Event<'_>) -> Known<'_> {
        let (name, groups) = self.actor(event);
        self.known(event, name, groups)
    }

    /// The name of the actor of an event, and where its groups are, if they matter.
    pub(super) fn actor<'e>(&self, event: &'e Event<'_>) -> (Option<&'e str>, Option<FieldId>) {
        let impersonated =
            event.first_str(well_known::IMPERSONATED_USERNAME).filter(|name| !name.is_empty());
        if impersonated.is_some() {
            return (impersonated, self.impersonated_groups);
        }
        let groups = self.impersonated_groups.map(|_| well_known::GROUPS);
        (event.first_str(well_known::USERNAME), groups)
    }

    /// Groups of who was authenticated, if they matter to whether that is a person.
    pub(super) fn groups_of_people<'e, 'a>(
        &self,
        event: &'e Event<'a>,
    ) -> impl Iterator<Item = &'e Value<'a>> {
        let groups = self.humans_by_group.then_some(well_known::GROUPS);
        groups.into_iter().flat_map(|field| event.values(field))
    }

    /// Whether who was authenticated is a person, whomever they act as, if anything says so. Cost: a pass over
    /// the name, and over the groups if they matter.
    pub(super) fn is_human_caller(&self, event: &Event<'_>) -> Option<bool> {
        let groups = self.humans_by_group.then_some(well_known::GROUPS);
        self.known(event, event.first_str(well_known::USERNAME), groups).human
    }

    /// Whether an entry lists who was authenticated by its whole name as one that is no person, and nothing before it
    /// says otherwise. Patterns list nobody: whoever chooses a name could choose one that fits. Cost: that of
    /// [`Identities::is_human_caller`] where the name is listed, else a look-up.
    pub(super) fn lists_machine(&self, event: &Event<'_>) -> bool {
        let Some(name) = event.first_str(well_known::USERNAME) else { return false };
        let Some(listed) = self.users.exact.get(fold_case(name).as_str()) else { return false };
        let mut groups = Vec::new();
        for group in event.values(well_known::GROUPS).filter_map(Value::text) {
            self.groups.find(&group, &mut groups);
        }
        let fits = |number: &u32| {
            self.is_of_machines(*number) && self.fits(*number, event.time, listed, &groups)
        };
        listed.iter().any(fits) && self.is_human_caller(event) == Some(false)
    }

    /// The names that entries list without wildcards, in lower case, as ones that are no people.
    pub fn machines(&self) -> impl Iterator<Item = &str> {
        let listed = self.users.exact.iter();
        let listed =
            listed.filter(|(_, entries)| entries.iter().any(|one| self.is_of_machines(*one)));
        listed.map(|(name, _)| &**name)
    }

    /// Whether an entry is about ones that are no people.
    fn is_of_machines(&self, number: u32) -> bool {
        self.entries.get(number as usize).is_some_and(|entry| entry.human == Some(false))
    }

    fn known(&self, event: &Event<'_>, name: Option<&str>, groups: Option<FieldId>) -> Known<'_> {
        if self.is_empty() {
            return Known::default();
        }
        let (mut users, mut in_groups) = (Vec::new(), Vec::new());
        if let Some(name) = name {
            self.users.find(name, &mut users);
        }
        if self.impersonated_groups.is_some() {
            for group in groups.into_iter().flat_map(|field| event.values(field)) {
                if let Some(group) = group.text() {
                    self.groups.find(&group, &mut in_groups);
                }
            }
        }
        self.decide(event.time, users, in_groups)
    }

    /// The first entries that fit.
    fn decide(&self, time: EventTime, users: Vec<u32>, groups: Vec<u32>) -> Known<'_> {
        let mut candidates: Vec<u32> = users.iter().chain(&groups).copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        let mut known = Known::default();
        for number in candidates {
            let Some(entry) = self.entries.get(number as usize) else { continue };
            if self.fits(number, time, &users, &groups) {
                known.human = known.human.or(entry.human);
                known.team = known.team.or(entry.team.as_deref());
            }
        }
        known
    }

    /// Whether an entry is about somebody whose name and groups are in these entries.
    fn fits(&self, number: u32, time: EventTime, users: &[u32], groups: &[u32]) -> bool {
        self.entries.get(number as usize).is_some_and(|entry| {
            (!entry.by_user || users.contains(&number))
                && (!entry.by_group || groups.contains(&number))
                && entry.until.is_none_or(|until| time < until)
        })
    }

    /// The teams that are named, sorted, each once.
    pub fn teams(&self) -> Vec<&str> {
        let mut teams: Vec<&str> =
            self.entries.iter().filter_map(|entry| entry.team.as_deref()).collect();
        teams.sort_unstable();
        teams.dedup();
        teams
    }
}

/// Entries by name.
#[derive(Debug)]
struct Index {
    exact: HashMap<String, Vec<u32>>,
    patterns: RegexSet,
    /// The entry of each pattern.
    of_pattern: Vec<u32>,
}

impl Default for Index {
    fn default() -> Index {
        Index { exact: HashMap::new(), patterns: RegexSet::empty(), of_pattern: Vec::new() }
    }
}

impl Index {
    fn find(&self, name: &str, found: &mut Vec<u32>) {
        if !self.exact.is_empty()
            && let Some(entries) = self.exact.get(fold_case(name).as_str())
        {
            found.extend_from_slice(entries);
        }
        if !self.of_pattern.is_empty() {
            let patterns = self.patterns.matches(name);
            found.extend(patterns.iter().filter_map(|pattern| self.of_pattern.get(pattern)));
        }
    }
}

#[derive(Default)]
struct IndexBuilder {
    exact: HashMap<String, Vec<u32>>,
    sources: Vec<String>,
    of_pattern: Vec<u32>,
}

impl IndexBuilder {
    fn add(&mut self, entry: u32, patterns: Vec<NamePattern>) {
        for pattern in patterns {
            match pattern {
                NamePattern::Exact(name) => self.exact.entry(name).or_default().push(entry),
                NamePattern::Regex(source) => {
                    self.sources.push(source);
                    self.of_pattern.push(entry);
                }
            }
        }
    }

    fn finish(self) -> Result<Index, regex::Error> {
        let patterns =
            RegexSetBuilder::new(&self.sources).size_limit(limits::IDENTITY_BYTES_MAX).build()?;
        Ok(Index { exact: self.exact, patterns, of_pattern: self.of_pattern })
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::engine::value::Value;

    const IMPERSONATED_GROUPS: FieldId = FieldId(40);

    fn exact(name: &str) -> Vec<NamePattern> {
        vec![NamePattern::Exact(name.to_owned())]
    }

    fn known<'i>(identities: &'i Identities, fields: &[(FieldId, &'static str)]) -> Known<'i> {
        let mut event = Event::new(41);
        event.time = EventTime::parse("2026-03-01T00:00:00Z").unwrap();
        for (field, text) in fields {
            event.push(*field, Value::Str(Cow::Borrowed(text)));
        }
        identities.of(&event)
    }

    #[test]
    fn what_is_known_changes_only_where_an_entry_ends() {
        let at = |text| EventTime::parse(text).unwrap();
        let of_team = |until| Identity { users: exact("ann"), until, ..Identity::default() };
        let ends = ["2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"];
        let entries = ends.map(|end| of_team(Some(at(end)))).into_iter().chain([of_team(None)]);
        let identities = Identities::new(entries.collect(), IMPERSONATED_GROUPS).unwrap();
        for (time, ended) in [
            ("2025-12-31T23:59:59Z", 0),
            ("2026-01-01T00:00:00Z", 1),
            ("2026-01-31T23:59:59Z", 1),
            ("2026-02-01T00:00:00Z", 2),
        ] {
            assert_eq!(identities.ended(at(time)), ended, "{time}");
        }
    }

    #[test]
    fn the_first_entry_that_fits_and_says_it_decides() {
        use well_known::{GROUPS, IMPERSONATED_USERNAME, USERNAME};
        let until = EventTime::parse("2026-02-01T00:00:00Z");
        let entries = vec![
            Identity {
                users: exact("ann"),
                team: Some("gone".to_owned()),
                until,
                ..Identity::default()
            },
            Identity {
                users: exact("ann"),
                groups: exact("ops"),
                team: Some("ops".to_owned()),
                ..Identity::default()
            },
            Identity {
                users: vec![NamePattern::Regex(r"(?is)\Aci-.*\z".to_owned())],
                human: Some(false),
                ..Identity::default()
            },
            Identity {
                groups: exact("shop"),
                human: Some(true),
                team: Some("shop".to_owned()),
                ..Identity::default()
            },
        ];
        let identities = Identities::new(entries, IMPERSONATED_GROUPS).unwrap();
        let of = |fields: &[_]| known(&identities, fields);
        let says = |human, team| Known { human, team };
        assert_eq!(of(&[(USERNAME, "Ann")]), says(None, None), "not in the group, or too late");
        assert_eq!(of(&[(USERNAME, "Ann"), (GROUPS, "ops")]), says(None, Some("ops")));
        let both = [(USERNAME, "ann"), (GROUPS, "shop"), (GROUPS, "OPS")];
        assert_eq!(of(&both), says(Some(true), Some("ops")), "each is decided by itself");
        let bot = [(USERNAME, "CI-7"), (GROUPS, "shop")];
        assert_eq!(of(&bot), says(Some(false), Some("shop")));
        let as_bot = [
            (USERNAME, "ann"),
            (GROUPS, "ops"),
            (IMPERSONATED_USERNAME, "ci-8"),
            (IMPERSONATED_GROUPS, "shop"),
        ];
        assert_eq!(of(&as_bot), says(Some(false), Some("shop")), "the one in effect counts");
        assert_eq!(of(&[]), says(None, None));
        assert_eq!(identities.teams(), ["gone", "ops", "shop"]);
        assert_eq!(known(&Identities::default(), &both), Known::default());
    }
}
