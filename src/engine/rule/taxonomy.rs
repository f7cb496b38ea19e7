//! The fields that rules may use: those of audit events, and those that Tripline derives.
//!
//! One table serves the warnings about fields that do not exist and values that cannot occur, the
//! JSON Schema, and people. It says where a field comes from, from which audit level on it is
//! recorded, and when it is absent.

use crate::engine::{diagnostic::nearest, event::derived::DERIVATIONS};

/// How much of a request an audit policy records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditLevel {
    #[default]
    /// Who, what and when, without bodies.
    Metadata,
    /// And the request's body.
    Request,
    /// And the response's body.
    RequestResponse,
}

impl AuditLevel {
    /// All, in order.
    pub const ALL: [AuditLevel; 3] =
        [AuditLevel::Metadata, AuditLevel::Request, AuditLevel::RequestResponse];

    /// The word in audit policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            AuditLevel::Metadata => "Metadata",
            AuditLevel::Request => "Request",
            AuditLevel::RequestResponse => "RequestResponse",
        }
    }
}

/// What the values of a field are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Any text.
    Text,
    /// One of these texts, and no other.
    Words(&'static [&'static str]),
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// RFC 3339 with microseconds.
    Time,
    /// An address.
    Address,
    /// Anything below this path: the table holds the prefix only.
    Tree,
}

/// How often a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// In every event, or in every event that a rule can be about.
    Always,
    /// Absent in the cases that the text names.
    Often(&'static str),
    /// Absent in most events.
    Rarely(&'static str),
}

/// A field that rules may use.
#[derive(Clone, Copy, Debug)]
pub struct KnownField {
    /// Its path, or the prefix of a tree without the dot.
    pub path: &'static str,
    /// What its values are.
    pub kind: FieldKind,
    /// How often it is there.
    pub presence: Presence,
    /// From which audit level on.
    pub level: AuditLevel,
    /// Whether Tripline derives it.
    pub derived: bool,
    /// What it is, in a sentence.
    pub doc: &'static str,
}

impl KnownField {
    /// What it is and when it is absent, for people. Of a derived field also where it comes from.
    pub fn describe(&self) -> String {
        let derivation = DERIVATIONS.iter().find(|derivation| derivation.name == self.path);
        let mut text = match (derivation, self.presence) {
            (Some(derivation), _) => derivation.summary.to_owned(),
            (None, Always) => self.doc.to_owned(),
            (None, Often(when) | Rarely(when)) => {
                format!("{} Sometimes missing: {when}.", self.doc)
            }
        };
        if self.level > AuditLevel::Metadata {
            text.push_str(&format!(" Recorded from audit level {} on.", self.level.as_str()));
        }
        text
    }
}

const fn audit(
    path: &'static str,
    kind: FieldKind,
    presence: Presence,
    doc: &'static str,
) -> KnownField {
    KnownField { path, kind, presence, level: AuditLevel::Metadata, derived: false, doc }
}

const fn body(path: &'static str, level: AuditLevel, doc: &'static str) -> KnownField {
    let presence = Often("absent below its audit level, and for requests without a body");
    KnownField { path, kind: Tree, presence, level, derived: false, doc }
}

const fn derived(
    path: &'static str,
    kind: FieldKind,
    presence: Presence,
    doc: &'static str,
) -> KnownField {
    KnownField { path, kind, presence, level: AuditLevel::Metadata, derived: true, doc }
}

use FieldKind::{Address, Bool, Number, Text, Time, Tree, Words};
use Presence::{Always, Often, Rarely};

const NO_OBJECT: &str = "absent for non-resource requests such as /healthz";
const NO_NAME: &str = "absent for lists, and for creates that were refused";
const NO_NAMESPACE: &str = "absent for cluster-scoped objects and non-resource requests";
const NO_USER: &str = "absent when authentication failed (401)";
const NO_EXTRA: &str = "absent unless the authenticator adds it";
const NO_IMPERSONATION: &str = "absent unless the request impersonates somebody";
const NO_STATUS: &str = "absent unless the request failed";

/// Verbs of the Kubernetes API, and the lower-case HTTP methods of non-resource requests.
pub const VERBS: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "proxy",
    "post",
    "put",
    "head",
    "options",
    "connect",
    "trace",
];

