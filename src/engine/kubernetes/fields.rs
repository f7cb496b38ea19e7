//! The fields of audit events (`Event` in `k8s.io/apiserver/pkg/apis/audit/v1`), with the keys of
//! annotations and of `user.extra` that Kubernetes itself sets.
//!
//! The table says where a field comes from, from which audit level on it is recorded, and when it is
//! absent. With the fields that Tripline derives it makes `event::known_fields`.

use super::{AuditLevel, levels::LEVEL_WORDS, stages::STAGE_WORDS, verbs::VERBS};

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
    /// Texts by keys that hold dots and slashes themselves: the table holds the prefix, and the keys
    /// that are known.
    Keyed,
}

impl FieldKind {
    /// Whether the path is that of what lies below it.
    pub const fn is_prefix(self) -> bool {
        matches!(self, Tree | Keyed)
    }
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
    /// Its path, or the prefix of what lies below it, without the dot.
    pub path: &'static str,
    /// What its values are.
    pub kind: FieldKind,
    /// How often it is there.
    pub presence: Presence,
    /// From which audit level on.
    pub level: AuditLevel,
    /// Whether an event may have several values of it.
    pub is_many: bool,
    /// Whether people and programs write it freely, and may put secrets in.
    pub is_free_text: bool,
    /// Whether Tripline derives it.
    pub is_derived: bool,
    /// What it is, in sentences. Of a derived field also where it comes from and when it is absent.
    pub doc: &'static str,
}

impl KnownField {
    /// A field at level Metadata with one value, which nobody writes freely.
    pub const fn new(
        path: &'static str,
        kind: FieldKind,
        presence: Presence,
        doc: &'static str,
    ) -> KnownField {
        KnownField {
            path,
            kind,
            presence,
            level: AuditLevel::Metadata,
            is_many: kind.is_prefix(),
            is_free_text: false,
            is_derived: false,
            doc,
        }
    }

    /// The same with several values.
    #[must_use]
    pub const fn many(self) -> KnownField {
        KnownField { is_many: true, ..self }
    }

    /// The same, written freely.
    #[must_use]
    pub const fn free_text(self) -> KnownField {
        KnownField { is_free_text: true, ..self }
    }

    /// The same from a level on.
    #[must_use]
    pub const fn from(self, level: AuditLevel) -> KnownField {
        KnownField { level, ..self }
    }

    /// The same, derived.
    #[must_use]
    pub const fn derived(self) -> KnownField {
        KnownField { is_derived: true, ..self }
    }

    /// What it is and when it is absent, for people.
    pub fn describe(&self) -> String {
        let mut text = self.doc.to_owned();
        if let (false, Often(when) | Rarely(when)) = (self.is_derived, self.presence) {
            text.push_str(&format!(" Sometimes missing: {when}."));
        }
        if self.level > AuditLevel::Metadata {
            text.push_str(&format!(" Recorded from audit level {} on.", self.level.as_str()));
        }
        text
    }
}

use FieldKind::{Address, Keyed, Number, Text, Time, Tree, Words};
use Presence::{Always, Often, Rarely};

const fn field(
    path: &'static str,
    kind: FieldKind,
    presence: Presence,
    doc: &'static str,
) -> KnownField {
    KnownField::new(path, kind, presence, doc)
}

const fn body(path: &'static str, level: AuditLevel, doc: &'static str) -> KnownField {
    KnownField::new(path, Tree, Often(NO_BODY), doc).from(level).free_text()
}

const NO_OBJECT: &str = "absent for non-resource requests such as /healthz";
const NO_NAME: &str = "absent for lists, and for creates that were refused";
const NO_NAMESPACE: &str = "absent for cluster-scoped objects and non-resource requests";
const NO_USER: &str = "absent when authentication failed (401)";
const NO_BODY: &str = "absent below its audit level, and for requests without a body";
const NO_STATUS: &str = "absent unless the request failed";
const NO_CREDENTIAL: &str = "absent unless the authenticator adds it";
const NO_POD: &str = "only for tokens that are bound to a pod";
const NO_ADMISSION: &str = "only if admission has something to say";
const NO_LEGACY: &str = "only for tokens of service accounts that never expire";

