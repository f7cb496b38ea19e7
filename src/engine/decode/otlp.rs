//! OpenTelemetry's Kafka exporter with encoding `otlp_json`. The default, `otlp_proto`, is binary and
//! is not understood.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{
    json::Json,
    wrapper::{Wrapped, Wrapper},
};

/// `{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "<line>"}}]}]}]}`.
pub(super) struct Otlp;

impl Wrapper for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn summary(&self) -> &'static str {
        "OpenTelemetry logs as `otlp_json`: the event as text, or parsed, in the `body` of each log \
         record. The cluster is the resource attribute `k8s.cluster.name`."
    }

    fn example(&self) -> &'static str {
        r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"k8s.cluster.name","value":{"stringValue":"prod"}}]},"scopeLogs":[{"scope":{},"logRecords":[{"timeUnixNano":"1767651241131000000","body":{"stringValue":"@TEXT@"}}]}]}]}"#
    }

    fn unwrap<'a>(&self, wrapper: Json<'a>, inside: &mut Vec<Wrapped<'a>>) -> bool {
        let Some(resources) = wrapper.get("resourceLogs") else { return false };
        for resource in resources.items() {
            let cluster = cluster_of(resource);
            let scopes = resource.get("scopeLogs").map(Json::items).into_iter().flatten();
            let records = scopes.filter_map(|scope| scope.get("logRecords")).flat_map(Json::items);
            for body in records.filter_map(|record| record.get("body")) {
                let content = match body.get("stringValue") {
                    Some(text) => text.text(),
                    None => parsed(body).map(Cow::Owned),
                };
                let cluster = cluster.clone();
                inside.extend(content.map(|content| Wrapped { content, cluster }));
            }
        }
        true
    }
}

fn cluster_of<'a>(resource: Json<'a>) -> Option<Cow<'a, str>> {
    let named = |attribute: &Json<'a>| {
        attribute.get("key").and_then(Json::text).as_deref() == Some("k8s.cluster.name")
    };
    let attribute = resource.at(&["resource", "attributes"])?.items().find(named)?;
    attribute.at(&["value", "stringValue"])?.text()
}

/// A body that was parsed, back as JSON.
fn parsed(body: Json<'_>) -> Option<String> {
    let body: Value = serde_json::from_str(body.raw()).ok()?;
    let event = plain(&body).filter(Value::is_object)?;
    Some(event.to_string())
}

/// What an `AnyValue` stands for. Recursion is bounded by the depth that `serde_json` accepts.
fn plain(value: &Value) -> Option<Value> {
    let (kind, value) = value.as_object()?.iter().next()?;
    Some(match (kind.as_str(), value) {
        ("kvlistValue", list) => {
            let entries = list.get("values").and_then(Value::as_array)?.iter();
            let entries = entries.filter_map(|entry| {
                Some((entry.get("key")?.as_str()?.to_owned(), plain(entry.get("value")?)?))
            });
            Value::Object(entries.collect::<Map<String, Value>>())
        }
        ("arrayValue", list) => {
            let values = list.get("values").and_then(Value::as_array);
            Value::Array(values.into_iter().flatten().filter_map(plain).collect())
        }
        // 64-bit integers are strings in the JSON form of protocol buffers.
        ("intValue", Value::String(number)) => Value::from(number.parse::<i64>().ok()?),
        (_, value) => value.clone(),
    })
}
