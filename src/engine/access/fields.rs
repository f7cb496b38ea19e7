//! The fields that an access is made of, as the second pass over an event extracts them.

use crate::engine::{
    event::{Event, FieldId, FieldTable, Sources, derived},
    value::Value,
};

macro_rules! fields {
    ($($name:ident = $path:literal;)*) => {
        /// Where they are in the table of a rule set.
        #[derive(Clone, Copy, Debug)]
        pub(super) struct Fields {
            $(pub(super) $name: FieldId,)*
        }

        impl Fields {
            /// Adds what is missing to a table.
            pub(super) fn add_to(table: &mut FieldTable) -> Fields {
                Fields { $($name: table.intern($path),)* }
            }
        }
    };
}

fields! {
    actor_human = "actor.human";
    actor_id = "actor.id";
    actor_kind = "actor.kind";
    actor_team = "actor.team";
    command = "exec.command";
    duration = "duration";
    impersonated_groups = "impersonatedUser.groups";
    issued = "annotations.authentication.kubernetes.io/issued-credential-id";
    made_name = "responseObject.metadata.name";
    message = "responseStatus.message";
    on_behalf_of = "actor.on_behalf_of";
    outcome = "outcome";
    reason = "annotations.authorization.k8s.io/reason";
    role_kind = "requestObject.roleRef.kind";
    role_name = "requestObject.roleRef.name";
    source_ip = "source.ip";
    subject_kinds = "requestObject.subjects.kind";
    subject_names = "requestObject.subjects.name";
    truncated = "truncated";
}

/// Computes a derived field, and gives its first value.
pub(super) fn derived_value<'a>(
    event: &mut Event<'a>,
    path: &str,
    field: FieldId,
    sources: &Sources,
) -> Option<Value<'a>> {
    if let Some(index) = derived::index_of(path) {
        derived::derive(event, index, field, sources);
    }
    event.first(field).cloned()
}