/// Why fields of an impersonation are absent.
pub const NO_IMPERSONATION: &str = "absent unless the request impersonates somebody";

/// Verbs by which a constrained impersonation is allowed (KEP-5284, from 1.35 on; beta in 1.36).
const IMPERSONATION_VERBS: &[&str] = &[
    "impersonate:user-info",
    "impersonate:serviceaccount",
    "impersonate:arbitrary-node",
    "impersonate:associated-node",
];

/// Versions of the format in which events come; the last two from before Kubernetes 1.24.
const VERSIONS: &[&str] = &["audit.k8s.io/v1", "audit.k8s.io/v1beta1", "audit.k8s.io/v1alpha1"];

/// Every field of audit events that is known; sorted by path.
pub const AUDIT_FIELDS: &[KnownField] = &[
    field(
        "annotations",
        Keyed,
        Often("depends on the annotation"),
        "What the API server noted: `annotations.authorization.k8s.io/decision` and others.",
    )
    .free_text(),
    field(
        "annotations.apiserver.k8s.io/unsafe-delete-ignore-read-error",
        Text,
        Often("only for deletions of objects that cannot be read"),
        "The object was deleted without being read; its value is empty.",
    ),
    field(
        "annotations.audit.k8s.io/truncated",
        Words(&["true"]),
        Often("only for events that were too large"),
        "The API server dropped the bodies of this event because it was too large.",
    ),
    field(
        "annotations.authentication.k8s.io/legacy-token",
        Text,
        Often(NO_LEGACY),
        "The service account whose token was used.",
    ),
    field(
        "annotations.authentication.k8s.io/legacy-token-autogenerated-secret",
        Text,
        Often(NO_LEGACY),
        "The secret of the token that was used, made by Kubernetes.",
    ),
    field(
        "annotations.authentication.k8s.io/legacy-token-invalidated",
        Text,
        Often(NO_LEGACY),
        "The secret of the token that was used after it was declared invalid.",
    ),
    field(
        "annotations.authentication.k8s.io/legacy-token-manual-secret",
        Text,
        Often(NO_LEGACY),
        "The secret of the token that was used, made by somebody.",
    ),
    field(
        "annotations.authentication.k8s.io/stale-token",
        Text,
        Often("only for tokens that should have been renewed"),
        "A token was used after its time, and how long after.",
    ),
    field(
        "annotations.authentication.kubernetes.io/issued-credential-id",
        Text,
        Often("only for requests for a token"),
        "The token that was issued: `JTI=…`, the credential id of requests made with it.",
    ),
    field(
        "annotations.authorization.k8s.io/decision",
        Words(&["allow", "forbid"]),
        Often("absent when authentication or impersonation failed"),
        "What the authorizer said; not the outcome.",
    ),
    field(
        "annotations.authorization.k8s.io/is-conditional-decision",
        Words(&["true"]),
        Often("only for requests that were allowed under conditions"),
        "The authorizer allowed the request under conditions, which admission decided about (KEP-5681, \
         alpha after Kubernetes 1.37; not yet seen live).",
    ),
    field(
        "annotations.authorization.k8s.io/reason",
        Text,
        Often("absent when authentication failed"),
        "Why, naming the binding and role.",
    )
    .free_text(),
    field(
        "annotations.k8s.io/deprecated",
        Words(&["true"]),
        Often("only for API versions that are deprecated"),
        "The version of the API that was used is deprecated.",
    ),
    field(
        "annotations.k8s.io/removed-release",
        Text,
        Often("only for API versions that are deprecated"),
        "The release in which the version of the API that was used goes: `1.32`.",
    ),
    field(
        "annotations.pod-security.kubernetes.io/audit-violations",
        Text,
        Often(NO_ADMISSION),
        "How a pod violates the pod security standard that its namespace audits.",
    )
    .free_text(),
    field(
        "annotations.pod-security.kubernetes.io/enforce-policy",
        Text,
        Often(NO_ADMISSION),
        "The pod security standard that is enforced: `restricted:latest`.",
    ),
    field(
        "annotations.pod-security.kubernetes.io/error",
        Text,
        Often(NO_ADMISSION),
        "Why pod security admission could not decide.",
    )
    .free_text(),
    field(
        "annotations.pod-security.kubernetes.io/exempt",
        Words(&["namespace", "user", "runtimeClass"]),
        Often(NO_ADMISSION),
        "Why pod security admission did not look at the request.",
    ),
    field(
        "annotations.validation.policy.admission.k8s.io/validation_failure",
        Text,
        Often(NO_ADMISSION),
        "Which policies and bindings a request violates that audit it, as JSON.",
    )
    .free_text(),
    field("apiVersion", Words(VERSIONS), Always, "Version of the audit event's format."),
    field("auditID", Text, Always, "Identity of the request; a client may choose it."),
    field(
        "authenticationMetadata.impersonationConstraint",
        Words(IMPERSONATION_VERBS),
        Rarely(NO_IMPERSONATION),
        "The verb by which a constrained impersonation was allowed; absent for an unconstrained one \
         (KEP-5284, from Kubernetes 1.35 on; not yet seen live).",
    ),
    field(
        "impersonatedUser.extra",
        Keyed,
        Rarely(NO_IMPERSONATION),
        "Further attributes of the impersonated user.",
    ),
    field(
        "impersonatedUser.groups",
        Text,
        Rarely(NO_IMPERSONATION),
        "Groups that the request claims.",
    )
    .many(),
    field("impersonatedUser.uid", Text, Rarely(NO_IMPERSONATION), "UID that the request claims."),
    field(
        "impersonatedUser.username",
        Text,
        Rarely(NO_IMPERSONATION),
        "Whom the request acts as, if that was authorized.",
    ),
    field("kind", Words(&["Event"]), Always, "`Event`."),
    field("level", Words(LEVEL_WORDS), Always, "Audit level at which the event was recorded."),
    field(
        "objectRef.apiGroup",
        Text,
        Often("absent for the core group"),
        "API group of the object.",
    ),
    field("objectRef.apiVersion", Text, Often(NO_OBJECT), "API version of the object."),
    field("objectRef.name", Text, Often(NO_NAME), "Name of the object."),
    field("objectRef.namespace", Text, Often(NO_NAMESPACE), "Namespace of the object."),
    field("objectRef.resource", Text, Often(NO_OBJECT), "Resource, in the plural: `pods`."),
    field(
        "objectRef.resourceVersion",
        Text,
        Rarely("only for some updates"),
        "Resource version that the client saw.",
    ),
    field(
        "objectRef.subresource",
        Text,
        Rarely("only for requests to a subresource"),
        "`exec`, `log`, `token` and others.",
    ),
    field("objectRef.uid", Text, Rarely("only for some updates"), "UID of the object."),
    body(
        "requestObject",
        AuditLevel::Request,
        "The request's body as it was sent; for a patch the patch itself.",
    ),
    field("requestReceivedTimestamp", Time, Always, "When the request arrived."),
    field("requestURI", Text, Always, "Path and query as they were sent; may hold secrets.")
        .free_text(),
    body("responseObject", AuditLevel::RequestResponse, "The response's body."),
    field("responseStatus.code", Number, Often("absent at stage RequestReceived"), "HTTP status."),
    field("responseStatus.details", Tree, Rarely(NO_STATUS), "Details of a failure."),
    field("responseStatus.message", Text, Rarely(NO_STATUS), "A failure in words.").free_text(),
    field("responseStatus.metadata", Tree, Rarely(NO_STATUS), "Metadata of the status."),
    field("responseStatus.reason", Text, Rarely(NO_STATUS), "A failure in a word: `Forbidden`."),
    field(
        "responseStatus.status",
        Words(&["Success", "Failure"]),
        Rarely(NO_STATUS),
        "`Success` or `Failure`.",
    ),
    field(
        "sourceIPs",
        Address,
        Often("absent for some requests of the API server itself"),
        "Addresses on the way; all but the last are chosen by the client.",
    )
    .many(),
    field(
        "stage",
        Words(STAGE_WORDS),
        Always,
        "Stage of the event. A rule that names it sees every stage. `Unfinished` is none of the API server's: a \
         change was received, and no end of it came within two minutes.",
    ),
    field("stageTimestamp", Time, Always, "When the stage was reached."),
    field(
        "user.extra",
        Keyed,
        Often(NO_CREDENTIAL),
        "Further attributes of the caller, by keys with dots and slashes.",
    ),
    extra("user.extra.authentication.kubernetes.io/credential-id", NO_CREDENTIAL, CREDENTIAL),
    extra("user.extra.authentication.kubernetes.io/node-name", NO_POD, "Its pod's node."),
    extra("user.extra.authentication.kubernetes.io/node-uid", NO_POD, "Its pod's node, by UID."),
    extra("user.extra.authentication.kubernetes.io/pod-name", NO_POD, "Its pod."),
    extra("user.extra.authentication.kubernetes.io/pod-uid", NO_POD, "Its pod, by UID."),
    field("user.groups", Text, Often(NO_USER), "Groups of the caller.").many(),
    field("user.uid", Text, Often("absent for certificates"), "UID of the caller."),
    field(
        "user.username",
        Text,
        Often(NO_USER),
        "The authenticated caller; with impersonation the real one.",
    ),
    field(
        "userAgent",
        Text,
        Often("absent if the client sends none"),
        "What the client calls itself; it may say anything.",
    )
    .free_text(),
    field("verb", Words(VERBS), Always, "What was asked for. There is no `exec` and no `replace`."),
];

