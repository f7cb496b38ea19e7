//! Events that went through something which has fewer sorts of values: trees that became texts, values that
//! name their type, lists of keys and values.
//!
//! `"user":"{\"username\":…}"`, `"code":{"int":101}` (Avro), `"stageTimestamp":{"$date":…}` (MongoDB),
//! `"verb":{"S":"get"}` (DynamoDB), `"sourceIPs":"10.0.0.1,10.0.0.2"`.

use super::{json::Json, renamed::BELOW};

/// Fields that are trees.
const TREES: [&str; 6] =
    ["annotations", "impersonatedUser", "objectRef", "responseStatus", "sourceIPs", "user"];

/// Keys of an object that is one value with the name of its type; behind the name may stand what it means, as in
/// `long.timestamp-millis`.
const TYPES: [&str; 20] = [
    "$date",
    "$numberDouble",
    "$numberInt",
    "$numberLong",
    "$oid",
    "BOOL",
    "L",
    "M",
    "N",
    "S",
    "SS",
    "array",
    "boolean",
    "bytes",
    "double",
    "float",
    "int",
    "long",
    "map",
    "string",
];

/// Types of which the values are numbers in texts.
const NUMBERS: [&str; 4] = ["$numberDouble", "$numberInt", "$numberLong", "N"];

/// Objects and arrays within one another of which the values may name their types: 6.
const DEPTH_MAX: usize = 6;

/// The event as the API server would have written it; `None` if it is that already, as far as this goes, or none.
pub(super) fn retyped(document: Json<'_>) -> Option<String> {
    document.get("auditID")?;
    let mut out = String::from("{");
    let mut is_changed = false;
    for (key, value) in document.members() {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&format!("\"{key}\":"));
        let written = match key {
            // What people sent, and no text but where something made one of it.
            "requestObject" | "responseObject" => body(value),
            "annotations" => pairs(value).or_else(|| tree(key, value)).or_else(|| map(value)),
            _ if TREES.contains(&key) => tree(key, value).or_else(|| record(value)),
            _ => scalar(value),
        };
        is_changed |= written.is_some();
        out.push_str(written.as_deref().unwrap_or(value.raw()));
    }
    out.push('}');
    is_changed.then_some(out)
}

/// A body that is a text.
fn body(value: Json<'_>) -> Option<String> {
    let typed = single(value).filter(|(key, _)| *key == "string").map(|(_, inner)| inner);
    let text = typed.unwrap_or(value).text()?;
    Json::new(&text).is_whole_tree().then(|| text.trim().to_owned())
}

/// A map whose type is named around it. Keys of annotations are people's own, their values are texts.
fn map(value: Json<'_>) -> Option<String> {
    let (key, inner) = single(value)?;
    if !matches!(key, "map" | "M") || !inner.is_object() {
        return None;
    }
    let members = inner.members().map(|(key, value)| {
        let written = scalar(value);
        format!("\"{key}\":{}", written.as_deref().unwrap_or(value.raw()))
    });
    Some(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}

/// Whether a key is one of the trees that are records: an object with one member, which is none of these, names its
/// type.
fn is_member(key: &str) -> bool {
    key == "uid" || BELOW.contains(&key)
}

/// A record, perhaps within an object that names it, of which some values name their types.
fn record(value: Json<'_>) -> Option<String> {
    let named = single(value)
        .filter(|(key, inner)| inner.is_object() && !is_member(key) && type_of(key).is_none());
    match named {
        Some((_, inner)) => Some(plain(inner, 0).unwrap_or_else(|| inner.raw().to_owned())),
        None => plain(value, 0),
    }
}

/// The only member of an object.
fn single(value: Json<'_>) -> Option<(&str, Json<'_>)> {
    let mut members = value.members();
    members.next().filter(|_| members.next().is_none())
}

fn type_of(key: &str) -> Option<&'static str> {
    let name = key.split_once('.').map_or(key, |(name, _)| name);
    TYPES.into_iter().find(|known| *known == name)
}

