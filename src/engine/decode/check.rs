//! What makes a document an audit event, and what its own fields say if they are written in an odd way.
//!
//! Shippers and tables make texts of numbers, numbers of times, capitals of words. A value is read if it is
//! clear; if it is not, that field alone is absent, and counted. An event that has no identity, no verb or
//! no time at all is none.

use std::borrow::Cow;

use super::{
    Context, clock,
    json::Json,
    projection::Projection,
    search::{Around, Members},
};
use crate::engine::{
    dead_letter::DeadLetterReason,
    event::{Event, FieldId, Stage, well_known},
    kubernetes::{levels::LEVEL_WORDS, stages::SERVER_STAGE_WORDS},
    time::EventTime,
    value::{Number, Value},
};

/// Where OpenShift's collector puts the level, when it puts the level of a log line in its place.
const OTHER_LEVELS: [&str; 2] = ["k8s_audit_level", "openshift_audit_level"];

/// What AKS puts in the place of a body that is too large.
const SKIPPED_BODY: &str = "skipped-too-big-size-object";

/// Fields that are text.
const TEXTS: [FieldId; 7] = [
    well_known::AUDIT_ID,
    well_known::STAGE,
    well_known::VERB,
    well_known::REQUEST_URI,
    well_known::USERNAME,
    well_known::RECEIVED,
    well_known::STAGE_TIME,
];

/// A stage that an API server knows.
fn stage_of(word: &str) -> Option<Stage> {
    Stage::parse(word).filter(|stage| *stage != Stage::Unfinished)
}

/// Fills in what the engine itself needs: identity, stage, time, cluster. Why the document is no event.
#[inline]
pub(super) fn check<'a>(
    event: &mut Event<'a>,
    projection: &Projection,
    context: Context<'a>,
) -> Result<(), (DeadLetterReason, &'static str)> {
    if !event.has(well_known::AUDIT_ID) {
        return Err(without_id(event, projection));
    }
    if !is_usual(event) {
        read_odd(event);
    }
    complete(event, projection, context)
}

/// The same for an event whose own fields are all as the API server writes them. False: it is none, or they are
/// not.
#[inline]
pub(super) fn check_usual<'a>(
    event: &mut Event<'a>,
    projection: &Projection,
    context: Context<'a>,
) -> bool {
    is_usual(event) && complete(event, projection, context).is_ok()
}

#[inline]
fn complete<'a>(
    event: &mut Event<'a>,
    projection: &Projection,
    context: Context<'a>,
) -> Result<(), (DeadLetterReason, &'static str)> {
    use DeadLetterReason::{NoAuditId, NoTime, NoVerb};
    if event.first_str(well_known::AUDIT_ID).unwrap_or("").is_empty() {
        return Err((NoAuditId, "auditID is empty, or no text"));
    }
    event.bodies_skipped = projection.bodies().into_iter().any(|body| is_skipped(event, body));
    event.is_cut = context.marked && event.has(projection.cut());
    if !event.has(well_known::VERB) && !event.is_cut {
        return Err((NoVerb, "verb is missing, or no text"));
    }
    // Without a stage rules must see it: only what has no answer yet is kept from them.
    let stage = event.first_str(well_known::STAGE).and_then(stage_of);
    event.stage = stage.unwrap_or(Stage::ResponseComplete);
    event.time = match time_of(event, projection, context) {
        Some(time) => time,
        None => return Err((NoTime, "no time in it or around it that can be read")),
    };
    if let Some(cluster) = context.cluster {
        event.push(well_known::CLUSTER, Value::Str(Cow::Borrowed(cluster)));
    } else if let Some(value @ Value::Str(_)) = event.first(projection.cluster()).cloned() {
        event.push(well_known::CLUSTER, value);
    }
    projection.settle(event);
    Ok(())
}

/// Whether there is nothing of a body but that it was too large.
#[inline]
fn is_skipped(event: &Event<'_>, body: FieldId) -> bool {
    matches!(event.first(body), Some(Value::Str(text)) if *text == SKIPPED_BODY)
}

/// What a document without an audit id is.
fn without_id(event: &Event<'_>, projection: &Projection) -> (DeadLetterReason, &'static str) {
    let version = event.first_str(projection.api_version());
    let is_audit = version.is_some_and(|version| version.starts_with("audit.k8s.io/"));
    let stage = event.first_str(well_known::STAGE).and_then(stage_of);
    if is_audit || stage.is_some() {
        (DeadLetterReason::NoAuditId, "auditID is missing")
    } else {
        (DeadLetterReason::NotAnEvent, "no audit event, and none was found inside")
    }
}

/// When it happened: at its stage, else when it was received, else when it was logged.
#[inline]
fn time_of(event: &Event<'_>, projection: &Projection, context: Context<'_>) -> Option<EventTime> {
    let own = |field| {
        let time = event.first_str(field).and_then(EventTime::parse);
        time.filter(|time| clock::is_real(*time))
    };
    own(well_known::STAGE_TIME)
        .or_else(|| own(well_known::RECEIVED))
        .or_else(|| projection.legacy_times().into_iter().find_map(own))
        .or_else(|| Around::of(&Members::of(Json::new(event.json))).time)
        .or(context.time)
}

