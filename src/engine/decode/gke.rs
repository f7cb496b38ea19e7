//! Google Cloud audit logs of GKE: another format for the same requests, converted to audit events.

use std::{borrow::Cow, fmt::Write as _};

use super::{
    json::Json,
    search::{Around, Content, Members, Search},
};
use crate::engine::{
    dead_letter::ControlMessage,
    kubernetes::{AuditLevel, Stage, resources::subresource, runs_long},
};

/// The service whose entries are requests to the API server.
const SERVICE: &str = "k8s.io";

/// The label with the command of an exec, whose arguments are joined by spaces.
const COMMAND_LABEL: &str = "command.gke.io/command";

pub(super) fn is(members: &Members<'_>) -> bool {
    members.has("protoPayload")
}

/// A `LogEntry` whose `protoPayload` is an `AuditLog`.
pub(super) fn open<'a>(
    json: Json<'a>,
    members: &Members<'a>,
    search: &mut Search<'a>,
    around: &Around<'a>,
) -> bool {
    let Some(payload) = members.get("protoPayload").filter(|payload| payload.is_object()) else {
        return false;
    };
    let payload = Members::of(payload);
    let service = payload.text("serviceName").or_else(|| {
        // Entries that were made smaller on their way may lack it.
        payload
            .text("methodName")
            .filter(|method| method.starts_with("io.k8s."))
            .map(|_| SERVICE.into())
    });
    let content = match service {
        Some(service) if service == SERVICE => convert(members, &payload)
            .map_or(Content::Nothing(json.raw()), |event| Content::Text(Cow::Owned(event))),
        Some(_) => Content::Control(ControlMessage::OtherService),
        None => Content::Nothing(json.raw()),
    };
    search.push(content, around);
    true
}