const CREDENTIAL: &str =
    "The credential that was used: `JTI=…` of a token, `X509SHA256=…` of a certificate.";

const fn extra(path: &'static str, absent: &'static str, doc: &'static str) -> KnownField {
    field(path, Text, Often(absent), doc).many()
}

/// Roots of keys of annotations that go on with something that nobody can list: a host, a round of
/// admission, a layer of the API server.
pub const ANNOTATION_PREFIXES: &[&str] = &[
    "apiserver.latency.k8s.io/",
    "failed-open.mutation.webhook.admission.k8s.io/",
    "failed-open.validating.webhook.admission.k8s.io/",
    "insecure-sha1.invalid-cert.kubernetes.io/",
    "missing-san.invalid-cert.kubernetes.io/",
    "mutation.webhook.admission.k8s.io/",
    "patch.webhook.admission.k8s.io/",
];

/// A field that shippers add beside those of the event.
pub const CLUSTER: &str = "cluster";

/// The keys at the root of an audit event; each once, sorted.
pub fn roots() -> Vec<&'static str> {
    let root = |field: &KnownField| field.path.split('.').next();
    let mut roots: Vec<&str> = AUDIT_FIELDS.iter().filter_map(root).collect();
    roots.dedup();
    roots
}

/// The prefix of a path below which one key follows, dots and slashes included, and that key.
pub fn split_key(path: &str) -> Option<(&'static str, &str)> {
    AUDIT_FIELDS.iter().filter(|field| field.kind == Keyed).find_map(|field| {
        let key = path.strip_prefix(field.path)?.strip_prefix('.')?;
        (!key.is_empty()).then_some((field.path, key))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_explained() {
        assert!(AUDIT_FIELDS.is_sorted_by_key(|field| field.path));
        for field in AUDIT_FIELDS {
            assert!(field.doc.ends_with('.') && !field.is_derived, "{}", field.path);
        }
        assert!(ANNOTATION_PREFIXES.is_sorted());
    }

    #[test]
    fn keys_are_told_from_paths() {
        let decision = "annotations.authorization.k8s.io/decision";
        assert_eq!(split_key(decision), Some(("annotations", "authorization.k8s.io/decision")));
        assert_eq!(split_key("user.extra.a/b.c"), Some(("user.extra", "a/b.c")));
        assert_eq!(split_key("annotations"), None);
        assert_eq!(split_key("requestObject.metadata.annotations.x"), None);
        assert!(roots().is_sorted() && roots().contains(&"authenticationMetadata"));
    }
}
