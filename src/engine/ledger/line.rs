//! The line of a row: JSON in a fixed order, for exports and for the chain.
//!
//! Fields are only ever added. What is not known is left out.

use std::sync::Arc;

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::value::RawValue;

use super::{Body, Content, Entry, Row, hex_of};
use crate::engine::{
    access::{
        Access, Actor, Detail, EventPosition, Object, Outcome, Permission, SessionStep, Usage,
    },
    kubernetes::AuditLevel,
};

/// Leaves out what is false.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Row {
    /// Writes the line in the place of what a buffer holds: for many rows, one after another.
    pub fn write_line(&self, line: &mut Vec<u8>) {
        line.clear();
        serde_json::to_writer(line, &Line(self)).expect("a line is made of texts and numbers");
    }

    /// The line, without a line break.
    pub fn line(&self) -> String {
        serde_json::to_string(&Line(self)).expect("a line is made of texts and numbers")
    }
}

/// A row that is written as its line, alone or among others.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a>(pub &'a Row);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.content {
            Content::Access(access) => access_line(self.0, access).serialize(serializer),
            Content::Entry(entry) => entry_line(self.0, entry).serialize(serializer),
            Content::Usage(usage) => usage_line(self.0, usage).serialize(serializer),
        }
    }
}

#[derive(Serialize)]
struct AccessLine<'a> {
    id: u64,
    kind: &'static str,
    at: String,
    recorded: String,
    classes: &'a [Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    verb: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    actor: ActorLine<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    claimed_ips: &'a [Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<PermissionLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<DetailLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<&'static str>,
    audit_id: String,
    request: String,
    position: PositionLine<'a>,
    event_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_us: Option<u64>,
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    truncated: bool,
    #[serde(skip_serializing_if = "is_false")]
    from_future: bool,
    rules: &'a [Arc<str>],
    rule_set: &'a str,
}

#[derive(Serialize)]
struct UsageLine<'a> {
    id: u64,
    kind: &'static str,
    at: String,
    recorded: String,
    actor: ActorLine<'a>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    on_behalf_of: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    verb: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectLine<'a>>,
    #[serde(skip_serializing_if = "is_false")]
    has_more_names: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<PermissionLine>,
    request: String,
    position: PositionLine<'a>,
    event_hash: String,
}

#[derive(Serialize)]
struct ActorLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    kind: &'a str,
    human: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<&'a str>,
}

#[derive(Serialize)]
struct ObjectLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    resource: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subresource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct PermissionLine {
    binding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
}

#[derive(Serialize)]
struct DetailLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    selector: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    subjects: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_credential_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
}

#[derive(Serialize)]
struct PositionLine<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    index: u32,
}

#[derive(Serialize)]
struct EntryLine<'a> {
    id: u64,
    kind: &'static str,
    at: String,
    recorded: String,
    subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    party: &'a str,
    what: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    facts: Pairs<'a, String>,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    counts: Pairs<'a, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Json<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// A text that is JSON, as it is; one that somebody damaged is a text.
struct Json<'a>(&'a str);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serde_json::from_str::<&RawValue>(self.0) {
            Ok(json) => json.serialize(serializer),
            Err(_) => serializer.serialize_str(self.0),
        }
    }
}

/// A mapping in the order of its pairs.
struct Pairs<'a, V>(&'a [(String, V)]);

impl<V> Pairs<'_, V> {
    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<V: Serialize> Serialize for Pairs<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

