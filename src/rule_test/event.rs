//! Events as rule authors write them: a few dotted paths over an ordinary request.
//!
//! Whatever a test does not say is filled in: Alice gets something with kubectl from inside the
//! network and is answered with 200; a user is in the groups that a cluster gives whoever has that name. A
//! test then says only what it is about.

use serde_json::{Map, Value, json};

use crate::engine::{
    diagnostic::{Diagnostic, Place, code},
    event::known_field,
    kubernetes::{
        fields::{AUDIT_FIELDS, CLUSTER, roots, split_key},
        users::groups_of,
    },
    time::EventTime,
    yaml::{Node, NodeKind},
};

/// Fields at the root of an event that a test may set: those of audit events, and `cluster`, which
/// shippers add; sorted.
pub(super) fn settable_roots() -> Vec<&'static str> {
    let mut roots = roots();
    roots.push(CLUSTER);
    roots.sort_unstable();
    roots
}

/// One path that a test sets, or unsets if there is no value.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    segments: Vec<String>,
    value: Option<Value>,
}

impl Setting {
    /// Whether it says when the event happened.
    pub(super) fn is_time(&self) -> bool {
        let first = self.segments.first().map_or("", String::as_str);
        matches!(first, "stageTimestamp" | "requestReceivedTimestamp")
    }

    /// Whether it says in which groups the user is.
    fn is_groups(&self) -> bool {
        self.segments.iter().eq(["user", "groups"])
    }
}

/// Reads one `path: value`.
pub(super) fn read_setting(
    path: &str,
    place: Place,
    node: &Node,
) -> Result<Setting, Box<Diagnostic>> {
    let segments = segments_of(path);
    let root = segments.first().map_or("", String::as_str);
    if !settable_roots().contains(&root) {
        return Err(Box::new(unknown(path, place)));
    }
    let mut value = (node.kind != NodeKind::Null).then(|| node.json());
    // Values of `extra` are lists.
    let is_extra = segments.len() == 3 && segments.get(1).is_some_and(|name| name == "extra");
    if is_extra && let Some(scalar @ Value::String(_)) = value {
        value = Some(Value::Array(vec![scalar]));
    }
    Ok(Setting { segments, value })
}

fn unknown(path: &str, place: Place) -> Diagnostic {
    if known_field(path).is_some_and(|field| field.is_derived) {
        let title = format!("`{path}` is derived; a test sets what it is derived from");
        let help = match path.split('.').next() {
            Some("actor") => "set `user.username`, `user.extra…` or `impersonatedUser.username`",
            Some("exec") => "set `requestURI`, with a `command=` for each argument",
            Some("request" | "dry_run" | "field_selector" | "label_selector") => "set `requestURI`",
            Some("source") => "set `sourceIPs`; the last one counts",
            Some("object" | "pod_spec" | "host_path" | "subject" | "secret") => {
                "set what is below `requestObject` or `responseObject`"
            }
            Some("outcome") => "set `responseStatus.code`",
            _ => "set `requestReceivedTimestamp` and `stageTimestamp`",
        };
        return Diagnostic::error(code::UNKNOWN_TEST_FIELD, place, title).help(help);
    }
    let fields = AUDIT_FIELDS.iter().map(|field| field.path);
    Diagnostic::error(
        code::UNKNOWN_TEST_FIELD,
        place,
        format!("audit events have no field `{path}`"),
    )
    .suggest(path, fields.chain(settable_roots()))
}

fn segments_of(path: &str) -> Vec<String> {
    if let Some((prefix, key)) = split_key(path) {
        return prefix.split('.').chain([key]).map(str::to_owned).collect();
    }
    path.split('.').map(str::to_owned).collect()
}

/// Builds one event. `number` counts events of the test (for the audit id), `repetition` counts from 1
/// within `times` and takes the place of `{n}`.
pub(super) fn build<'s>(
    settings: impl IntoIterator<Item = &'s Setting>,
    time: EventTime,
    number: usize,
    repetition: u64,
) -> Vec<u8> {
    let received = time.minus(std::time::Duration::from_millis(5));
    let mut event = json!({
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "RequestResponse",
        "auditID": format!("test-{number}"),
        "stage": "ResponseComplete",
        "verb": "get",
        "user": {"username": "alice@example.com"},
        "sourceIPs": ["10.0.0.1"],
        "userAgent": "kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0",
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": received.rfc3339(),
        "stageTimestamp": time.rfc3339(),
    });
    let repetition = repetition.to_string();
    let mut says_groups = false;
    for setting in settings {
        says_groups |= setting.is_groups();
        let value = setting.value.clone().map(|value| numbered(value, &repetition));
        set(&mut event, &setting.segments, value);
    }
    says_groups |= event.pointer("/user/groups").is_some();
    if !says_groups && let Some(name) = event.pointer("/user/username").and_then(Value::as_str) {
        let groups = groups_of(name, None).into();
        set(&mut event, &["user".to_owned(), "groups".to_owned()], Some(groups));
    }
    if event.get("requestURI").is_none() {
        let uri = usual_uri(&event);
        set(&mut event, &["requestURI".to_owned()], Some(Value::String(uri)));
    }
    serde_json::to_vec(&event).expect("a tree of JSON can be written")
}