/// Whether every field that the engine looks at is as the API server writes it.
#[inline]
fn is_usual(event: &Event<'_>) -> bool {
    TEXTS.iter().all(|field| matches!(event.first(*field), None | Some(Value::Str(_))))
        && matches!(event.first(well_known::RESPONSE_CODE), None | Some(Value::Int(_)))
        && match event.first(well_known::LEVEL) {
            None => true,
            Some(Value::Str(level)) => LEVEL_WORDS.contains(&&**level),
            Some(_) => false,
        }
        && event.first_str(well_known::STAGE).is_some_and(|stage| stage_of(stage).is_some())
        && !event
            .first_str(well_known::VERB)
            .is_some_and(|verb| verb.starts_with(|c: char| c.is_ascii_uppercase()))
        && [well_known::STAGE_TIME, well_known::RECEIVED]
            .iter()
            .all(|field| event.first_str(*field).is_none_or(is_usual_time))
}

/// Whether a text begins like a time of the API server; years before 1971 stand for none.
#[inline]
fn is_usual_time(text: &str) -> bool {
    matches!(
        text.as_bytes(),
        [b'1' | b'2', b'0' | b'9', _, _, b'-', _, _, b'-', _, _, b'T', .., b'Z']
    ) && !text.starts_with("1970")
}

/// Reads what is written in an odd way.
#[cold]
fn read_odd(event: &mut Event<'_>) {
    for field in [well_known::AUDIT_ID, well_known::REQUEST_URI, well_known::USERNAME] {
        read_with(event, field, |value| value.text().map(Cow::into_owned));
    }
    read_with(event, well_known::VERB, |value| match value {
        Value::Str(verb) => Some(verb.trim().to_ascii_lowercase()),
        _ => None,
    });
    read_with(event, well_known::STAGE, |value| word_of(value, SERVER_STAGE_WORDS));
    read_level(event);
    for field in [well_known::STAGE_TIME, well_known::RECEIVED] {
        let is_zero = event
            .first_str(field)
            .and_then(EventTime::parse)
            .is_some_and(|time| !clock::is_real(time))
            || matches!(event.first(field), Some(Value::Int(0)));
        if is_zero {
            // Missing, in other words.
            event.unset(field);
        } else if !matches!(event.first(field), Some(Value::Str(text)) if EventTime::parse(text).is_some())
        {
            read_with(event, field, |value| clock::read_time(value).map(EventTime::rfc3339));
        }
    }
    read_code(event);
}

/// Puts a text in the place of an odd value; if there is none, the field is absent.
fn read_with(event: &mut Event<'_>, field: FieldId, read: impl Fn(&Value<'_>) -> Option<String>) {
    match event.first(field) {
        None => {}
        // Where an empty value was written, there is none.
        Some(Value::Null) if event.count(field) == 1 => event.unset(field),
        Some(_) => match event.values(field).find_map(read) {
            Some(text) if event.first_str(field) == Some(&text) => {}
            Some(text) => event.set(field, Value::Str(Cow::Owned(text))),
            None => {
                event.unset(field);
                event.unread.insert(field);
            }
        },
    }
}

/// One of some words, in whatever case, with or without spaces, hyphens and underscores.
fn word_of(value: &Value<'_>, words: &[&str]) -> Option<String> {
    let Value::Str(text) = value else { return None };
    let letters = || text.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase());
    let word = words.iter().find(|word| letters().eq(word.chars().map(|c| c.to_ascii_lowercase())));
    word.map(|word| (*word).to_owned())
}

fn read_level(event: &mut Event<'_>) {
    let known = event.first(well_known::LEVEL).and_then(|value| word_of(value, LEVEL_WORDS));
    let elsewhere = || {
        let document = Members::of(Json::new(event.json));
        let text = OTHER_LEVELS.iter().find_map(|key| document.text(key))?;
        word_of(&Value::Str(text), LEVEL_WORDS)
    };
    match known.or_else(elsewhere) {
        Some(level) => event.set(well_known::LEVEL, Value::Str(Cow::Owned(level))),
        None => read_with(event, well_known::LEVEL, |_| None),
    }
}

/// The status as a number, whatever it is written as.
fn read_code(event: &mut Event<'_>) {
    let field = well_known::RESPONSE_CODE;
    let code = match event.first(field) {
        None | Some(Value::Int(_)) => return,
        Some(Value::Null) => return event.unset(field),
        Some(Value::Str(text)) => text.trim().parse().ok(),
        Some(value) => value.number().map(Number::as_f64),
    };
    #[expect(clippy::cast_possible_truncation, reason = "the filter leaves 0 to 999")]
    let code = code
        .filter(|code: &f64| (0.0..1_000.0).contains(code) && code.fract() == 0.0)
        .map(|code| Value::Int(code as i64));
    if let Some(code) = code {
        event.set(field, code);
    } else {
        event.unset(field);
        event.unread.insert(field);
    }
}