/// Stages of an audit event.
pub const STAGES: &[&str] = &["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"];

/// The field in which keywords are searched.
pub(in crate::engine) const EVENT_TEXT: &str = "event.text";

/// Every known field; sorted by path.
pub const FIELDS: &[KnownField] = &[
    derived(
        "actor.credential_id",
        Text,
        Often(NO_EXTRA),
        "The credential that was used: `JTI=…` of a token, `X509SHA256=…` of a certificate.",
    ),
    derived(
        "actor.human",
        Bool,
        Always,
        "Whether a person acts, not a machine: by `identities.yaml`, else by `actor.kind`.",
    ),
    derived(
        "actor.id",
        Text,
        Often("absent if nobody is named; a failed login is `system:anonymous`"),
        "Who acts in effect: the impersonated user if there is one, else the user.",
    ),
    derived(
        "actor.kind",
        Words(&["human", "serviceaccount", "node", "system", "anonymous", "unknown"]),
        Always,
        "What kind of identity acts, from its name and groups.",
    ),
    derived(
        "actor.on_behalf_of",
        Text,
        Rarely(NO_IMPERSONATION),
        "The authenticated user behind an impersonation.",
    ),
    derived(
        "actor.team",
        Text,
        Often("absent unless `identities.yaml` says it"),
        "The team of the actor.",
    ),
    audit(
        "annotations",
        Tree,
        Often("depends on the annotation"),
        "What the API server noted: `annotations.authorization.k8s.io/decision` and others.",
    ),
    audit(
        "annotations.authorization.k8s.io/decision",
        Words(&["allow", "forbid"]),
        Often("absent when authentication or impersonation failed"),
        "What the authorizer said; not the outcome.",
    ),
    audit(
        "annotations.authorization.k8s.io/reason",
        Text,
        Often("absent when authentication failed"),
        "Why, naming the binding and role.",
    ),
    audit("apiVersion", Text, Always, "Version of the audit event's format."),
    audit("auditID", Text, Always, "Identity of the request; a client may choose it."),
    audit(
        "authenticationMetadata.impersonationConstraint",
        Text,
        Rarely(NO_IMPERSONATION),
        "The constraint that allowed an impersonation.",
    ),
    derived(
        "cluster",
        Text,
        Often("absent unless the source, a wrapper or a header names it"),
        "Name of the cluster.",
    ),
    derived(
        "duration",
        Number,
        Often("only at stage ResponseComplete"),
        "Seconds from the request's arrival to its end.",
    ),
    derived(EVENT_TEXT, Text, Always, "The whole event as JSON; what keywords are searched in."),
    derived(
        "exec.command",
        Text,
        Rarely("only for exec, and for the kubelet's API behind nodes/proxy"),
        "The command that was run, decoded, its arguments joined by spaces.",
    ),
    body(
        "impersonatedUser.extra",
        AuditLevel::Metadata,
        "Further attributes of the impersonated user.",
    ),
    audit(
        "impersonatedUser.groups",
        Text,
        Rarely(NO_IMPERSONATION),
        "Groups that the request claims.",
    ),
    audit("impersonatedUser.uid", Text, Rarely(NO_IMPERSONATION), "UID that the request claims."),
    audit(
        "impersonatedUser.username",
        Text,
        Rarely(NO_IMPERSONATION),
        "Whom the request acts as, if that was authorized.",
    ),
    audit("kind", Text, Always, "`Event`."),
    audit(
        "level",
        Words(&["None", "Metadata", "Request", "RequestResponse"]),
        Always,
        "Audit level at which the event was recorded.",
    ),
    audit(
        "objectRef.apiGroup",
        Text,
        Often("absent for the core group"),
        "API group of the object.",
    ),
    audit("objectRef.apiVersion", Text, Often(NO_OBJECT), "API version of the object."),
    audit("objectRef.name", Text, Often(NO_NAME), "Name of the object."),
    audit("objectRef.namespace", Text, Often(NO_NAMESPACE), "Namespace of the object."),
    audit("objectRef.resource", Text, Often(NO_OBJECT), "Resource, in the plural: `pods`."),
    audit(
        "objectRef.resourceVersion",
        Text,
        Rarely("only for some updates"),
        "Resource version that the client saw.",
    ),
    audit(
        "objectRef.subresource",
        Text,
        Rarely("only for requests to a subresource"),
        "`exec`, `log`, `token` and others.",
    ),
    audit("objectRef.uid", Text, Rarely("only for some updates"), "UID of the object."),
    derived(
        "outcome",
        Words(&["success", "denied", "error"]),
        Often("absent at stage RequestReceived"),
        "How the request ended: 1xx to 3xx, 401 and 403, or anything else.",
    ),
    KnownField {
        path: "pod_spec",
        kind: Tree,
        presence: Rarely("only for requests whose body holds a pod spec"),
        level: AuditLevel::Request,
        derived: true,
        doc: "The pod spec, wherever it is: in a pod, a workload's template or a cron job.",
    },
    body(
        "requestObject",
        AuditLevel::Request,
        "The request's body as it was sent; for a patch the patch itself.",
    ),
    audit("requestReceivedTimestamp", Time, Always, "When the request arrived."),
    audit("requestURI", Text, Always, "Path and query as they were sent; may hold secrets."),
    body("responseObject", AuditLevel::RequestResponse, "The response's body."),
    audit("responseStatus.code", Number, Often("absent at stage RequestReceived"), "HTTP status."),
    audit("responseStatus.details", Tree, Rarely(NO_STATUS), "Details of a failure."),
    audit("responseStatus.message", Text, Rarely(NO_STATUS), "A failure in words."),
    audit("responseStatus.metadata", Tree, Rarely(NO_STATUS), "Metadata of the status."),
    audit("responseStatus.reason", Text, Rarely(NO_STATUS), "A failure in a word: `Forbidden`."),
    audit(
        "responseStatus.status",
        Words(&["Success", "Failure"]),
        Rarely(NO_STATUS),
        "`Success` or `Failure`.",
    ),
    derived(
        "source.ip",
        Address,
        Often("absent for requests without an address"),
        "The last address of `sourceIPs`: the only one that the client cannot choose.",
    ),
    derived(
        "source.public",
        Bool,
        Often("absent for requests without an address"),
        "Whether `source.ip` is a public address.",
    ),
    audit(
        "sourceIPs",
        Address,
        Often("absent for some requests of the API server itself"),
        "Addresses on the way; all but the last are chosen by the client.",
    ),
    audit(
        "stage",
        Words(STAGES),
        Always,
        "Stage of the event. A rule that names it sees every stage.",
    ),
    audit("stageTimestamp", Time, Always, "When the stage was reached."),
    audit(
        "user.extra",
        Tree,
        Often(NO_EXTRA),
        "Further attributes of the caller, by keys with dots and slashes.",
    ),
    audit("user.groups", Text, Often(NO_USER), "Groups of the caller."),
    audit("user.uid", Text, Often("absent for certificates"), "UID of the caller."),
    audit(
        "user.username",
        Text,
        Often(NO_USER),
        "The authenticated caller; with impersonation the real one.",
    ),
    audit(
        "userAgent",
        Text,
        Often("absent if the client sends none"),
        "What the client calls itself; it may say anything.",
    ),
    audit("verb", Words(VERBS), Always, "What was asked for. There is no `exec` and no `replace`."),
];