/// The audit event that the API server would have written. Bodies are copied as they are, so they may be
/// of any depth.
fn convert(entry: &Members<'_>, payload: &Members<'_>) -> Option<String> {
    let method = payload.text("methodName")?;
    let verb = method.rsplit('.').next()?;
    let resource_name = payload.text("resourceName").unwrap_or_default();
    let object = Object::parse(&method, &resource_name);
    let below = object.as_ref().and_then(|object| object.subresource).unwrap_or("");
    let upgrades = subresource(below).is_some_and(|known| known.upgrades);
    let operation = Operation::of(entry);
    let is_start = runs_long(verb, below) && !operation.is_end;
    let stage = if is_start { Stage::ResponseStarted } else { Stage::ResponseComplete };
    let labels = Labels::of(entry);
    let (request, response) = (body(payload.get("request")), body(payload.get("response")));
    let level = match (&request, &response) {
        (_, Some(_)) => AuditLevel::RequestResponse,
        (Some(_), None) => AuditLevel::Request,
        (None, None) => AuditLevel::Metadata,
    };
    let uri = match &object {
        Some(object) => {
            let options = payload.get("request").filter(|_| upgrades);
            object.uri() + &query(options, &labels, upgrades)
        }
        None => format!("/{}", resource_name.trim_start_matches('/')),
    };
    let audit_id = operation.id.or_else(|| entry.text("insertId"))?;
    let time = entry.get("timestamp").map_or("null", Json::raw);
    let authentication = payload.get("authenticationInfo");
    let user = authentication.and_then(|info| info.get("principalEmail")?.text());
    let status = payload.get("status");
    let (code, message) = status_of(status, labels.decision.as_deref(), verb, upgrades);

    let mut event = String::with_capacity(1_024);
    let _ = write!(
        event,
        "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"{}\",\"auditID\":{},\
         \"stage\":\"{}\",\"requestURI\":{},\"verb\":{},\"user\":{{",
        level.as_str(),
        quoted(&audit_id),
        stage.as_str(),
        quoted(&uri),
        quoted(verb),
    );
    if let Some(user) = user {
        let _ = write!(event, "\"username\":{}", quoted(&user));
    }
    event.push('}');
    let selector = authentication.and_then(|info| info.get("authoritySelector")?.text());
    // Of a refused impersonation the API server says nobody.
    let refused = message.as_deref().is_some_and(|text| text.contains("cannot impersonate"));
    if let Some(selector) = selector.filter(|selector| !selector.is_empty() && !refused) {
        let _ = write!(event, ",\"impersonatedUser\":{{\"username\":{}}}", quoted(&selector));
    }
    let metadata = payload.get("requestMetadata");
    let metadata = |key: &str| metadata.and_then(|metadata| metadata.get(key));
    if let Some(address) = metadata("callerIp") {
        let _ = write!(event, ",\"sourceIPs\":[{}]", address.raw());
    }
    if let Some(agent) = metadata("callerSuppliedUserAgent") {
        let _ = write!(event, ",\"userAgent\":{}", agent.raw());
    }
    if let Some(object) = &object {
        let _ = write!(event, ",\"objectRef\":{}", object.reference());
    }
    let _ = write!(event, ",\"responseStatus\":{{\"code\":{code}");
    if let Some(message) = message {
        let _ = write!(event, ",\"message\":{}", quoted(&message));
    }
    event.push('}');
    for (key, body) in [("requestObject", request), ("responseObject", response)] {
        if let Some(body) = body {
            let _ = write!(event, ",\"{key}\":{body}");
        }
    }
    // Start and end of one operation are one request, so what tells requests apart must be equal.
    if !operation.is_part {
        let _ = write!(event, ",\"requestReceivedTimestamp\":{time}");
    }
    let _ = write!(event, ",\"stageTimestamp\":{time}");
    if let Some(labels) = entry.get("labels").filter(|labels| labels.is_object()) {
        let _ = write!(event, ",\"annotations\":{}", labels.raw());
    }
    event.push('}');
    Some(event)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Which part of an operation an entry is about. Requests that run long have an entry for their start and
/// one for their end.
struct Operation<'a> {
    id: Option<Cow<'a, str>>,
    /// It is not all of it.
    is_part: bool,
    /// It is the end, and not the start.
    is_end: bool,
}

impl<'a> Operation<'a> {
    fn of(entry: &Members<'a>) -> Operation<'a> {
        let operation = entry.get("operation");
        let flag = |key: &str| {
            operation
                .and_then(|operation| operation.get(key))
                .is_some_and(|json| json.raw() == "true")
        };
        let (first, last) = (flag("first"), flag("last"));
        let id = operation.and_then(|operation| operation.get("id")?.text());
        let id = id.filter(|id| !id.is_empty());
        Operation { is_part: id.is_some() && first != last, is_end: last && !first, id }
    }
}

/// Labels that say what other clusters say elsewhere.
struct Labels<'a> {
    command: Option<Cow<'a, str>>,
    decision: Option<Cow<'a, str>>,
    is_dry_run: bool,
}

