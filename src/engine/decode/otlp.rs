//! OpenTelemetry's Kafka exporter with encoding `otlp_json`, or what `otlp_proto` is turned into.
//!
//! `{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "<line>"}}]}]}]}`. A body that
//! was parsed, and attributes, are typed values; they are turned back into plain JSON.

use std::borrow::Cow;

use super::{
    json::Json,
    promise::is_promising,
    search::{Around, Content, Members, Search},
};
use crate::engine::limits;

/// Keys of typed values, as the JSON form of protocol buffers writes them; some write snake_case.
const KINDS: [[&str; 2]; 7] = [
    ["stringValue", "string_value"],
    ["boolValue", "bool_value"],
    ["intValue", "int_value"],
    ["doubleValue", "double_value"],
    ["arrayValue", "array_value"],
    ["kvlistValue", "kvlist_value"],
    ["bytesValue", "bytes_value"],
];

pub(super) fn is(members: &Members<'_>) -> bool {
    members.has("resourceLogs") || members.has("resource_logs")
}

/// One log record: what has a body that is a typed value, or attributes that are a list of them.
pub(super) fn open<'a>(
    json: Json<'a>,
    members: &Members<'a>,
    search: &mut Search<'a>,
    around: &Around<'a>,
) -> bool {
    let times =
        ["timeUnixNano", "time_unix_nano", "observedTimeUnixNano", "observed_time_unix_nano"];
    let body = members.get("body");
    let attributes = members.get("attributes").filter(|attributes| attributes.is_array());
    // Resources and scopes have attributes, too.
    let is_record = body.is_some_and(|body| body.is_empty() || kind_of(body).is_some())
        || attributes.is_some_and(|attributes| {
            times.iter().any(|key| members.has(key)) || has_audit_id(attributes)
        });
    if !is_record {
        return false;
    }
    let text = body.and_then(kind_of).filter(|(kind, _)| *kind == "stringValue");
    if let Some((_, text)) = text.filter(|(_, text)| is_promising(text.raw())) {
        search.push(text.text().map_or(Content::Nothing(json.raw()), Content::Text), around);
        return true;
    }
    let mut plain = String::from("{\"body\":");
    match body {
        Some(body) => write_plain(body, &mut plain, 0),
        None => plain.push_str("null"),
    }
    plain.push_str(",\"attributes\":");
    match members.get("attributes") {
        Some(list) => write_members(list, &mut plain, 0),
        None => plain.push_str("{}"),
    }
    plain.push('}');
    let content = if is_promising(&plain) || has_base64(body) {
        Content::Text(Cow::Owned(plain))
    } else {
        Content::Nothing(json.raw())
    };
    search.push(content, around);
    true
}

/// Whether the audit id of an event is among attributes.
fn has_audit_id(attributes: Json<'_>) -> bool {
    let is_id = |key: Json<'_>| key.raw().trim_matches('"').ends_with("auditID");
    attributes.items().any(|attribute| attribute.get("key").is_some_and(is_id))
}

fn has_base64(body: Option<Json<'_>>) -> bool {
    body.and_then(kind_of).is_some_and(|(kind, _)| matches!(kind, "bytesValue" | "stringValue"))
}

/// The cluster among the attributes of a resource.
pub(super) fn cluster_of<'a>(members: &Members<'a>) -> Option<Cow<'a, str>> {
    let attributes = members.get("resource")?.get("attributes")?;
    let named = |attribute: &Json<'a>| {
        attribute.get("key").and_then(Json::text).as_deref() == Some("k8s.cluster.name")
    };
    let (_, name) = kind_of(attributes.items().find(named)?.get("value")?)?;
    name.text()
}

/// The kind of a typed value, and what it holds.
fn kind_of(value: Json<'_>) -> Option<(&'static str, Json<'_>)> {
    let (key, inner) = value.members().next()?;
    let [kind, _] = KINDS.iter().find(|names| names.contains(&key))?;
    Some((kind, inner))
}

/// Writes what a typed value stands for. Recursion is bounded by [`limits::JSON_DEPTH_MAX`]; what lies
/// deeper is null.
fn write_plain(value: Json<'_>, out: &mut String, depth: usize) {
    let known = kind_of(value).filter(|_| depth < limits::JSON_DEPTH_MAX);
    let Some((kind, inner)) = known else {
        out.push_str("null");
        return;
    };
    let values = || inner.get("values").into_iter().flat_map(Json::items);
    match kind {
        "kvlistValue" => write_members(inner.get("values").unwrap_or(inner), out, depth),
        "arrayValue" => {
            for (index, item) in values().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                write_plain(item, out, depth + 1);
            }
            out.push_str(if values().next().is_none() { "[]" } else { "]" });
        }
        // 64-bit integers are strings in the JSON form of protocol buffers.
        "intValue" => match inner.raw().trim_matches('"').parse::<i64>() {
            Ok(number) => out.push_str(&number.to_string()),
            Err(_) => out.push_str("null"),
        },
        _ => out.push_str(inner.raw()),
    }
}

/// Writes a list of keys and typed values as an object.
fn write_members(list: Json<'_>, out: &mut String, depth: usize) {
    out.push('{');
    let mut is_first = true;
    for entry in list.items() {
        let (Some(key), Some(value)) = (entry.get("key"), entry.get("value")) else { continue };
        if !key.is_string() {
            continue;
        }
        if !std::mem::take(&mut is_first) {
            out.push(',');
        }
        out.push_str(key.raw());
        out.push(':');
        write_plain(value, out, depth + 1);
    }
    out.push('}');
}