fn access_line<'a>(row: &Row, access: &'a Access) -> AccessLine<'a> {
    AccessLine {
        id: row.id,
        kind: "access",
        at: access.at.rfc3339(),
        recorded: row.recorded.rfc3339(),
        classes: &access.classes,
        verb: access.verb.as_deref(),
        outcome: access.outcome.map(Outcome::as_str),
        code: access.code,
        actor: actor_line(&access.actor),
        groups: &access.groups,
        on_behalf_of: access.on_behalf_of.as_deref(),
        credential_id: access.credential_id.as_deref(),
        source_ip: access.source_ip.as_deref(),
        claimed_ips: &access.claimed_ips,
        user_agent: access.user_agent.as_deref(),
        cluster: access.cluster.as_deref(),
        object: access.object.as_ref().map(object_line),
        permission: access.permission.as_ref().map(permission_line),
        detail: (access.detail != Detail::default()).then(|| detail_line(&access.detail)),
        level: access.level.map(AuditLevel::as_str),
        audit_id: access.audit_id.to_string(),
        request: hex_of(&access.request),
        position: position_line(&access.position),
        event_hash: hex_of(&access.event_hash),
        session: access.session.map(SessionStep::as_str),
        duration_us: access.duration,
        count: access.count(),
        first: access.rolled_up.map(|rolled_up| rolled_up.first.rfc3339()),
        last: access.rolled_up.map(|rolled_up| rolled_up.last.rfc3339()),
        truncated: access.truncated,
        from_future: access.from_future,
        rules: &access.rules,
        rule_set: &access.rule_set,
    }
}

fn usage_line<'a>(row: &Row, usage: &'a Usage) -> UsageLine<'a> {
    UsageLine {
        id: row.id,
        kind: "usage",
        at: usage.at.rfc3339(),
        recorded: row.recorded.rfc3339(),
        actor: actor_line(&usage.actor),
        groups: &usage.groups,
        on_behalf_of: usage.on_behalf_of.as_deref(),
        cluster: usage.cluster.as_deref(),
        verb: &usage.verb,
        object: usage.object.as_ref().map(object_line),
        has_more_names: usage.has_more_names,
        path: usage.path.as_deref(),
        permission: usage.permission.as_ref().map(permission_line),
        request: hex_of(&usage.request),
        position: position_line(&usage.position),
        event_hash: hex_of(&usage.event_hash),
    }
}

fn actor_line(actor: &Actor<Arc<str>>) -> ActorLine<'_> {
    ActorLine {
        id: actor.id.as_deref(),
        kind: &actor.kind,
        human: actor.human,
        team: actor.team.as_deref(),
    }
}

fn position_line(position: &EventPosition) -> PositionLine<'_> {
    PositionLine {
        topic: &position.topic,
        partition: position.partition,
        offset: position.offset,
        index: position.index,
    }
}

fn object_line(object: &Object<Arc<str>>) -> ObjectLine<'_> {
    ObjectLine {
        group: object.group.as_deref(),
        resource: &object.resource,
        subresource: object.subresource.as_deref(),
        namespace: object.namespace.as_deref(),
        name: object.name.as_deref(),
    }
}

fn permission_line(permission: &Permission<Arc<str>>) -> PermissionLine {
    let (role, subject) = match permission {
        Permission::Binding { role, subject, .. } => {
            (Some(role.to_string()), Some(subject.to_string()))
        }
        Permission::Masters | Permission::Node => (None, None),
    };
    PermissionLine { binding: permission.name(), role, subject }
}

fn detail_line(detail: &Detail) -> DetailLine<'_> {
    DetailLine {
        command: detail.command.as_deref(),
        path: detail.path.as_deref(),
        dry_run: detail.dry_run,
        selector: detail.selector.as_deref(),
        role: detail.role.as_deref(),
        subjects: &detail.subjects,
        issued_credential_id: detail.issued_credential_id.as_deref(),
        reason: detail.reason.as_deref(),
        message: detail.message.as_deref(),
        body: detail.body.as_deref(),
    }
}

fn entry_line<'a>(row: &Row, entry: &'a Entry) -> EntryLine<'a> {
    EntryLine {
        id: row.id,
        kind: entry.kind.as_str(),
        at: row.at().rfc3339(),
        recorded: row.recorded.rfc3339(),
        subject: &entry.subject,
        party: &entry.party,
        what: &entry.what,
        detail: &entry.detail,
        facts: Pairs(&entry.facts),
        counts: Pairs(&entry.counts),
        alert: match &entry.body {
            Some(Body::Alert(json)) => Some(Json(json)),
            _ => None,
        },
        files: match &entry.body {
            Some(Body::Files(json)) => Some(Json(json)),
            _ => None,
        },
        text: match &entry.body {
            Some(Body::Text(text)) => Some(text),
            _ => None,
        },
    }
}
