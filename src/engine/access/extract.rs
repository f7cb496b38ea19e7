//! From an event that a recording rule matched to an access: a second pass over its bytes.
//!
//! The fields that an access needs do not widen what is extracted of every event, so what is not recorded
//! pays nothing for them.

use std::{borrow::Cow, sync::Arc, time::Duration};

use super::{
    Access, Actor, AuditId, Detail, EventPosition, Manner, Object, Outcome, SessionStep,
    fields::{Fields, derived_value},
    permission::{Permission, parse_reason, without_reason},
};
use crate::engine::{
    dead_letter::{ControlMessage, DeadLetterReason},
    decode::{Decoder, Origin as TextOrigin, Sink, body_of},
    event::{
        Event, FieldId, FieldTable, Reference, RequestIdentity, Sources, Stage, is_end_of_long,
        redact, redact_json, well_known,
    },
    kubernetes::AuditLevel,
    limits::{
        ACCESS_BODY_BYTES_MAX, ACCESS_DETAIL_BYTES_MAX, ACCESS_TEXT_BYTES_MAX, ACCESS_TEXTS_MAX,
    },
    rule::{KeyParts, RecordSpec, Rule, RuleIndex, RuleSet, SESSION},
    value::Value,
};

/// Takes what accesses are made of from events that rules matched.
#[derive(Debug)]
pub(in crate::engine) struct Extractor {
    rules: Arc<RuleSet>,
    fields: Fields,
    decoder: Decoder,
    version: Arc<str>,
    sources: Sources,
}

impl Extractor {
    /// For the rules of one set. Cost: the number of fields that they name.
    pub(in crate::engine) fn new(rules: Arc<RuleSet>) -> Extractor {
        // Theirs are kept, in their order: who is who is asked by their numbers.
        let mut table: FieldTable = rules.fields.clone();
        let fields = Fields::add_to(&mut table);
        let version = rules.version.as_str().into();
        let sources = Sources::new(&table, Arc::clone(&rules.identities));
        let decoder = Decoder::sharing(&rules.projections, &table);
        Extractor { rules, fields, decoder, version, sources }
    }

    /// How these rules record what they match.
    pub(in crate::engine) fn manner(&self, matched: &[RuleIndex]) -> Manner {
        let mut manner =
            Manner { every: Some(Duration::MAX), key: KeyParts::NONE, is_session: false };
        for (_, spec) in self.specs(matched) {
            manner.is_session |= &*spec.class == SESSION;
            manner.every = manner.every.zip(spec.every).map(|(one, other)| one.min(other));
            manner.key = manner.key.union(spec.key);
        }
        manner
    }

    fn specs<'s>(
        &'s self,
        matched: &'s [RuleIndex],
    ) -> impl Iterator<Item = (&'s str, &'s RecordSpec)> {
        matched.iter().filter_map(|index| match self.rules.rule(*index) {
            Rule::Detection(rule) => Some((rule.meta.name.as_str(), rule.record.as_ref()?)),
            Rule::Correlation(_) => None,
        })
    }

    /// The access that an event is, of which these rules record it; `is_from_future`: it claims a time that
    /// cannot be its own. `None` if its bytes are no event any more, which does not happen.
    pub(in crate::engine) fn extract(
        &mut self,
        event: &Event<'_>,
        matched: &[RuleIndex],
        reference: &mut Reference<'_>,
        is_from_future: bool,
    ) -> Option<Access> {
        let (mut classes, mut names) = (Vec::new(), Vec::new());
        for (name, spec) in self.specs(matched) {
            classes.push(Arc::clone(&spec.class));
            names.push(Arc::from(name));
        }
        classes.sort_unstable();
        classes.dedup();
        let is_session = classes.iter().any(|class| &**class == SESSION);
        let mut taker =
            Taker { fields: &self.fields, sources: &self.sources, is_session, access: None };
        let cluster = event.first_str(well_known::CLUSTER).map(str::to_owned);
        let text_origin = TextOrigin { cluster: cluster.as_deref(), time: Some(event.time) };
        self.decoder.decode(event.json.as_bytes(), text_origin, &mut taker);
        let mut access = taker.access?;
        access.classes = classes;
        access.rules = names;
        access.rule_set = Arc::clone(&self.version);
        access.from_future = is_from_future;
        let seen = reference.of(event);
        access.audit_id = seen.audit_id.clone();
        access.position = seen.position.clone();
        access.event_hash = seen.event_hash.get();
        Some(access)
    }
}

/// Makes the access of the first event that comes.
struct Taker<'t> {
    fields: &'t Fields,
    sources: &'t Sources,
    is_session: bool,
    access: Option<Access>,
}