impl<'a> Labels<'a> {
    fn of(entry: &Members<'a>) -> Labels<'a> {
        let (mut command, mut decision, mut is_dry_run) = (None, None, false);
        let labels = entry.get("labels");
        for (key, label) in labels.into_iter().flat_map(Json::members) {
            let name = key.rsplit('/').next().unwrap_or(key).replace('-', "");
            match key {
                COMMAND_LABEL => command = label.text(),
                "authorization.k8s.io/decision" => decision = label.text(),
                // `command.gke.io/dryRun`.
                _ if name.eq_ignore_ascii_case("dryrun") => {
                    let value = label.text();
                    is_dry_run = !matches!(value.as_deref(), None | Some("" | "false"));
                }
                _ => {}
            }
        }
        Labels { command, decision, is_dry_run }
    }
}

/// A body without the type that Google adds; `None` if nothing is left.
fn body(value: Option<Json<'_>>) -> Option<String> {
    let mut body = String::from("{");
    for (key, member) in value?.members().filter(|(key, _)| *key != "@type") {
        let comma = if body.len() > 1 { "," } else { "" };
        let _ = write!(body, "{comma}\"{key}\":{}", member.raw());
    }
    body.push('}');
    (body.len() > 2).then_some(body)
}

/// The HTTP status that a gRPC status stands for, and its message. Without a code the decision of the
/// authorizer counts: what it refused did not happen.
fn status_of<'a>(
    status: Option<Json<'a>>,
    decision: Option<&str>,
    verb: &str,
    upgrades: bool,
) -> (u16, Option<Cow<'a, str>>) {
    let grpc = status.and_then(|status| status.get("code")?.number());
    let message = status.and_then(|status| status.get("message")?.text());
    #[expect(clippy::cast_possible_truncation, reason = "codes are small; others are unknown")]
    let code = match grpc.unwrap_or(0.0) as i64 {
        0 if grpc.is_none() && decision == Some("forbid") => 403,
        0 if upgrades => 101,
        0 if verb == "create" => 201,
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        // Some entries have the HTTP status itself.
        http @ 100..=599 => u16::try_from(http).unwrap_or(500),
        _ => 500,
    };
    (code, message)
}

/// The query of a request: the `command` of an exec, which is where rules look for it, and a dry run.
fn query(options: Option<Json<'_>>, labels: &Labels<'_>, upgrades: bool) -> String {
    let mut query = String::new();
    let mut add = |name: &str, value: &str| {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(name);
        query.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    query.push(char::from(byte));
                }
                _ => query.push_str(&format!("%{byte:02X}")),
            }
        }
    };
    let words: Vec<Cow<'_, str>> = options
        .and_then(|options| options.get("command"))
        .into_iter()
        .flat_map(Json::items)
        .filter_map(Json::text)
        .collect();
    for word in &words {
        add("command", word);
    }
    if words.is_empty()
        && upgrades
        && let Some(command) = &labels.command
    {
        add("command", command);
    }
    if labels.is_dry_run {
        add("dryRun", "All");
    }
    query
}

/// What `resourceName` says: `group/version/[namespaces/<namespace>/]resource[/name[/subresource]]`.
#[derive(Debug, Default, PartialEq)]
struct Object<'v> {
    group: &'v str,
    version: &'v str,
    namespace: Option<&'v str>,
    resource: &'v str,
    name: Option<&'v str>,
    subresource: Option<&'v str>,
}

