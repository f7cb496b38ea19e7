//! What was done: secrets read, sessions, changes of permissions, the power of administrators, refusals.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{ROWS_MAX, coverage::Seen, has_room, join, of_key, people::is_break_glass};
use crate::{
    archive::{Cursor, Reader},
    ask::{AskError, sessions},
    engine::{
        access::{
            Access, Outcome, Permission, Session, SessionStep, Sessions, UNKNOWN, kubectl_line,
            shown_actor,
        },
        rule::SESSION,
        text::{counted, span},
        time::EventTime,
    },
    report::{
        first::First,
        model::{Cell, Section, Table},
        names::Names,
        scope::Scope,
    },
};

/// What was read: namespace, and name if one was asked for.
type SecretKey = (Arc<str>, Arc<str>);

/// Who acted, and on whose behalf: the real caller.
type Who = (Arc<str>, Option<Arc<str>>);

/// Who was refused what: verb, resource, namespace.
type DeniedKey = (Who, Arc<str>, Arc<str>, Arc<str>);

/// Who had the power of an administrator: by the permission as timelines know it, and with its role.
type PowerKey = (Who, String, String);

/// Ends of sessions that are kept until their beginnings are shown: 2,000. Further ones are looked up in the ledger.
const ENDS_MAX: usize = 2 * ROWS_MAX;

/// Requests that are alike.
#[derive(Debug, Default)]
struct Reads {
    requests: u64,
    /// Requests for a secret that gave nothing: refused ones, and those that failed. Nobody read anything by them.
    denied: u64,
    failed: u64,
    actors: Names,
    last: Option<EventTime>,
}

/// What was done.
#[derive(Debug, Default)]
pub(in crate::report) struct Requests {
    secrets: BTreeMap<SecretKey, Reads>,
    denied: BTreeMap<DeniedKey, Reads>,
    break_glass: BTreeMap<PowerKey, Reads>,
    impersonated: BTreeMap<(Arc<str>, Arc<str>), Reads>,
    sessions: First<Access, ROWS_MAX>,
    /// Ends of sessions that other rows may stand for.
    ends: First<Access, ENDS_MAX>,
    changes: First<Access, ROWS_MAX>,
}

impl Requests {
    /// The end of a session that another row may stand for.
    pub(in crate::report) fn add_end(&mut self, access: &Access, at: Cursor) {
        self.ends.add(at, || access.clone());
    }

    pub(in crate::report) fn add(&mut self, access: &Access, at: Cursor) {
        let is = |class: &str| access.classes.iter().any(|known| &**known == class);
        let none = || Arc::<str>::from("");
        let actor = access.actor.id.clone().unwrap_or_else(|| Arc::from(UNKNOWN));
        let who = (Arc::clone(&actor), access.on_behalf_of.clone());
        let named = if who.1.is_some() { Arc::from(named(&who)) } else { Arc::clone(&actor) };
        let object = access.object.as_ref();
        let namespace = object.and_then(|object| object.namespace.clone()).unwrap_or_else(none);
        if is("secret_read") {
            let unnamed = if access.names_left_out() { "(names left out)" } else { "(all)" };
            let name =
                object.and_then(|object| object.name.clone()).unwrap_or_else(|| Arc::from(unnamed));
            let others = || (Arc::from("(others)"), none());
            let secret = of_key(&mut self.secrets, (Arc::clone(&namespace), name), others);
            match access.outcome {
                Some(Outcome::Denied) => secret.denied += access.count(),
                Some(Outcome::Error) => secret.failed += access.count(),
                Some(Outcome::Success) | None => secret.add(access, &named, at),
            }
        }
        if access.outcome == Some(Outcome::Denied) {
            let verb = access.verb.clone().unwrap_or_else(none);
            let resource = object.map_or_else(none, |object| Arc::clone(&object.resource));
            let key = (who.clone(), verb, resource, namespace);
            let others = || ((Arc::from("(others)"), None), none(), none(), none());
            of_key(&mut self.denied, key, others).add(access, &named, at);
        }
        if is_break_glass(access) {
            let permission = access.permission.as_ref();
            let name = permission.map_or_else(String::new, Permission::name);
            let shown = permission.map_or_else(String::new, ToString::to_string);
            let others = || ((Arc::from("(others)"), None), String::new(), String::new());
            let key = (who, name, shown);
            of_key(&mut self.break_glass, key, others).add(access, &named, at);
        }
        if let Some(caller) = &access.on_behalf_of {
            let others = || (Arc::from("(others)"), none());
            let key = (Arc::clone(caller), Arc::clone(&actor));
            of_key(&mut self.impersonated, key, others).add(access, &actor, at);
        }
        if access.session.is_some() {
            let began = Cursor { at: access.began().micros(), ..at };
            self.sessions.add(began, || access.clone());
        }
        if is("permission_change") {
            self.changes.add(at, || access.clone());
        }
    }

