//! Who acted: people, and machines; what each did, when, from where, and by which permission.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};

use super::{ROWS_MAX, coverage::Seen, has_room, join, of_key};
use crate::{
    archive::Cursor,
    engine::{
        access::{Access, Outcome, Permission, UNKNOWN},
        kubernetes::is_tool_of_people,
        rule::SESSION,
        time::EventTime,
    },
    report::{
        model::{Cell, Section, Table},
        names::Names,
        scope::Scope,
    },
};

/// Days that one actor is counted on: ten years of them.
const DAYS_MAX: usize = 3_660;

/// What one actor did.
#[derive(Debug, Default)]
pub(in crate::report) struct Person {
    /// The last that was told, and where.
    team: Option<(Cursor, Arc<str>)>,
    pub(in crate::report) requests: u64,
    pub(in crate::report) denied: u64,
    pub(in crate::report) sessions: u64,
    pub(in crate::report) privileged: u64,
    pub(in crate::report) by_hand: u64,
    pub(in crate::report) addresses: Names,
    pub(in crate::report) credentials: Names,
    pub(in crate::report) clusters: Names,
    pub(in crate::report) tools: Names,
    pub(in crate::report) permissions: BTreeMap<String, u64>,
    days: BTreeSet<i64>,
    hours: [u64; 24],
    last: Option<EventTime>,
}

/// All actors.
#[derive(Debug, Default)]
pub(in crate::report) struct People {
    pub(in crate::report) people: BTreeMap<Arc<str>, Person>,
    pub(in crate::report) machines: BTreeMap<Arc<str>, Person>,
}

impl People {
    pub(in crate::report) fn add(&mut self, access: &Access, at: Cursor, scope: &Scope) {
        let actors = if access.actor.is_machine() { &mut self.machines } else { &mut self.people };
        let unknown = || Arc::from(UNKNOWN);
        let name = access.actor.id.clone().unwrap_or_else(unknown);
        of_key(actors, name, || Arc::from("(others)")).add(access, at, scope);
    }

    /// Adds what others have.
    pub(in crate::report) fn join(&mut self, others: People) {
        join(&mut self.people, others.people, Person::join);
        join(&mut self.machines, others.machines, Person::join);
    }

    /// Whether the order in which rows came does not matter.
    pub(in crate::report) fn has_room(&self) -> bool {
        let mut all = self.people.values().chain(self.machines.values());
        has_room(&self.people)
            && has_room(&self.machines)
            && all.all(|person| has_room(&person.permissions))
    }

    /// Service accounts that the tools of people were used with.
    pub(in crate::report) fn by_hand(&self) -> impl Iterator<Item = (&Arc<str>, &Person)> {
        self.machines.iter().filter(|(_, machine)| machine.by_hand > 0)
    }

    /// One line a person, to be judged and signed.
    pub(in crate::report) fn section(&self, scope: &Scope, seen: &Seen) -> Section {
        let sight = seen.sight_of_all();
        let [denied, sessions, privileged] =
            ["denied", SESSION, "privileged"].map(|class| seen.sight_of(&[class]));
        let mut table = Table::new(
            [
                "person",
                "team",
                "requests",
                "refused",
                "sessions",
                "as administrator",
                "days",
                "addresses",
                "credentials",
                "usual hours",
                "permissions used",
                "last seen",
                "keep / reduce / remove",
                "signed",
            ],
            sight.zero(),
        );
        for (name, person) in busiest(&self.people) {
            let asked =
                |what: &str, is: &str| scope.query("timeline", &[("--actor", name), (what, is)]);
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&**name),
                    person
                        .team
                        .as_ref()
                        .map_or(Cell::NotApplicable, |(_, team)| Cell::text(&**team)),
                    sight.count(person.requests, scope.query("timeline", &[("--actor", name)])),
                    denied.count(person.denied, asked("--outcome", "denied")),
                    sessions.count(person.sessions, scope.query("sessions", &[("--actor", name)])),
                    privileged.count(person.privileged, asked("--class", "privileged")),
                    Cell::number(person.days.len() as u64),
                    Cell::text(person.addresses.listed(3)),
                    Cell::text(person.credentials.shown()),
                    Cell::text(person.usual_hours()),
                    Cell::text(person.permissions_listed()),
                    Cell::text(person.last.map_or_else(String::new, |last| scope.time(last))),
                    Cell::Blank,
                    Cell::Blank,
                ],
            );
        }
        let kinds = "People, and who could not be told from people: anonymous and unknown callers count here. Permissions \
                     are those of the identity acted as. Commands show what was done on somebody's behalf, too; and both rows of a \
                     session that the log tells the beginning and the end of, which is one request.";
        Section::new("people", "People").note(kinds).table(table)
    }

    /// Service accounts by number of requests.
    pub(in crate::report) fn machine_section(&self, scope: &Scope, seen: &Seen) -> Section {
        let (sight, denied) = (seen.sight_of_all(), seen.sight_of(&["denied"]));
        let columns =
            ["machine", "requests", "refused", "addresses", "permissions used", "last seen"];
        let mut table = Table::new(columns, sight.zero());
        for (name, machine) in busiest(&self.machines) {
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&**name),
                    sight.count(machine.requests, scope.query("timeline", &[("--actor", name)])),
                    denied.count(
                        machine.denied,
                        scope.query("timeline", &[("--actor", name), ("--outcome", "denied")]),
                    ),
                    Cell::text(machine.addresses.shown()),
                    Cell::text(machine.permissions_listed()),
                    Cell::text(machine.last.map_or_else(String::new, |last| scope.time(last))),
                ],
            );
        }
        Section::new("machines", "Service accounts, nodes and parts of Kubernetes")
            .note("What machines do is recorded by the hour, and their reads of ordinary resources are not.")
            .table(table)
    }

    /// Service accounts used with the tools of people.
    pub(in crate::report) fn by_hand_section(&self, scope: &Scope, seen: &Seen) -> Section {
        let sight = seen.sight_of_all();
        let mut table =
            Table::new(["account", "requests", "tools", "addresses", "last seen"], sight.zero());
        for (name, machine) in self.by_hand() {
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&**name),
                    sight.count(machine.by_hand, scope.query("timeline", &[("--actor", name)])),
                    Cell::text(machine.tools.listed(3)),
                    Cell::text(machine.addresses.listed(3)),
                    Cell::text(machine.last.map_or_else(String::new, |last| scope.time(last))),
                ],
            );
        }
        Section::new("by-hand", "Service accounts used by hand")
            .note("By the user agent, which is the client's own word: who hides it is not here. Commands show all that the \
                   account did, whatever its client.")
            .table(table)
    }
}

