//! Which callers are people, and of which team, remembered: nearly every event is asked, the same callers come
//! again and again, and the patterns of `identities.yaml` cost more than all else that one event is asked.
//!
//! Nothing but time depends on it.

use std::{cell::RefCell, sync::Arc};

use hashbrown::HashMap;

use super::{Event, Identities, well_known};
use crate::engine::value::Value;

/// Callers that are remembered: 4,096. With another one all are forgotten.
const CALLERS_MAX: usize = 4_096;

/// Bytes of a caller's name, and of groups that matter, with which it is remembered: 512. Others are asked about
/// each time.
const KEY_BYTES_MAX: usize = 512;

/// What identities say of those who came before. For one rule set.
#[derive(Debug, Default)]
pub(super) struct Callers {
    people: RefCell<Remembered<Option<bool>>>,
    teams: RefCell<Remembered<Option<Arc<str>>>>,
}

/// What is said, by name and groups.
#[derive(Debug, Default)]
struct Remembered<T> {
    /// How many entries of the identities had ended: with another number other things are true.
    ended: usize,
    said: HashMap<Box<[u8]>, T>,
    /// Of what was looked up last.
    key: Vec<u8>,
}

impl Callers {
    /// Whether who was authenticated is a person, as [`Identities::is_human_caller`] says it.
    pub(super) fn is_human(&self, event: &Event<'_>, identities: &Identities) -> Option<bool> {
        if identities.is_empty() {
            return None;
        }
        let name = event.first_str(well_known::USERNAME);
        let groups = identities.groups_of_people(event);
        let ended = identities.ended(event.time);
        self.people.borrow_mut().find(ended, name, groups, || identities.is_human_caller(event))
    }

    /// The team of who acts, as [`Identities::of`] says it.
    pub(super) fn team(&self, event: &Event<'_>, identities: &Identities) -> Option<Arc<str>> {
        if identities.is_empty() {
            return None;
        }
        let (name, groups) = identities.actor(event);
        let ended = identities.ended(event.time);
        let groups = groups.into_iter().flat_map(|field| event.values(field));
        let ask = || identities.of(event).team.map(Arc::from);
        self.teams.borrow_mut().find(ended, name, groups, ask)
    }
}

impl<T: Clone> Remembered<T> {
    fn find<'e, 'a: 'e>(
        &mut self,
        ended: usize,
        name: Option<&str>,
        groups: impl Iterator<Item = &'e Value<'a>>,
        ask: impl FnOnce() -> T,
    ) -> T {
        if ended != self.ended {
            self.said.clear();
            self.ended = ended;
        }
        let Some(name) = name else { return ask() };
        self.key.clear();
        self.key.extend_from_slice(name.as_bytes());
        for group in groups {
            let Some(group) = group.text() else { continue };
            // No text of UTF-8 has this byte.
            self.key.push(0xFF);
            self.key.extend_from_slice(group.as_bytes());
        }
        if let Some(said) = self.said.get(self.key.as_slice()) {
            return said.clone();
        }
        let said = ask();
        if self.key.len() <= KEY_BYTES_MAX {
            if self.said.len() >= CALLERS_MAX {
                self.said.clear();
            }
            self.said.insert(self.key.as_slice().into(), said.clone());
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::{
        super::{FieldId, Identity, NamePattern},
        *,
    };
    use crate::engine::time::EventTime;

    const TIMES: [&str; 2] = ["2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z"];

    fn event(time: &str, name: &str, groups: &[&str]) -> Event<'static> {
        let mut event = Event::new(well_known::PATHS.len());
        event.time = EventTime::parse(time).unwrap();
        let text = |text: &str| Value::Str(Cow::Owned(text.to_owned()));
        event.push(well_known::USERNAME, text(name));
        for group in groups {
            event.push(well_known::GROUPS, text(group));
        }
        event
    }

    #[test]
    fn what_is_remembered_is_what_identities_say() {
        let exact = |name: &str| vec![NamePattern::Exact(name.to_owned())];
        let by_name = Identity {
            users: vec![NamePattern::Regex(r"(?is)\Aci-.*\z".to_owned())],
            human: Some(false),
            team: Some("builders".to_owned()),
            until: EventTime::parse("2026-02-01T00:00:00Z"),
            ..Identity::default()
        };
        let by_group =
            Identity { groups: exact("staff"), human: Some(true), ..Identity::default() };
        let of_team = Identity {
            groups: exact("other"),
            team: Some("others".to_owned()),
            ..Identity::default()
        };
        let none = FieldId(u16::MAX);
        for entries in
            [vec![by_name.clone()], vec![of_team.clone()], vec![by_name, by_group, of_team]]
        {
            let identities = Identities::new(entries, none).unwrap();
            let callers = Callers::default();
            for _ in 0..2 {
                for time in TIMES {
                    for name in ["ci-1", "CI-2", "ann", "ann\u{fffd}staff", ""] {
                        for groups in [&[][..], &["staff"], &["other", "staff"], &["other"]] {
                            let event = event(time, name, groups);
                            let expected = identities.is_human_caller(&event);
                            let got = callers.is_human(&event, &identities);
                            assert_eq!(got, expected, "{time} {name} {groups:?}");
                            let expected = identities.of(&event).team;
                            let got = callers.team(&event, &identities);
                            assert_eq!(got.as_deref(), expected, "{time} {name} {groups:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn names_that_somebody_makes_up_take_no_more_memory() {
        let users = vec![NamePattern::Exact("ann".to_owned())];
        let entries = vec![Identity { users, human: Some(true), ..Identity::default() }];
        let identities = Identities::new(entries, FieldId(u16::MAX)).unwrap();
        let callers = Callers::default();
        for number in 0..2 * CALLERS_MAX {
            callers.is_human(&event(TIMES[0], &number.to_string(), &[]), &identities);
            assert!(callers.people.borrow().said.len() <= CALLERS_MAX);
        }
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        let before = callers.people.borrow().said.len();
        callers.is_human(&event(TIMES[0], &long, &[]), &identities);
        assert_eq!(callers.people.borrow().said.len(), before);
    }
}