    /// Adds what others have.
    pub(in crate::report) fn join(&mut self, others: Requests) {
        join(&mut self.secrets, others.secrets, Reads::join);
        join(&mut self.denied, others.denied, Reads::join);
        join(&mut self.break_glass, others.break_glass, Reads::join);
        join(&mut self.impersonated, others.impersonated, Reads::join);
        self.sessions.join(others.sessions);
        self.ends.join(others.ends);
        self.changes.join(others.changes);
    }

    /// Whether the order in which rows came does not matter.
    pub(in crate::report) fn has_room(&self) -> bool {
        has_room(&self.secrets)
            && has_room(&self.denied)
            && has_room(&self.break_glass)
            && has_room(&self.impersonated)
    }

    /// Which secrets were read, and by whom; and which were asked for in vain.
    pub(in crate::report) fn secrets_section(&self, scope: &Scope, seen: &Seen) -> Section {
        let sight = seen.sight_of(&["secret_read"]);
        let columns =
            ["namespace", "secret", "read", "by how many", "by", "last", "refused", "failed"];
        let mut table = Table::new(columns, sight.zero());
        for ((namespace, name), reads) in &self.secrets {
            let mut asked = vec![("--resource", "secrets"), ("--class", "secret_read")];
            if !namespace.is_empty() {
                asked.push(("--namespace", namespace));
            }
            if !name.starts_with('(') {
                asked.push(("--name", name));
            }
            let query = |outcome: Outcome| {
                let ended = [("--outcome", outcome.as_str())];
                scope.query("timeline", &[asked.as_slice(), &ended].concat())
            };
            table.push(
                ROWS_MAX,
                [
                    Cell::text(&**namespace),
                    Cell::text(&**name),
                    sight.count(reads.requests, query(Outcome::Success)),
                    Cell::text(reads.actors.shown()),
                    Cell::text(reads.actors.listed(5)),
                    reads.last_cell(scope),
                    sight.count(reads.denied, query(Outcome::Denied)),
                    sight.count(reads.failed, query(Outcome::Error)),
                ],
            );
        }
        Section::new("secrets", "Secrets read, and asked for in vain")
            .note("By whom and when is said of those that were read alone: who was refused, or whose request failed, got nothing. \
                   Where the log does not say how a request ended, it counts as read.")
            .note("`(all)` are lists and watches; one that was answered gave the content of every secret that it covers. Commands \
                   for one secret show those that covered it, too, and those of `(all)` every secret.")
            .note("`(names left out)` are requests for one secret each, which are rolled up; commands for one secret show them, too.")
            .table(table)
    }

