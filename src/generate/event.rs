//! Writes one audit event as the API server does: same fields, same order, same escapes.
//!
//! It knows the shape of `audit.k8s.io/v1.Event`, not who does what. Text goes straight into the
//! output: at 1.4 kB an event, building a tree first would cost five times as much.

use super::json::{Fields, escape, list, quote, utf8, write_time};
use crate::engine::time::EventTime;

/// Who sends a request, with everything that is the same in all its events already written as JSON.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// User name.
    pub(crate) username: String,
    /// The value of `user`.
    pub(crate) user: String,
    /// The value of `sourceIPs`.
    pub(crate) source_ips: String,
    /// `userAgent`, not yet escaped; empty if it sends none.
    pub(crate) user_agent: String,
    /// Annotation `authorization.k8s.io/reason` of what it may do; empty for members of
    /// `system:masters` and callers whom RBAC does not see.
    pub(crate) reason: String,
}

/// What a [`Caller`] is made of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Identity<'a> {
    /// User name; empty for a failed login.
    pub(crate) username: &'a str,
    /// Empty if the authenticator gives none.
    pub(crate) uid: &'a str,
    /// Groups.
    pub(crate) groups: &'a [&'a str],
    /// `user.extra`, sorted by key.
    pub(crate) extra: &'a [(&'a str, &'a str)],
}

impl Identity<'_> {
    /// The value of `user` or `impersonatedUser`.
    pub(crate) fn json(&self) -> String {
        let mut out = Vec::with_capacity(256);
        let mut fields = Fields::open(&mut out);
        fields.text("username", self.username);
        fields.text("uid", self.uid);
        if !self.groups.is_empty() {
            fields.name("groups");
            list(fields.out, self.groups.iter().copied());
        }
        if !self.extra.is_empty() {
            fields.name("extra");
            let mut extra = Fields::open(fields.out);
            for (key, value) in self.extra {
                extra.name(key);
                list(extra.out, [*value]);
            }
            extra.close();
        }
        fields.close();
        utf8(out)
    }
}

impl Caller {
    /// Puts a caller together. `reason` as RBAC words it, or empty.
    pub(crate) fn new(
        identity: Identity<'_>,
        source_ips: &[&str],
        user_agent: &str,
        reason: &str,
    ) -> Caller {
        let mut ips = Vec::with_capacity(32);
        list(&mut ips, source_ips.iter().copied());
        Caller {
            username: identity.username.to_owned(),
            user: identity.json(),
            source_ips: utf8(ips),
            user_agent: user_agent.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// What a request is about: an object or objects, or a path without one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// A Kubernetes resource.
    Object(Object<'a>),
    /// A path such as `/healthz`.
    Path(&'a str),
}

/// `objectRef`. Empty text means: absent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Object<'a> {
    /// API group; empty for the core group.
    pub(crate) group: &'a str,
    /// API version.
    pub(crate) version: &'a str,
    /// Plural, lower-case.
    pub(crate) resource: &'a str,
    /// Empty for cluster-scoped objects and lists over all namespaces.
    pub(crate) namespace: &'a str,
    /// Empty for lists.
    pub(crate) name: &'a str,
    /// `exec`, `status` …
    pub(crate) subresource: &'a str,
    /// Of the object before a change.
    pub(crate) uid: &'a str,
    /// Of the object before a change.
    pub(crate) resource_version: &'a str,
}

impl<'a> Object<'a> {
    /// Objects of the core group.
    pub(crate) fn core(resource: &'a str, namespace: &'a str, name: &'a str) -> Object<'a> {
        Object { version: "v1", resource, namespace, name, ..Object::default() }
    }

    /// Objects of another group, version `v1`.
    pub(crate) fn of(
        group: &'a str,
        resource: &'a str,
        namespace: &'a str,
        name: &'a str,
    ) -> Object<'a> {
        Object { group, version: "v1", resource, namespace, name, ..Object::default() }
    }

    /// The same with a subresource.
    #[must_use]
    pub(crate) fn sub(self, subresource: &'a str) -> Object<'a> {
        Object { subresource, ..self }
    }

    /// The same with the state that it had.
    #[must_use]
    pub(crate) fn at(self, uid: &'a str, resource_version: &'a str) -> Object<'a> {
        Object { uid, resource_version, ..self }
    }
}

/// Why a request failed, as the API server words it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'a> {
    /// `Forbidden`, `NotFound` …
    pub(crate) reason: &'a str,
    /// For people.
    pub(crate) message: &'a str,
}

/// What the authorizer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It may; not yet a success.
    Allow,
    /// It may not.
    Forbid,
    /// The request did not get as far as the authorizer.
    None,
}

/// One request with its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Who.
    pub(crate) caller: &'a Caller,
    /// Audit verb.
    pub(crate) verb: &'a str,
    /// What about.
    pub(crate) target: Target<'a>,
    /// Path behind the object that is passed on to a proxied server, with its leading slash, or empty.
    pub(crate) proxied: &'a str,
    /// Query without the question mark; empty if there is none.
    pub(crate) query: &'a str,
    /// `Metadata`, `Request` or `RequestResponse`.
    pub(crate) level: &'a str,
    /// Whom the caller acts as: the value of `impersonatedUser`, or empty.
    pub(crate) impersonated: &'a str,
    /// Further addresses: the value of `sourceIPs` if it is not the caller's own, or empty.
    pub(crate) source_ips: &'a str,
    /// HTTP status.
    pub(crate) code: u16,
    /// Set when it failed.
    pub(crate) failure: Option<Failure<'a>>,
    /// `requestObject` as JSON, or empty.
    pub(crate) sent: &'a str,
    /// `responseObject` as JSON, or empty.
    pub(crate) returned: &'a str,
    /// The authorizer's word.
    pub(crate) decision: Decision,
    /// Annotations beside those of the authorizer.
    pub(crate) annotations: &'a [(&'a str, &'a str)],
}