impl Sink for Taker<'_> {
    fn event(&mut self, event: &mut Event<'_>) {
        if self.access.is_none() {
            self.access = Some(self.access_of(event));
        }
    }

    fn control(&mut self, _message: ControlMessage) {}

    fn dead_letter(&mut self, _reason: DeadLetterReason, _detail: String, _bytes: &[u8]) {}
}

impl Taker<'_> {
    fn derived(&self, event: &mut Event<'_>, path: &str, field: FieldId) -> Option<Arc<str>> {
        let value = derived_value(event, path, field, self.sources)?;
        value.text().map(|text| bounded(&text, ACCESS_TEXT_BYTES_MAX))
    }

    fn access_of(&self, event: &mut Event<'_>) -> Access {
        let fields = self.fields;
        let actor = Actor {
            id: self.derived(event, "actor.id", fields.actor_id),
            kind: self
                .derived(event, "actor.kind", fields.actor_kind)
                .unwrap_or_else(|| "unknown".into()),
            human: self.derived(event, "actor.human", fields.actor_human).as_deref()
                == Some("true"),
            team: self.derived(event, "actor.team", fields.actor_team),
        };
        let outcome = self.derived(event, "outcome", fields.outcome);
        let duration = match derived_value(event, "duration", fields.duration, self.sources) {
            Some(Value::Float(seconds)) if self.is_session => micros(seconds),
            _ => None,
        };
        let mut addresses = texts(event, well_known::SOURCE_IPS);
        addresses.pop();
        let (permission, reason) = permission_of(event, fields);
        let object = object_of(event, fields);
        let truncated = self.derived(event, "truncated", fields.truncated);
        Access {
            at: event.time,
            classes: Vec::new(),
            verb: text(event, well_known::VERB).filter(|verb| !verb.is_empty()),
            outcome: outcome.as_deref().and_then(Outcome::parse),
            code: match event.first(well_known::RESPONSE_CODE) {
                Some(Value::Int(code)) => u16::try_from(*code).ok().filter(|code| *code != 0),
                _ => None,
            },
            groups: acting_groups(event, fields),
            on_behalf_of: self.derived(event, "actor.on_behalf_of", fields.on_behalf_of),
            credential_id: text(event, well_known::CREDENTIAL_ID),
            source_ip: self.derived(event, "source.ip", fields.source_ip),
            claimed_ips: addresses,
            user_agent: text(event, well_known::USER_AGENT),
            cluster: text(event, well_known::CLUSTER),
            permission,
            detail: self.detail_of(event, object.as_ref(), reason),
            level: event.first_str(well_known::LEVEL).and_then(AuditLevel::parse),
            audit_id: AuditId::new(""),
            request: RequestIdentity::of(event).0,
            position: EventPosition { topic: "".into(), partition: 0, offset: 0, index: 0 },
            event_hash: [0; 32],
            session: self.is_session.then(|| session_step(event)),
            duration,
            rolled_up: None,
            truncated: truncated.as_deref() == Some("true"),
            from_future: false,
            rules: Vec::new(),
            rule_set: "".into(),
            actor,
            object,
        }
    }

    fn detail_of(
        &self,
        event: &mut Event<'_>,
        object: Option<&Object<Arc<str>>>,
        reason: Option<String>,
    ) -> Detail {
        let fields = self.fields;
        let command = self.derived(event, "exec.command", fields.command);
        let uri = event.first_str(well_known::REQUEST_URI).unwrap_or("");
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let of_nothing = object.is_none() && !path.is_empty();
        let is_failure = match event.first(well_known::RESPONSE_CODE) {
            Some(Value::Int(code)) => *code >= 400,
            _ => false,
        };
        let one = |field| event.first_str(field).map(shown);
        let role = match (one(fields.role_kind), one(fields.role_name)) {
            (Some(kind), Some(name)) => Some(shown(&format!("{kind} {name}"))),
            _ => None,
        };
        Detail {
            command: command.as_deref().map(shown),
            path: of_nothing.then(|| shown(path)),
            dry_run: parameters(query).any(|(name, value)| name == "dryRun" && !value.is_empty()),
            selector: selector_of(query),
            role,
            subjects: pairs(event, fields.subject_kinds, fields.subject_names),
            issued_credential_id: one(fields.issued),
            reason,
            message: one(fields.message).filter(|_| is_failure),
            body: object
                .filter(|object| keeps_body(object))
                .and_then(|_| body_of(event.json))
                .map(|body| cut(&redact_json(body), ACCESS_BODY_BYTES_MAX).into_owned()),
        }
    }
}

/// A session is told of in two stages, unless the log has one of them only.
fn session_step(event: &Event<'_>) -> SessionStep {
    match event.stage {
        _ if is_end_of_long(event) => SessionStep::End,
        Stage::ResponseComplete | Stage::Panic => SessionStep::Whole,
        Stage::RequestReceived | Stage::Unfinished | Stage::ResponseStarted => SessionStep::Start,
    }
}