impl Person {
    fn add(&mut self, access: &Access, at: Cursor, scope: &Scope) {
        let count = access.count();
        self.requests += count;
        if access.outcome == Some(Outcome::Denied) {
            self.denied += count;
        }
        if access.session.is_some() {
            self.sessions += count;
        }
        if access.classes.iter().any(|class| &**class == "privileged") {
            self.privileged += count;
        }
        if let Some(agent) = access.user_agent.as_ref().filter(|agent| is_tool_of_people(agent)) {
            self.by_hand += count;
            self.tools.add(Some(agent), at);
        }
        if let Some(team) = &access.actor.team {
            self.hear_team((at, Arc::clone(team)));
        }
        self.addresses.add(access.source_ip.as_ref(), at);
        self.credentials.add(access.credential_id.as_ref(), at);
        self.clusters.add(access.cluster.as_ref(), at);
        if let Some(permission) = &access.permission {
            let name = permission.name();
            *of_key(&mut self.permissions, name, || "(others)".to_owned()) += count;
        }
        let (day, hour) = scope.day_and_hour(access.at);
        if self.days.len() < DAYS_MAX {
            self.days.insert(day);
        }
        if let Some(of_hour) = self.hours.get_mut(hour) {
            *of_hour += count;
        }
        self.last = self.last.max(Some(access.last()));
    }

    fn hear_team(&mut self, team: (Cursor, Arc<str>)) {
        if self.team.as_ref().is_none_or(|(last, _)| *last <= team.0) {
            self.team = Some(team);
        }
    }

    fn join(&mut self, other: Person) {
        if let Some(team) = other.team {
            self.hear_team(team);
        }
        self.requests += other.requests;
        self.denied += other.denied;
        self.sessions += other.sessions;
        self.privileged += other.privileged;
        self.by_hand += other.by_hand;
        self.addresses.join(other.addresses);
        self.credentials.join(other.credentials);
        self.clusters.join(other.clusters);
        self.tools.join(other.tools);
        join(&mut self.permissions, other.permissions, |one, other| *one += other);
        for day in other.days {
            if self.days.len() < DAYS_MAX {
                self.days.insert(day);
            }
        }
        self.hours.iter_mut().zip(other.hours).for_each(|(one, other)| *one += other);
        self.last = self.last.max(other.last);
    }

    /// The shortest span of hours that holds nine of ten requests, around the clock: `08–17`.
    fn usual_hours(&self) -> String {
        let total: u64 = self.hours.iter().sum();
        let enough = total.saturating_sub(total / 10);
        let held = |start: usize, length: usize| -> u64 {
            self.hours.iter().cycle().skip(start).take(length).sum()
        };
        for length in 1..=24 {
            if let Some(start) = (0..24).find(|start| held(*start, length) >= enough) {
                return format!("{start:02}–{:02}", (start + length) % 24);
            }
        }
        String::new()
    }

    fn permissions_listed(&self) -> String {
        let mut names: Vec<(&String, &u64)> = self.permissions.iter().collect();
        names.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
        let names: Vec<&str> = names.into_iter().map(|(name, _)| name.as_str()).collect();
        crate::engine::text::first_of(&names, 3)
    }
}

/// The busiest first, then by name.
fn busiest(actors: &BTreeMap<Arc<str>, Person>) -> Vec<(&Arc<str>, &Person)> {
    let mut sorted: Vec<(&Arc<str>, &Person)> = actors.iter().collect();
    sorted.sort_by_key(|(name, actor)| (std::cmp::Reverse(actor.requests), Arc::clone(name)));
    sorted
}

/// Whether a request was allowed as only an administrator is.
pub(in crate::report) fn is_break_glass(access: &Access) -> bool {
    let by_role = |role: &str| role == "cluster-admin";
    match &access.permission {
        Some(Permission::Masters) => true,
        Some(Permission::Binding { role, .. }) => by_role(&role.name),
        _ => false,
    }
}