impl<'a> Request<'a> {
    /// A request at level Metadata that succeeds with 200.
    pub(crate) fn new(caller: &'a Caller, verb: &'a str, target: Target<'a>) -> Request<'a> {
        Request {
            caller,
            verb,
            target,
            proxied: "",
            query: "",
            level: "Metadata",
            impersonated: "",
            source_ips: "",
            code: if verb == "create" { 201 } else { 200 },
            failure: None,
            sent: "",
            returned: "",
            decision: Decision::Allow,
            annotations: &[],
        }
    }

    /// About an object.
    pub(crate) fn object(caller: &'a Caller, verb: &'a str, object: Object<'a>) -> Request<'a> {
        Request::new(caller, verb, Target::Object(object))
    }

    /// The same, refused by the authorizer.
    #[must_use]
    pub(crate) fn forbidden(self, message: &'a str) -> Request<'a> {
        Request {
            code: 403,
            failure: Some(Failure { reason: "Forbidden", message }),
            decision: Decision::Forbid,
            ..self
        }
    }

    /// The same, about something that is not there.
    #[must_use]
    pub(crate) fn not_found(self, message: &'a str) -> Request<'a> {
        Request { code: 404, failure: Some(Failure { reason: "NotFound", message }), ..self }
    }
}

/// The times and the stage of one event of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    /// `RequestReceived`, `ResponseStarted` or `ResponseComplete`.
    pub(crate) stage: &'a str,
    /// `auditID`.
    pub(crate) audit_id: &'a [u8],
    /// When the request arrived.
    pub(crate) received: EventTime,
    /// When the stage was reached.
    pub(crate) stage_time: EventTime,
}

/// Appends one event. `typed` writes `kind` and `apiVersion`, which items of an EventList lack. A
/// `cluster` that is not empty is added behind the rest, as shippers do.
pub(crate) fn write_event(
    out: &mut Vec<u8>,
    request: &Request<'_>,
    at: Moment<'_>,
    typed: bool,
    cluster: &str,
) {
    let answered = at.stage != "RequestReceived";
    let mut fields = Fields::open(out);
    if typed {
        fields.text("kind", "Event");
        fields.text("apiVersion", "audit.k8s.io/v1");
    }
    fields.text("level", request.level);
    fields.name("auditID");
    fields.out.push(b'"');
    fields.out.extend_from_slice(at.audit_id);
    fields.out.push(b'"');
    fields.text("stage", at.stage);
    fields.name("requestURI");
    write_uri(fields.out, request);
    fields.text("verb", request.verb);
    fields.raw("user", &request.caller.user);
    fields.raw("impersonatedUser", request.impersonated);
    let own = request.source_ips.is_empty();
    fields.raw("sourceIPs", if own { &request.caller.source_ips } else { request.source_ips });
    fields.text("userAgent", &request.caller.user_agent);
    if let Target::Object(object) = &request.target {
        write_object(&mut fields, object);
    }
    if answered {
        write_status(&mut fields, request);
        fields.raw("requestObject", request.sent);
        fields.raw("responseObject", request.returned);
    }
    fields.name("requestReceivedTimestamp");
    write_time(fields.out, at.received);
    fields.name("stageTimestamp");
    write_time(fields.out, at.stage_time);
    if answered {
        write_annotations(&mut fields, request);
    }
    fields.text("cluster", cluster);
    fields.close();
}

fn write_uri(out: &mut Vec<u8>, request: &Request<'_>) {
    out.push(b'"');
    match &request.target {
        Target::Path(path) => escape(out, path),
        Target::Object(object) => {
            if object.group.is_empty() {
                out.extend_from_slice(b"/api/");
            } else {
                out.extend_from_slice(b"/apis/");
                out.extend_from_slice(object.group.as_bytes());
                out.push(b'/');
            }
            out.extend_from_slice(object.version.as_bytes());
            if !object.namespace.is_empty() && object.resource != "namespaces" {
                out.extend_from_slice(b"/namespaces/");
                out.extend_from_slice(object.namespace.as_bytes());
            }
            out.push(b'/');
            out.extend_from_slice(object.resource.as_bytes());
            // A POST that makes an object goes to the collection.
            let to_collection = request.verb == "create" && object.subresource.is_empty();
            if !object.name.is_empty() && !to_collection {
                out.push(b'/');
                escape(out, object.name);
            }
            if !object.subresource.is_empty() {
                out.push(b'/');
                out.extend_from_slice(object.subresource.as_bytes());
            }
        }
    }
    escape(out, request.proxied);
    if !request.query.is_empty() {
        out.push(b'?');
        escape(out, request.query);
    }
    out.push(b'"');
}

fn write_object(fields: &mut Fields<'_>, object: &Object<'_>) {
    fields.name("objectRef");
    let mut parts = Fields::open(fields.out);
    parts.text("resource", object.resource);
    parts.text("namespace", object.namespace);
    parts.text("name", object.name);
    parts.text("uid", object.uid);
    parts.text("apiGroup", object.group);
    parts.text("apiVersion", object.version);
    parts.text("resourceVersion", object.resource_version);
    parts.text("subresource", object.subresource);
    parts.close();
}

fn write_status(fields: &mut Fields<'_>, request: &Request<'_>) {
    fields.name("responseStatus");
    let mut status = Fields::open(fields.out);
    status.raw("metadata", "{}");
    if let Some(failure) = &request.failure {
        status.text("status", "Failure");
        status.text("message", failure.message);
        status.text("reason", failure.reason);
        if let Target::Object(object) = &request.target {
            status.name("details");
            let mut details = Fields::open(status.out);
            details.text("name", object.name);
            details.text("group", object.group);
            details.text("kind", object.resource);
            details.close();
        }
    }
    status.name("code");
    status.out.extend_from_slice(request.code.to_string().as_bytes());
    status.close();
}

fn write_annotations(fields: &mut Fields<'_>, request: &Request<'_>) {
    if request.decision == Decision::None && request.annotations.is_empty() {
        return;
    }
    let allowed = request.decision == Decision::Allow;
    let own = [
        ("authorization.k8s.io/decision", if allowed { "allow" } else { "forbid" }),
        ("authorization.k8s.io/reason", if allowed { request.caller.reason.as_str() } else { "" }),
    ];
    let own = if request.decision == Decision::None { &[] } else { own.as_slice() };
    fields.name("annotations");
    let mut annotations = Fields::open(fields.out);
    // Go writes maps in the order of their keys; both lists are sorted.
    let before = request.annotations.iter().filter(|(key, _)| *key < "authorization.k8s.io/");
    let after = request.annotations.iter().filter(|(key, _)| *key >= "authorization.k8s.io/");
    for (key, value) in before.chain(own).chain(after) {
        annotations.name(key);
        quote(annotations.out, value);
    }
    annotations.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(request: &Request<'_>, stage: &str) -> String {
        let at = Moment {
            stage,
            audit_id: b"4b0e5f1c-0001-4000-8000-000000000001",
            received: EventTime::parse("2026-03-01T23:59:59.999001Z").unwrap(),
            stage_time: EventTime::parse("2026-03-02T00:00:00.001000Z").unwrap(),
        };
        let mut out = Vec::new();
        write_event(&mut out, request, at, true, "");
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_has_the_api_servers_order_and_escapes() {
        let identity = Identity {
            username: "ann",
            groups: &["dev", "system:authenticated"],
            extra: &[("authentication.kubernetes.io/credential-id", "JTI=1")],
            ..Identity::default()
        };
        let caller = Caller::new(identity, &["10.0.0.9"], "kubectl/v1.33.1", "RBAC: \"x\"");
        let pod = Object::core("pods", "shop", "web-0").sub("exec");
        let request = Request {
            query: "command=sh&stdin=true",
            code: 101,
            ..Request::object(&caller, "get", pod)
        };
        assert_eq!(
            event(&request, "ResponseStarted"),
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"4b0e5f1c-0001-4000-8000-000000000001","stage":"ResponseStarted","requestURI":"/api/v1/namespaces/shop/pods/web-0/exec?command=sh\u0026stdin=true","verb":"get","user":{"username":"ann","groups":["dev","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=1"]}},"sourceIPs":["10.0.0.9"],"userAgent":"kubectl/v1.33.1","objectRef":{"resource":"pods","namespace":"shop","name":"web-0","apiVersion":"v1","subresource":"exec"},"responseStatus":{"metadata":{},"code":101},"requestReceivedTimestamp":"2026-03-01T23:59:59.999001Z","stageTimestamp":"2026-03-02T00:00:00.001000Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: \"x\""}}"#
        );
    }

    #[test]
    fn a_failed_login_has_an_empty_user_and_no_annotations() {
        let caller = Caller::new(Identity::default(), &["203.0.113.9"], "curl/8.5.0", "");
        let request = Request {
            code: 401,
            decision: Decision::None,
            failure: Some(Failure { reason: "Unauthorized", message: "Unauthorized" }),
            ..Request::new(&caller, "get", Target::Path("/api"))
        };
        let text = event(&request, "ResponseStarted");
        assert!(text.contains(r#""user":{},"#), "{text}");
        assert!(!text.contains("annotations"), "{text}");
    }
}
