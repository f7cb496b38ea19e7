//! Events that went through something which has fewer sorts of values: trees that became texts, values that
//! name their type, lists of keys and values.
//!
//! `"user":"{\"username\":…}"`, `"code":{"int":101}` (Avro), `"stageTimestamp":{"$date":…}` (MongoDB),
//! `"sourceIPs":"10.0.0.1,10.0.0.2"`.

use super::json::Json;

/// Fields that are trees.
const TREES: [&str; 6] =
    ["annotations", "impersonatedUser", "objectRef", "responseStatus", "sourceIPs", "user"];

/// Keys of an object that is one value with the name of its type.
const TYPES: [&str; 13] = [
    "$date",
    "$numberDouble",
    "$numberInt",
    "$numberLong",
    "$oid",
    "array",
    "boolean",
    "double",
    "float",
    "int",
    "long",
    "map",
    "string",
];

/// The event as the API server would have written it; `None` if it is that already, as far as this goes.
pub(super) fn retyped(document: Json<'_>) -> Option<String> {
    let mut out = String::from("{");
    let mut is_changed = false;
    for (key, value) in document.members() {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&format!("\"{key}\":"));
        // Bodies are what people sent.
        let written = match key {
            "requestObject" | "responseObject" => None,
            "annotations" => pairs(value).or_else(|| tree(key, value)),
            _ if TREES.contains(&key) => tree(key, value).or_else(|| members(value)),
            _ => scalar(value),
        };
        is_changed |= written.is_some();
        out.push_str(written.as_deref().unwrap_or(value.raw()));
    }
    out.push('}');
    is_changed.then_some(out)
}

/// A tree that is written as a text, or is nothing but its most important part.
fn tree(key: &str, value: Json<'_>) -> Option<String> {
    let text = value.text()?;
    if Json::new(&text).is_whole_tree() {
        return Some(text.trim().to_owned());
    }
    match key {
        "user" | "impersonatedUser" if !text.is_empty() => {
            Some(format!("{{\"username\":{}}}", value.raw()))
        }
        "responseStatus" => {
            text.trim().parse().ok().map(|code: u16| format!("{{\"code\":{code}}}"))
        }
        "sourceIPs" if text.contains(',') => {
            // Addresses have no characters that need escapes.
            let raw = value.raw().trim_matches('"');
            let addresses = raw.split(',').map(|one| format!("\"{}\"", one.trim()));
            Some(format!("[{}]", addresses.collect::<Vec<_>>().join(",")))
        }
        _ => None,
    }
}

/// A list of keys and values as an object.
fn pairs(list: Json<'_>) -> Option<String> {
    if !list.is_array() || list.is_empty() {
        return None;
    }
    let pair = |item: Json<'_>| {
        let key = item.get("key").or_else(|| item.get("name")).filter(|key| key.is_string())?;
        Some(format!("{}:{}", key.raw(), item.get("value")?.raw()))
    };
    let pairs: Option<Vec<String>> = list.items().map(pair).collect();
    Some(format!("{{{}}}", pairs?.join(",")))
}

/// An object of which some members name their types.
fn members(object: Json<'_>) -> Option<String> {
    if let Some(inner) = scalar(object) {
        return Some(inner);
    }
    let mut is_changed = false;
    let mut written = Vec::new();
    for (key, value) in object.members() {
        let inner = scalar(value);
        is_changed |= inner.is_some();
        written.push(format!("\"{key}\":{}", inner.as_deref().unwrap_or(value.raw())));
    }
    is_changed.then(|| format!("{{{}}}", written.join(",")))
}

/// A value that names its type, or a time in seconds and nanoseconds.
fn scalar(value: Json<'_>) -> Option<String> {
    if !value.is_object() {
        return None;
    }
    let mut members = value.members();
    let (key, inner) = members.next()?;
    let Some((second, more)) = members.next() else {
        if !TYPES.contains(&key) {
            return None;
        }
        let inner = scalar(inner).unwrap_or_else(|| inner.raw().to_owned());
        let is_number = key.starts_with("$number");
        return Some(if is_number { inner.trim_matches('"').to_owned() } else { inner });
    };
    if (key, second) != ("seconds", "nanos") {
        return None;
    }
    let seconds: u64 = inner.raw().trim_matches('"').parse().ok()?;
    let nanos: u32 = more.raw().parse().ok()?;
    Some(format!("{seconds}{nanos:09}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_something_else_is_what_it_was() {
        for (json, expected) in [
            (r#"{"user":"{\"username\":\"eve\"}"}"#, Some(r#"{"user":{"username":"eve"}}"#)),
            (r#"{"user":"eve"}"#, Some(r#"{"user":{"username":"eve"}}"#)),
            (r#"{"responseStatus":"101"}"#, Some(r#"{"responseStatus":{"code":101}}"#)),
            (
                r#"{"responseStatus":{"code":{"int":101}}}"#,
                Some(r#"{"responseStatus":{"code":101}}"#),
            ),
            (r#"{"auditID":{"string":"a"}}"#, Some(r#"{"auditID":"a"}"#)),
            (r#"{"user":{"X":{"username":{"string":"eve"}}}}"#, None),
            (
                r#"{"stageTimestamp":{"$date":{"$numberLong":"1772445600200"}}}"#,
                Some(r#"{"stageTimestamp":1772445600200}"#),
            ),
            (
                r#"{"stageTimestamp":{"seconds":1772445600,"nanos":7}}"#,
                Some(r#"{"stageTimestamp":1772445600000000007}"#),
            ),
            (r#"{"sourceIPs":"10.0.0.1, ::1"}"#, Some(r#"{"sourceIPs":["10.0.0.1","::1"]}"#)),
            (
                r#"{"annotations":[{"key":"a.b/c","value":"d"}]}"#,
                Some(r#"{"annotations":{"a.b/c":"d"}}"#),
            ),
            (
                r#"{"annotations":{"string":"d"},"requestObject":{"int":1},"user":{},"sourceIPs":"::1"}"#,
                None,
            ),
            (r#"{"user":{"username":"eve"},"annotations":[],"verb":"get"}"#, None),
        ] {
            assert_eq!(retyped(Json::new(json)).as_deref(), expected, "{json}");
        }
    }
}