/// The field of a path: itself, or the tree that it lies in.
pub fn known(path: &str) -> Option<&'static KnownField> {
    let exact = FIELDS.iter().find(|field| field.path == path);
    exact.or_else(|| {
        FIELDS.iter().filter(|field| field.kind == Tree).find(|field| {
            path.strip_prefix(field.path)
                .is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
        })
    })
}

/// What to write instead of a path that is not known.
pub fn suggestion(path: &str) -> Option<String> {
    if let Some(near) = nearest(path, FIELDS.iter().map(|field| field.path)) {
        return Some(near.to_owned());
    }
    // The last part alone, as in `apiGroup` for `objectRef.apiGroup`.
    let tail = format!(".{path}");
    let found = FIELDS.iter().find(|field| {
        field.path.len() > tail.len()
            && field
                .path
                .get(field.path.len() - tail.len()..)
                .is_some_and(|end| end.eq_ignore_ascii_case(&tail))
    });
    if let Some(field) = found {
        return Some(field.path.to_owned());
    }
    POD_PARTS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(path))
        .map(|(_, field)| (*field).to_owned())
}

/// Parts of a pod spec that rules like to look for at the root of the event.
const POD_PARTS: &[(&str, &str)] = &[
    ("hostPath", "pod_spec.volumes.hostPath.path"),
    ("capabilities", "pod_spec.containers.securityContext.capabilities.add"),
    ("privileged", "pod_spec.containers.securityContext.privileged"),
    ("hostNetwork", "pod_spec.hostNetwork"),
    ("hostPID", "pod_spec.hostPID"),
    ("hostIPC", "pod_spec.hostIPC"),
    ("image", "pod_spec.containers.image"),
    ("serviceAccountName", "pod_spec.serviceAccountName"),
    ("username", "user.username"),
    ("groups", "user.groups"),
    ("roleRef", "requestObject.roleRef.name"),
    ("subjects", "requestObject.subjects.name"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_explained() {
        assert!(FIELDS.is_sorted_by_key(|field| field.path));
        for field in FIELDS {
            assert!(field.doc.ends_with('.'), "{}", field.path);
        }
    }

    #[test]
    fn derived_fields_are_those_that_are_computed() {
        let computed: Vec<&str> = DERIVATIONS.iter().map(|derivation| derivation.name).collect();
        let known: Vec<&str> = FIELDS
            .iter()
            .filter(|field| field.derived && field.kind != Tree)
            .map(|field| field.path)
            .collect();
        assert_eq!(known, computed);
    }

    #[test]
    fn derived_fields_say_where_they_come_from_and_when_they_are_absent() {
        for field in FIELDS.iter().filter(|field| field.derived && field.kind != Tree) {
            let text = field.describe();
            let says_when = text.contains("absent") || text.contains("Absent");
            assert!(says_when || text.contains("Only at stage"), "{}: {text}", field.path);
            let always = text.contains("Never absent");
            assert_eq!(always, field.presence == Always, "{}: {text}", field.path);
        }
    }

    #[test]
    fn trees_hold_what_lies_below_them() {
        for path in
            ["requestObject.spec.hostPID", "annotations.a/b", "user.extra.x", "pod_spec.volumes"]
        {
            assert!(known(path).is_some(), "{path}");
        }
        for path in ["requestObject.", "requestObjects.x", "user", "hostPath", "objectRef"] {
            assert!(known(path).is_none(), "{path}");
        }
    }

    #[test]
    fn what_is_meant_is_suggested() {
        for (path, meant) in [
            ("objectRef.resourse", "objectRef.resource"),
            ("objectref.name", "objectRef.name"),
            ("apiGroup", "objectRef.apiGroup"),
            ("hostPath", "pod_spec.volumes.hostPath.path"),
            ("userName", "user.username"),
        ] {
            assert_eq!(suggestion(path).as_deref(), Some(meant), "{path}");
        }
        assert_eq!(suggestion("CommandLineOfProcess"), None);
    }
}