/// A value without the types that are named in it; `None` if there are none. Recursion is bounded by [`DEPTH_MAX`].
fn plain(value: Json<'_>, depth: usize) -> Option<String> {
    if depth > DEPTH_MAX {
        return None;
    }
    if let Some(inner) = scalar_at(value, depth) {
        return Some(inner);
    }
    let mut is_changed = false;
    let mut inner = |item: Json<'_>| {
        let written = plain(item, depth + 1);
        is_changed |= written.is_some();
        written.unwrap_or_else(|| item.raw().to_owned())
    };
    let written = if value.is_array() {
        let items: Vec<String> = value.items().map(inner).collect();
        format!("[{}]", items.join(","))
    } else if value.is_object() {
        let members: Vec<String> =
            value.members().map(|(key, member)| format!("\"{key}\":{}", inner(member))).collect();
        format!("{{{}}}", members.join(","))
    } else {
        return None;
    };
    is_changed.then_some(written)
}

/// A value that names its type, or a time in seconds and nanoseconds.
fn scalar(value: Json<'_>) -> Option<String> {
    scalar_at(value, 0)
}

fn scalar_at(value: Json<'_>, depth: usize) -> Option<String> {
    if !value.is_object() {
        return None;
    }
    if let Some((key, inner)) = single(value)
        && let Some(name) = type_of(key)
    {
        let written = plain(inner, depth + 1).unwrap_or_else(|| inner.raw().to_owned());
        let is_number = NUMBERS.contains(&name);
        return Some(if is_number { written.trim_matches('"').to_owned() } else { written });
    }
    let mut nanos = Some(0);
    let mut seconds: Option<u64> = None;
    for (key, part) in value.members() {
        let digits = part.raw().trim_matches('"');
        match key {
            "seconds" => seconds = digits.parse().ok(),
            "nanos" => nanos = digits.parse().ok(),
            _ => return None,
        }
    }
    let (seconds, nanos): (u64, u32) = (seconds?, nanos?);
    Some(format!("{seconds}{nanos:09}"))
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
            (
                r#"{"user":{"x.User":{"username":{"string":"eve"},"groups":{"array":["a"]}}}}"#,
                Some(r#"{"user":{"username":"eve","groups":["a"]}}"#),
            ),
            (
                r#"{"user":{"M":{"username":{"S":"eve"},"groups":{"L":[{"S":"a"}]}}}}"#,
                Some(r#"{"user":{"username":"eve","groups":["a"]}}"#),
            ),
            (r#"{"verb":{"S":"get"}}"#, Some(r#"{"verb":"get"}"#)),
            (
                r#"{"stageTimestamp":{"long.timestamp-millis":1772445600200}}"#,
                Some(r#"{"stageTimestamp":1772445600200}"#),
            ),
            (
                r#"{"annotations":{"map":{"a.b/c":{"string":"d"}}}}"#,
                Some(r#"{"annotations":{"a.b/c":"d"}}"#),
            ),
            (
                r#"{"requestObject":"{\"spec\":{}}","responseObject":{"string":"{}"}}"#,
                Some(r#"{"requestObject":{"spec":{}},"responseObject":{}}"#),
            ),
            (r#"{"requestObject":"skipped","responseObject":{"string":"x"}}"#, None),
            (r#"{"user":{"extra":{"a":["b"]}}}"#, None),
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
                r#"{"stageTimestamp":{"seconds":"1772445600"}}"#,
                Some(r#"{"stageTimestamp":1772445600000000000}"#),
            ),
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
            let with_id = |json: &str| match json.strip_prefix('{') {
                Some(rest) if !json.contains("auditID") => format!(r#"{{"auditID":"a",{rest}"#),
                _ => json.to_owned(),
            };
            let given = with_id(json);
            assert_eq!(retyped(Json::new(&given)), expected.map(with_id), "{json}");
        }
    }
    #[test]
    fn what_is_no_event_stays() {
        assert_eq!(retyped(Json::new(r#"{"verb":{"string":"get"}}"#)), None);
    }

    #[test]
    fn types_within_types_have_an_end() {
        let deep = format!(r#"{{"auditID":{}1{}}}"#, r#"{"map":"#.repeat(500), "}".repeat(500));
        assert!(retyped(Json::new(&deep)).is_some());
    }
}
