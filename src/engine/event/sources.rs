//! What derived fields are computed from beside the fields that every event has: fields that are decoded
//! only where a derived field that a rule names needs them, and what is known of identities.

use std::sync::Arc;

use super::{FieldId, FieldTable, Identities, callers::Callers};

/// Prefix of the fields of parameters.
pub(super) const REQUEST_QUERY: &str = "request.query";

/// The request's body, whatever it is.
const REQUEST_BODY: &str = "requestObject";
/// Options that ask for a dry run: of an eviction, and of a deletion.
const EVICTION_DRY_RUN: &str = "requestObject.deleteOptions.dryRun";
const DELETION_DRY_RUN: &str = "requestObject.dryRun";

/// What it takes to know whether a request is a dry run.
pub(super) const DRY_RUN: &[&str] = &[REQUEST_BODY, EVICTION_DRY_RUN, DELETION_DRY_RUN];

/// Where an object names a directory or file of the node.
pub(super) const HOST_PATHS: &[&str] =
    &["pod_spec.volumes.hostPath.path", "object.spec.hostPath.path", "object.spec.local.path"];

/// The subjects of a binding, and what each has.
pub(super) const SUBJECTS: &[&str] = &[
    "object.subjects",
    "object.subjects.kind",
    "object.subjects.namespace",
    "object.subjects.name",
];

/// What a secret is for, and for whom.
pub(super) const SECRET_ACCOUNT: &[&str] =
    &["object.type", "object.metadata.annotations.kubernetes.io/service-account.name"];

/// What a failure says in words.
pub(super) const MESSAGE: &str = "responseStatus.message";

/// The field of [`MESSAGE`], if it is in a table.
pub(in crate::engine) fn message_of(fields: &FieldTable) -> Option<FieldId> {
    fields.get(MESSAGE)
}

/// Where derived fields of one rule set find what they need. Immutable, but for what is remembered to save time.
#[derive(Debug)]
pub(in crate::engine) struct Sources {
    pub(super) identities: Arc<Identities>,
    pub(super) callers: Callers,
    /// The parameters of queries that rules name, each with its field.
    pub(super) parameters: Vec<(String, FieldId)>,
    pub(super) request_body: Option<FieldId>,
    pub(super) dry_run_options: Vec<FieldId>,
    pub(super) host_paths: Vec<FieldId>,
    /// In the order of [`SUBJECTS`].
    pub(super) subjects: [Option<FieldId>; 4],
    /// See [`MESSAGE`].
    pub(super) message: Option<FieldId>,
    /// In the order of [`SECRET_ACCOUNT`].
    pub(super) secret_account: [Option<FieldId>; 2],
}

impl Sources {
    /// For events whose fields are in this table.
    pub(in crate::engine) fn new(fields: &FieldTable, identities: Arc<Identities>) -> Sources {
        let parameter = |path: &String| {
            let name = path.strip_prefix(REQUEST_QUERY)?.strip_prefix('.')?;
            Some((name.to_owned(), fields.get(path)?))
        };
        Sources {
            identities,
            callers: Callers::default(),
            parameters: fields.paths().iter().filter_map(parameter).collect(),
            request_body: fields.get(REQUEST_BODY),
            dry_run_options: [EVICTION_DRY_RUN, DELETION_DRY_RUN]
                .iter()
                .filter_map(|path| fields.get(path))
                .collect(),
            host_paths: HOST_PATHS.iter().filter_map(|path| fields.get(path)).collect(),
            subjects: in_order(fields, SUBJECTS),
            message: message_of(fields),
            secret_account: in_order(fields, SECRET_ACCOUNT),
        }
    }
}

/// The fields of some paths, as far as they are in a table.
fn in_order<const N: usize>(fields: &FieldTable, paths: &[&str]) -> [Option<FieldId>; N] {
    std::array::from_fn(|index| paths.get(index).and_then(|path| fields.get(path)))
}