fn numbered(value: Value, repetition: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("{n}", repetition)),
        Value::Array(items) => items.into_iter().map(|item| numbered(item, repetition)).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(key, member)| (key, numbered(member, repetition)))
            .collect::<Map<_, _>>()
            .into(),
        other => other,
    }
}

fn set(event: &mut Value, segments: &[String], value: Option<Value>) {
    let Some((first, rest)) = segments.split_first() else { return };
    if !event.is_object() {
        *event = Value::Object(Map::new());
    }
    let Some(members) = event.as_object_mut() else { return };
    match (rest.is_empty(), value) {
        (true, Some(value)) => {
            members.insert(first.clone(), value);
        }
        (true, None) => {
            members.remove(first);
        }
        (false, None) if !members.contains_key(first) => {}
        (false, value) => set(members.entry(first.clone()).or_insert(Value::Null), rest, value),
    }
}

/// The path that kubectl would ask for.
fn usual_uri(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let resource = text("/objectRef/resource");
    if resource.is_empty() {
        return "/".to_owned();
    }
    let group = text("/objectRef/apiGroup");
    let mut uri = if group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{group}/v1") };
    let (namespace, name) = (text("/objectRef/namespace"), text("/objectRef/name"));
    let subresource = text("/objectRef/subresource");
    if !namespace.is_empty() {
        uri.push_str(&format!("/namespaces/{namespace}"));
    }
    uri.push_str(&format!("/{resource}"));
    if !name.is_empty() && (text("/verb") != "create" || !subresource.is_empty()) {
        uri.push_str(&format!("/{name}"));
    }
    if !subresource.is_empty() {
        uri.push_str(&format!("/{subresource}"));
    }
    uri
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::{diagnostic::SourceText, yaml};

    fn event(yaml: &str) -> Value {
        let source = SourceText::new("t.test.yaml", yaml);
        let node = yaml::parse(&source).unwrap().remove(0);
        let place = || Place { source: Arc::clone(&source), span: 0..0 };
        let settings: Vec<Setting> = node
            .as_map()
            .unwrap()
            .iter()
            .map(|(key, value)| read_setting(&key.text, place(), value).unwrap())
            .collect();
        let time = EventTime::parse("2026-03-04T12:00:00Z").unwrap();
        serde_json::from_slice(&build(&settings, time, 3, 7)).unwrap()
    }

    #[test]
    fn paths_set_unset_and_keep_keys_with_dots() {
        let event = event(
            "objectRef.resource: secrets\nobjectRef.namespace: 'team-{n}'\nuser.groups: null\n\
             annotations.authorization.k8s.io/decision: allow\n\
             user.extra.authentication.kubernetes.io/credential-id: JTI=1\n\
             requestObject.spec: {hostPID: true, names: ['a{n}', null]}\n",
        );
        assert_eq!(event["requestURI"], "/api/v1/namespaces/team-7/secrets");
        assert_eq!(event["user"].get("groups"), None);
        assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "allow");
        let extra = &event["user"]["extra"]["authentication.kubernetes.io/credential-id"];
        assert_eq!(*extra, json!(["JTI=1"]));
        assert_eq!(
            event["requestObject"],
            json!({"spec": {"hostPID": true, "names": ["a7", null]}})
        );
        assert_eq!(event["auditID"], "test-3");
    }

    #[test]
    fn what_events_do_not_have_is_refused() {
        let source = SourceText::new("t.test.yaml", "x: 1");
        let node = yaml::parse(&source).unwrap().remove(0);
        for (path, help) in [
            ("objectref.resource", "did you mean `objectRef.resource`?"),
            ("source.ip", "set `sourceIPs`; the last one counts"),
        ] {
            let place = Place { source: Arc::clone(&source), span: 0..1 };
            let diagnostic = read_setting(path, place, &node).unwrap_err();
            assert!(diagnostic.help.iter().any(|text| text == help), "{diagnostic:?}");
        }
    }
}
