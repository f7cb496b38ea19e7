//! Events whose keys were written in another way: `auditid`, `audit_id`, `AuditId`. Tables of databases know no
//! case, and some serializers write keys as their language does.

use super::json::Json;

/// Fields of an event that are told by their letters alone.
const FIELDS: [&str; 18] = [
    "annotations",
    "apiVersion",
    "auditID",
    "cluster",
    "impersonatedUser",
    "kind",
    "level",
    "objectRef",
    "requestObject",
    "requestReceivedTimestamp",
    "requestURI",
    "responseObject",
    "responseStatus",
    "sourceIPs",
    "stage",
    "stageTimestamp",
    "user",
    "userAgent",
];

/// The same of what stands below `user`, `impersonatedUser`, `objectRef` and `responseStatus`.
pub(super) const BELOW: [&str; 16] = [
    "apiGroup",
    "apiVersion",
    "code",
    "details",
    "extra",
    "groups",
    "message",
    "metadata",
    "name",
    "namespace",
    "reason",
    "resource",
    "resourceVersion",
    "status",
    "subresource",
    "username",
];

/// Fields that are trees, and texts with a tree in them where a column holds nothing else.
const TREES: [&str; 8] = [
    "annotations",
    "impersonatedUser",
    "objectRef",
    "requestObject",
    "responseObject",
    "responseStatus",
    "sourceIPs",
    "user",
];

/// The event with the keys that the API server writes; `None` if the members are none of an event, or are those.
pub(super) fn renamed(members: &[(&str, Json<'_>)]) -> Option<String> {
    let has_exactly = |wanted: &str| members.iter().any(|(key, _)| *key == wanted);
    let has = |wanted: &str| members.iter().any(|(key, _)| is_alike(key, wanted));
    if has_exactly("auditID") || !has("auditID") {
        return None;
    }
    if !(has("verb") && (has("requestURI") || has("objectRef") || has("stage"))) {
        return None;
    }
    let mut event = String::from("{");
    for (key, value) in members.iter().copied() {
        let field = known(key, &FIELDS).or_else(|| is_alike(key, "verb").then_some("verb"));
        let inner = value.text().filter(|text| {
            field.is_some_and(|field| TREES.contains(&field)) && Json::new(text).is_whole_tree()
        });
        let value = inner.as_deref().map_or(value, Json::new);
        add(&mut event, field.unwrap_or(key));
        match field {
            Some("user" | "impersonatedUser" | "objectRef" | "responseStatus") => {
                write_below(value, &mut event);
            }
            _ => event.push_str(value.raw()),
        }
    }
    event.push('}');
    Some(event)
}

fn write_below(value: Json<'_>, out: &mut String) {
    if !value.is_object() {
        out.push_str(value.raw());
        return;
    }
    out.push('{');
    for (key, member) in value.members() {
        add(out, known(key, &BELOW).unwrap_or(key));
        out.push_str(member.raw());
    }
    out.push('}');
}

/// Begins a member; the key stands as it was written, so it needs no escapes.
fn add(out: &mut String, key: &str) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(key);
    out.push_str("\":");
}

fn known(key: &str, fields: &[&'static str]) -> Option<&'static str> {
    fields.iter().find(|field| is_alike(key, field)).copied()
}

/// Whether two names have the same letters.
fn is_alike(key: &str, name: &str) -> bool {
    let letters = |text: &str| {
        text.bytes()
            .filter(u8::is_ascii_alphanumeric)
            .map(|byte| byte.to_ascii_lowercase())
            .collect::<Vec<u8>>()
    };
    // Most keys are told apart by their length.
    key.len() >= name.len() && key.len() <= name.len() + 3 && letters(key) == letters(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Option<&str>) {
        let members: Vec<_> = Json::new(json).members().collect();
        assert_eq!(renamed(&members).as_deref(), expected, "{json}");
    }

    #[test]
    fn keys_are_told_by_their_letters() {
        let event = r#"{"auditID":"a","verb":"get","requestURI":"/x","user":{"username":"eve"},"responseStatus":{"code":200},"other_key":1}"#;
        check(
            r#"{"auditid":"a","verb":"get","requesturi":"/x","user":{"UserName":"eve"},"responsestatus":{"code":200},"other_key":1}"#,
            Some(event),
        );
        check(
            r#"{"audit_id":"a","Verb":"get","request_uri":"/x","user":"{\"username\":\"eve\"}","response_status":{"code":200},"other_key":1}"#,
            Some(event),
        );
    }

    #[test]
    fn what_is_no_event_stays() {
        for json in [
            r#"{"auditID":"a","verb":"get","requestURI":"/x"}"#,
            r#"{"auditid":"a"}"#,
            r#"{"auditid":"a","verb":"get"}"#,
            r#"{"verb":"get","requesturi":"/x"}"#,
        ] {
            check(json, None);
        }
    }
}