    /// Sessions with command and duration: as `tripline sessions` tells of them, those `of` whom are shown.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(in crate::report) fn sessions_section(
        &self,
        reader: &Reader,
        (scope, seen): (&Scope, &Seen),
        of: impl Fn(&Access) -> bool,
    ) -> Result<Section, AskError> {
        let columns = ["time", "cluster", "who", "from", "outcome", "what", "command", "duration"];
        let mut table = Table::new(columns, seen.sight_of(&[SESSION]).zero());
        table.left_out = self.sessions.left_out();
        let (from, to) = (scope.period.from, scope.period.to);
        let mut steps = sessions::open_at(reader, from, scope.cluster.as_deref())?;
        steps.retain(of);
        steps.extend(self.sessions.iter().cloned());
        let known: BTreeSet<[u8; 16]> = steps.iter().map(|access| access.request).collect();
        // Ends of those that began in the period and are not shown are counted with them.
        let is_shown = |end: &&Access| known.contains(&end.request) || end.began() < from;
        steps.extend(self.ends.iter().filter(is_shown).cloned());
        steps.sort_by_key(|access| (access.at, access.session == Some(SessionStep::End)));
        let mut joined = Sessions::default();
        for access in &steps {
            joined.add(access);
        }
        let are_all_ends_known = self.ends.left_out() == 0;
        sessions::add_ends(reader, if are_all_ends_known { to } else { from }, &mut joined)?;
        let first_of: BTreeMap<[u8; 16], &Access> =
            steps.iter().rev().map(|access| (access.request, access)).collect();
        let mut all = joined.finish();
        all.retain(|session| session.is_of(from));
        all.sort_by_key(Session::at);
        for session in &all {
            let Some(access) = first_of.get(&session.request) else { continue };
            let command = session.command.as_ref();
            table.push(
                ROWS_MAX,
                [
                    Cell::text(scope.time(session.at())),
                    cluster(access),
                    who(access),
                    from_where(access),
                    outcome(session.outcome, session.code),
                    what(access),
                    command.map_or(Cell::NotApplicable, Cell::text),
                    lasted(session, to),
                ],
            );
        }
        Ok(Section::new("sessions", "Sessions")
            .note("An answer of 101 says that the stream was opened, not that a process started in it. The outcome is that of \
                   its end, if the ledger has one.")
            .note("What was open when the period began is of it, as far as it ended in it, or began in the 12 hours before.")
            .table(table))
    }

    /// Changes of permissions, each with what it says.
    pub(in crate::report) fn changes_section(&self, scope: &Scope, seen: &Seen) -> Section {
        let columns =
            ["time", "cluster", "who", "from", "outcome", "what", "role", "given to", "body"];
        let mut table = Table::new(columns, seen.sight_of(&["permission_change"]).zero());
        table.left_out = self.changes.left_out();
        for access in self.changes.iter() {
            let detail = &access.detail;
            let role = detail.role.as_ref();
            let subjects = crate::engine::text::first_of(&detail.subjects, 5);
            let body = detail.body.as_ref();
            table.push(
                ROWS_MAX,
                [
                    Cell::text(scope.time(access.at)),
                    cluster(access),
                    who(access),
                    from_where(access),
                    outcome(access.outcome, access.code),
                    what(access),
                    role.map_or(Cell::NotApplicable, Cell::text),
                    Cell::text(subjects),
                    body.map_or(Cell::NotApplicable, |body| {
                        Cell::text(crate::engine::text::cut(body, 500))
                    }),
                ],
            );
        }
        Section::new("permission-changes", "Changes of permissions").table(table)
    }

    /// The power of administrators, and impersonation.
    pub(in crate::report) fn break_glass_section(&self, scope: &Scope, seen: &Seen) -> Section {
        let sight = seen.sight_of(&["privileged"]);
        let mut table = Table::new(["who", "by", "requests", "last"], sight.zero());
        for ((who, name, shown), reads) in &self.break_glass {
            table.push(
                ROWS_MAX,
                [
                    Cell::text(named(who)),
                    Cell::text(shown),
                    sight.count(
                        reads.requests,
                        scope
                            .query("timeline", &[("--actor", really(who)), ("--permission", name)]),
                    ),
                    reads.last_cell(scope),
                ],
            );
        }
        let sight = seen.sight_of(&["impersonation"]);
        let mut acted_as = Table::new(["who", "as", "requests", "last"], sight.zero());
        for ((caller, actor), reads) in &self.impersonated {
            acted_as.push(
                ROWS_MAX,
                [
                    Cell::text(&**caller),
                    Cell::text(&**actor),
                    sight.count(
                        reads.requests,
                        scope.query(
                            "timeline",
                            &[("--actor", caller), ("--class", "impersonation")],
                        ),
                    ),
                    reads.last_cell(scope),
                ],
            );
        }
        Section::new(
            "break-glass",
            "The power of administrators: system:masters, cluster-admin, impersonation",
        )
        .note("First who used system:masters or cluster-admin, then who acted as somebody else. Commands show what somebody did \
               as anybody else, too, and what others did as them.")
        .table(table)
        .table(acted_as)
    }

    /// Who was refused what.
    pub(in crate::report) fn denied_section(&self, scope: &Scope, seen: &Seen) -> Section {
        let sight = seen.sight_of(&["denied"]);
        let mut table =
            Table::new(["who", "verb", "resource", "namespace", "requests", "last"], sight.zero());
        for ((who, verb, resource, namespace), reads) in &self.denied {
            let mut asked = vec![("--actor", really(who)), ("--outcome", "denied")];
            let parts = [("--verb", verb), ("--resource", resource), ("--namespace", namespace)];
            asked.extend(
                parts
                    .iter()
                    .filter(|(_, text)| !text.is_empty())
                    .map(|(name, text)| (*name, &***text)),
            );
            table.push(
                ROWS_MAX,
                [
                    Cell::text(named(who)),
                    Cell::text(&**verb),
                    Cell::text(&**resource),
                    Cell::text(&**namespace),
                    sight.count(reads.requests, scope.query("timeline", &asked)),
                    reads.last_cell(scope),
                ],
            );
        }
        Section::new("denied", "Refused")
            .note("A request that was refused with 401 has no user. Commands show what was done as somebody else, too. Where a line has no resource or no namespace, its command shows \
                   those with one, too.")
            .table(table)
    }
}

