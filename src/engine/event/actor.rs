//! Who acts: whom the API server authenticated, and as whom they act.
//!
//! Whoever may impersonate chooses a name, so what kind of actor somebody is follows from what was
//! authenticated, and is told by groups as well as by the name. A person behind a machine is a person, and so
//! is a person who takes a machine's name.

use std::borrow::Cow;

use super::{Event, FieldId, Sources, well_known};
use crate::engine::{
    kubernetes::{
        stages::UNAUTHORIZED,
        users::{
            ANONYMOUS, CERTIFICATE_PREFIX, SERVICE_ACCOUNT_PREFIX, is_confirmed,
            is_unknown_control_plane, kind_of, kind_of_name,
        },
    },
    value::{Value, fold_case},
};

const HUMAN: &str = "human";

fn name<'e>(event: &'e Event<'_>, field: FieldId) -> Option<&'e str> {
    event.first_str(field).filter(|name| !name.is_empty())
}

/// `actor.id`.
pub(super) fn id(event: &mut Event<'_>, field: FieldId) {
    push_first(event, &[well_known::IMPERSONATED_USERNAME, well_known::USERNAME], field);
}

/// `actor.caller`.
pub(super) fn caller(event: &mut Event<'_>, field: FieldId) {
    push_first(event, &[well_known::USERNAME], field);
}

/// `actor.confirmed`.
pub(super) fn confirmed(event: &mut Event<'_>, field: FieldId, sources: &Sources) {
    if is_name_confirmed(event, sources) {
        push_first(event, &[well_known::USERNAME], field);
    }
}

/// Whether somebody was authenticated whose name nothing speaks against.
fn is_name_confirmed(event: &Event<'_>, sources: &Sources) -> bool {
    let Some(caller) = name(event, well_known::USERNAME) else { return false };
    // Tokens are all that service accounts have.
    let is_another = caller.starts_with(SERVICE_ACCOUNT_PREFIX) && has_certificate(event);
    let is_known = || {
        is_confirmed(caller, groups(event))
            || is_unknown_control_plane(caller) && sources.identities.lists_machine(event)
    };
    is_known() && !is_another && !only_looks_own(caller)
}

/// `actor.namespace`.
pub(super) fn namespace(event: &mut Event<'_>, field: FieldId, sources: &Sources) {
    let namespace = name(event, well_known::USERNAME)
        .and_then(|caller| caller.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':'))
        .map(|(namespace, _)| namespace.to_owned());
    if let Some(namespace) = namespace
        && is_name_confirmed(event, sources)
    {
        event.push(field, Value::Str(Cow::Owned(namespace)));
    }
}

/// Whether somebody came with a client certificate, as far as that is recorded (from Kubernetes 1.32 on).
pub(in crate::engine) fn has_certificate(event: &Event<'_>) -> bool {
    event.first_str(well_known::CREDENTIAL_ID).is_some_and(|id| id.starts_with(CERTIFICATE_PREFIX))
}

/// Whether a name is one of Kubernetes' own but for its case, of which rules take no notice. Kubernetes has none with
/// capital letters there.
fn only_looks_own(name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    !is_plain && kind_of_name(Some(&fold_case(name))) != HUMAN
}

fn push_first(event: &mut Event<'_>, from: &[FieldId], field: FieldId) {
    let named = from.iter().find(|from| name(event, **from).is_some());
    match named.and_then(|from| event.first(*from)).cloned() {
        Some(value) => event.push(field, value),
        None if is_login_failure(event) => event.push(field, Value::Str(Cow::Borrowed(ANONYMOUS))),
        None => {}
    }
}

/// `actor.kind`.
pub(super) fn kind(event: &Event<'_>) -> &'static str {
    let caller = kind_of_caller(event);
    match name(event, well_known::IMPERSONATED_USERNAME) {
        Some(other) if caller != "anonymous" && kind_of_name(Some(other)) == HUMAN => HUMAN,
        _ => caller,
    }
}

/// What kind of user was authenticated.
fn kind_of_caller(event: &Event<'_>) -> &'static str {
    let name = name(event, well_known::USERNAME);
    // A failed login names nobody, and so has no groups.
    let name = name.or_else(|| is_login_failure(event).then_some(ANONYMOUS));
    kind_of(name, groups(event))
}

/// The groups of who was authenticated; none if the event is cut amid them, since what is left of them speaks against
/// nobody.
fn groups<'e>(event: &'e Event<'_>) -> impl Iterator<Item = &'e str> {
    let are_cut =
        event.is_cut && event.values(well_known::GROUPS).any(|group| *group == Value::Composite);
    let groups = event.values(well_known::GROUPS).filter(move |_| !are_cut);
    groups.filter_map(|group| match group {
        Value::Str(text) => Some(&**text),
        _ => None,
    })
}

/// `actor.human`.
pub(super) fn is_human(event: &Event<'_>, sources: &Sources) -> bool {
    let identities = &sources.identities;
    let caller = sources.callers.is_human(event, identities);
    if caller.unwrap_or_else(|| kind_of_caller(event) == HUMAN) {
        return true;
    }
    name(event, well_known::IMPERSONATED_USERNAME).is_some_and(|other| {
        identities.of(event).human.unwrap_or_else(|| kind_of_name(Some(other)) == HUMAN)
    })
}

/// The HTTP status, if the request was answered.
pub(super) fn response_code(event: &Event<'_>) -> Option<i64> {
    match event.first(well_known::RESPONSE_CODE)? {
        Value::Int(code) if *code != 0 => Some(*code),
        _ => None,
    }
}

fn is_login_failure(event: &Event<'_>) -> bool {
    response_code(event) == Some(i64::from(UNAUTHORIZED))
}