impl<'v> Object<'v> {
    /// `None` for requests that are not for a resource: `healthz`, `openapi/v2`, `apis/apps/v1`. Their
    /// method names none either: `io.k8s.get`.
    fn parse(method: &str, text: &'v str) -> Option<Object<'v>> {
        let of_resource = method.strip_prefix("io.k8s.").is_none_or(|rest| rest.contains('.'));
        let (group, rest) = text.split_once('/').filter(|_| of_resource)?;
        let (version, path) = rest.split_once('/')?;
        let is_version = |text: &str| {
            text.strip_prefix('v')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        if !is_version(version) || group.is_empty() || path.is_empty() {
            return None;
        }
        let group = if group == "core" { "" } else { group };
        let object = Object { group, version, ..Object::default() };
        let parts: Vec<&str> = path.splitn(5, '/').collect();
        Some(match parts[..] {
            // `namespaces/x/status` is part of the namespace itself.
            ["namespaces", name, part @ ("status" | "finalize")] => Object {
                namespace: Some(name),
                resource: "namespaces",
                name: Some(name),
                subresource: Some(part),
                ..object
            },
            ["namespaces", namespace, resource, ref rest @ ..] => Object {
                namespace: Some(namespace),
                resource,
                name: rest.first().copied(),
                subresource: rest.get(1).copied(),
                ..object
            },
            ["namespaces", name] => {
                Object { namespace: Some(name), resource: "namespaces", name: Some(name), ..object }
            }
            [resource, ref rest @ ..] => Object {
                resource,
                name: rest.first().copied(),
                subresource: rest.get(1).copied(),
                ..object
            },
            [] => return None,
        })
    }

    /// As `objectRef`.
    fn reference(&self) -> String {
        let parts = [
            ("resource", Some(self.resource)),
            ("namespace", self.namespace),
            ("name", self.name),
            ("apiGroup", Some(self.group).filter(|group| !group.is_empty())),
            ("apiVersion", Some(self.version)),
            ("subresource", self.subresource),
        ];
        let parts = parts.iter().filter_map(|(key, value)| Some((key, (*value)?)));
        let parts: Vec<String> =
            parts.map(|(key, value)| format!("\"{key}\":{}", quoted(value))).collect();
        format!("{{{}}}", parts.join(","))
    }

    /// The path of the request.
    fn uri(&self) -> String {
        let mut uri = match self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        let namespaced = self.namespace.filter(|_| self.resource != "namespaces");
        let namespace = namespaced.map(|namespace| format!("namespaces/{namespace}"));
        let parts = [namespace.as_deref(), Some(self.resource), self.name, self.subresource];
        for part in parts.into_iter().flatten() {
            uri.push('/');
            uri.push_str(part);
        }
        uri
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn resource_names_are_taken_apart() {
        for (name, uri, expected) in [
            (
                "core/v1/namespaces/shop/pods/web-0/exec",
                "/api/v1/namespaces/shop/pods/web-0/exec",
                json!({"resource": "pods", "namespace": "shop", "name": "web-0", "apiVersion": "v1", "subresource": "exec"}),
            ),
            (
                "rbac.authorization.k8s.io/v1/clusterrolebindings/x",
                "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/x",
                json!({"resource": "clusterrolebindings", "name": "x", "apiGroup": "rbac.authorization.k8s.io", "apiVersion": "v1"}),
            ),
            (
                "core/v1/namespaces/shop",
                "/api/v1/namespaces/shop",
                json!({"resource": "namespaces", "namespace": "shop", "name": "shop", "apiVersion": "v1"}),
            ),
            (
                "core/v1/namespaces/shop/secrets",
                "/api/v1/namespaces/shop/secrets",
                json!({"resource": "secrets", "namespace": "shop", "apiVersion": "v1"}),
            ),
        ] {
            let object = Object::parse("io.k8s.core.v1.x.get", name).unwrap();
            let reference: Value = serde_json::from_str(&object.reference()).unwrap();
            assert_eq!(reference, expected, "{name}");
            assert_eq!(object.uri(), uri);
        }
        for (method, name) in [
            ("io.k8s.get", "healthz"),
            ("io.k8s.get", "readyz/ping"),
            ("io.k8s.get", "openapi/v3/apis/apps/v1"),
            ("io.k8s.core.v1.pods.get", "apis/apps/v1"),
            ("io.k8s.core.v1.pods.get", ""),
        ] {
            assert_eq!(Object::parse(method, name), None, "{name}");
        }
    }

    /// The event that an entry is converted to.
    fn converted(entry: &Value) -> Value {
        let text = entry.to_string();
        let members = Members::of(Json::new(&text));
        let payload = Members::of(members.get("protoPayload").unwrap());
        serde_json::from_str(&convert(&members, &payload).unwrap()).unwrap()
    }

    #[test]
    fn an_exec_shows_what_it_ran_and_how_it_ended() {
        let mut entry = json!({
            "insertId": "id",
            "timestamp": "2026-01-05T22:14:01Z",
            "labels": {"authorization.k8s.io/decision": "allow", "command.gke.io/command": "id; w"},
            "protoPayload": {
                "methodName": "io.k8s.core.v1.pods.exec.create",
                "resourceName": "core/v1/namespaces/shop/pods/web-0/exec",
                "request": {"@type": "core.k8s.io/v1.PodExecOptions", "command": ["sh", "-c", "id; w"]},
                "status": {},
            },
        });
        let event = converted(&entry);
        assert_eq!(event["stage"], "ResponseStarted");
        assert_eq!(event["responseStatus"]["code"], 101);
        let path = "/api/v1/namespaces/shop/pods/web-0/exec";
        let query = "?command=sh&command=-c&command=id%3B%20w";
        assert_eq!(event["requestURI"], format!("{path}{query}"));
        assert_eq!((&event["verb"], &event["level"]), (&json!("create"), &json!("Request")));
        // Admin Activity logs have the command in a label only.
        entry["protoPayload"].as_object_mut().unwrap().remove("request");
        let event = converted(&entry);
        assert_eq!(event["requestURI"], format!("{path}?command=id%3B%20w"));
        assert_eq!(event["level"], "Metadata");
    }

    #[test]
    fn the_start_and_the_end_of_an_operation_are_one_request() {
        let part = |part: &str, time: &str, insert: &str| {
            converted(&json!({
                "insertId": insert,
                "timestamp": time,
                "operation": {"id": "op", part: true},
                "protoPayload": {
                    "methodName": "io.k8s.core.v1.pods.exec.get",
                    "resourceName": "core/v1/namespaces/shop/pods/web-0/exec",
                },
            }))
        };
        let first = part("first", "2026-01-05T22:14:01Z", "a");
        let last = part("last", "2026-01-05T22:24:01Z", "b");
        assert_eq!(
            (&first["stage"], &last["stage"]),
            (&json!("ResponseStarted"), &json!("ResponseComplete"))
        );
        for event in [&first, &last] {
            assert_eq!(event["auditID"], "op");
            assert_eq!(event.get("requestReceivedTimestamp"), None);
        }
    }

    #[test]
    fn what_gke_says_elsewhere_is_where_rules_look_for_it() {
        let entry = json!({
            "insertId": "id",
            "timestamp": "2026-01-05T22:14:01Z",
            "labels": {"authorization.k8s.io/decision": "forbid", "command.gke.io/dryRun": "true"},
            "protoPayload": {
                "authenticationInfo": {"principalEmail": "eve", "authoritySelector": "system:admin"},
                "methodName": "io.k8s.core.v1.pods.create",
                "resourceName": "core/v1/namespaces/shop/pods/web-0",
            },
        });
        let event = converted(&entry);
        assert_eq!(event["requestURI"], "/api/v1/namespaces/shop/pods/web-0?dryRun=All");
        assert_eq!(event["responseStatus"]["code"], 403);
        assert_eq!(event["user"]["username"], "eve");
        assert_eq!(event["impersonatedUser"]["username"], "system:admin");
        let probe = json!({
            "insertId": "id",
            "timestamp": "2026-01-05T22:14:01Z",
            "protoPayload": {"methodName": "io.k8s.get", "resourceName": "readyz"},
        });
        let event = converted(&probe);
        assert_eq!(event["requestURI"], "/readyz");
        assert_eq!(event.get("objectRef"), None);
    }

    #[test]
    fn statuses_are_those_of_http() {
        for (status, decision, expected) in [
            (Some(r#"{"code":7,"message":"no"}"#), Some("allow"), (403, Some("no"))),
            (Some("{}"), Some("forbid"), (403, None)),
            (None, Some("forbid"), (403, None)),
            (None, Some("allow"), (200, None)),
            (Some(r#"{"code":0}"#), Some("forbid"), (200, None)),
            (Some(r#"{"code":16}"#), None, (401, None)),
            (Some(r#"{"code":409}"#), None, (409, None)),
            (Some(r#"{"code":99}"#), None, (500, None)),
        ] {
            let (code, message) = status_of(status.map(Json::new), decision, "get", false);
            assert_eq!((code, message.as_deref()), expected, "{status:?} {decision:?}");
        }
    }
}