impl Reads {
    fn add(&mut self, access: &Access, actor: &Arc<str>, at: Cursor) {
        self.requests += access.count();
        self.actors.add(Some(actor), at);
        self.last = self.last.max(Some(access.last()));
    }

    fn join(&mut self, other: Reads) {
        self.requests += other.requests;
        self.denied += other.denied;
        self.failed += other.failed;
        self.actors.join(other.actors);
        self.last = self.last.max(other.last);
    }

    fn last_cell(&self, scope: &Scope) -> Cell {
        Cell::text(self.last.map_or_else(String::new, |last| scope.time(last)))
    }
}

fn who(access: &Access) -> Cell {
    Cell::text(shown_actor(access.actor.id.as_deref(), access.on_behalf_of.as_deref()))
}

fn named((actor, caller): &Who) -> String {
    shown_actor(Some(actor), caller.as_deref())
}

/// Whoever really acted.
fn really((actor, caller): &Who) -> &str {
    caller.as_ref().unwrap_or(actor)
}

fn cluster(access: &Access) -> Cell {
    access.cluster.as_ref().map_or(Cell::NotApplicable, |cluster| Cell::text(&**cluster))
}

/// What was done; of a roll-up how often, and what it left out.
fn what(access: &Access) -> Cell {
    let line = kubectl_line(access);
    let Some(rolled_up) = access.rolled_up else { return Cell::text(line) };
    let left_out = if access.names_left_out() { "; names were left out" } else { "" };
    Cell::text(format!("{line}  [{}{left_out}]", counted(rolled_up.count, "request")))
}

fn from_where(access: &Access) -> Cell {
    access.source_ip.as_ref().map_or(Cell::NotApplicable, |source| Cell::text(&**source))
}

fn outcome(outcome: Option<Outcome>, code: Option<u16>) -> Cell {
    let word = outcome.map_or("not known", Outcome::as_str);
    let code = code.map_or_else(String::new, |code| format!(" {code}"));
    Cell::text(format!("{word}{code}"))
}

/// How long a session lasted, in a report of a time before `to`.
fn lasted(session: &Session, to: EventTime) -> Cell {
    match (session.duration, session.end) {
        (Some(duration), Some(end)) if end >= to => {
            Cell::text(format!("{}, ended after the period", span(duration)))
        }
        (Some(duration), _) => Cell::text(span(duration)),
        (None, _) if session.state() == "opened" => Cell::text("its end was not seen"),
        (None, _) => Cell::NotApplicable,
    }
}