/// By which permission it was allowed, or else what the log says of that.
fn permission_of(
    event: &Event<'_>,
    fields: &Fields,
) -> (Option<Permission<Arc<str>>>, Option<String>) {
    let is_allowed = event.first_str(well_known::DECISION) == Some("allow");
    let reason = event.first_str(fields.reason).unwrap_or("");
    let permission = if reason.is_empty() && is_allowed {
        let groups = acting_groups_field(event, fields);
        let groups: Vec<Cow<'_, str>> = event.values(groups).filter_map(Value::text).collect();
        without_reason(groups.iter().map(|group| &**group))
    } else {
        parse_reason(reason).filter(|_| is_allowed)
    };
    let is_told = permission.is_some() || reason.is_empty();
    let permission =
        permission.map(|found| found.map(&mut |text| bounded(&text, ACCESS_TEXT_BYTES_MAX)));
    (permission, (!is_told).then(|| shown(reason)))
}

/// Groups of who it was done as: of the impersonated user, if there is one.
fn acting_groups_field(event: &Event<'_>, fields: &Fields) -> FieldId {
    let acts_as = event.first_str(well_known::IMPERSONATED_USERNAME).unwrap_or("");
    if acts_as.is_empty() { well_known::GROUPS } else { fields.impersonated_groups }
}

fn acting_groups(event: &Event<'_>, fields: &Fields) -> Vec<Arc<str>> {
    texts(event, acting_groups_field(event, fields))
}

fn object_of(event: &Event<'_>, fields: &Fields) -> Option<Object<Arc<str>>> {
    let resource = text(event, well_known::RESOURCE).filter(|resource| !resource.is_empty())?;
    let some = |field| text(event, field).filter(|text| !text.is_empty());
    // With `generateName` only the answer knows the name.
    let made =
        || some(fields.made_name).filter(|_| event.first_str(well_known::VERB) == Some("create"));
    Some(Object {
        group: some(well_known::API_GROUP),
        resource,
        subresource: some(well_known::SUBRESOURCE),
        namespace: some(well_known::NAMESPACE),
        name: some(well_known::NAME).or_else(made),
    })
}

/// Whether the body says what may be done by whom from then on.
fn keeps_body(object: &Object<Arc<str>>) -> bool {
    let group = object.group.as_deref().unwrap_or("");
    matches!(group, "rbac.authorization.k8s.io" | "admissionregistration.k8s.io")
        || object.resource.as_ref() == "certificatesigningrequests"
        || group.is_empty()
            && object.resource.as_ref() == "configmaps"
            && object.name.as_deref() == Some("aws-auth")
}

/// The parameters of a query as they stand there.
fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter_map(|pair| pair.split_once('='))
}

fn selector_of(query: &str) -> Option<String> {
    let parts: Vec<String> = parameters(query)
        .filter(|(name, _)| matches!(*name, "labelSelector" | "fieldSelector"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    (!parts.is_empty()).then(|| shown(&parts.join("&")))
}

/// `User anna`, `Group ops`: kinds and names of one list.
fn pairs(event: &Event<'_>, kinds: FieldId, names: FieldId) -> Vec<String> {
    let kinds = event.values(kinds).filter_map(Value::text);
    let names = event.values(names).filter_map(Value::text);
    let pair = |(kind, name): (Cow<'_, str>, Cow<'_, str>)| shown(&format!("{kind} {name}"));
    kinds.zip(names).map(pair).take(ACCESS_TEXTS_MAX).collect()
}

fn text(event: &Event<'_>, field: FieldId) -> Option<Arc<str>> {
    let value = event.first(field)?.text()?;
    Some(bounded(&value, ACCESS_TEXT_BYTES_MAX))
}

fn texts(event: &Event<'_>, field: FieldId) -> Vec<Arc<str>> {
    let values = event.values(field).filter_map(Value::text);
    values.take(ACCESS_TEXTS_MAX).map(|text| bounded(&text, ACCESS_TEXT_BYTES_MAX)).collect()
}

fn bounded(text: &str, bytes_max: usize) -> Arc<str> {
    Arc::from(&*cut(text, bytes_max))
}

/// A detail: without secrets, and not too long.
fn shown(text: &str) -> String {
    cut(&redact(&cut(text, ACCESS_DETAIL_BYTES_MAX)), ACCESS_DETAIL_BYTES_MAX).into_owned()
}

/// The text, or its beginning with `…` behind it.
fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(bytes_max - '…'.len_utf8());
    Cow::Owned(format!("{}…", text.get(..end).unwrap_or(text)))
}

fn micros(seconds: f64) -> Option<u64> {
    u64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_micros()).ok()
}
