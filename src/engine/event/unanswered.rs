//! Changes that were made, and whose answer nobody could be given: the API server stores first, and looks then
//! whether what was made can be shown in the form that the client asks for. Whoever asks for one that cannot be, by a
//! header that no log holds, is refused once it is done (`transformResponseObject` in
//! staging/src/k8s.io/apiserver/pkg/endpoints/handlers/response.go).

use super::{Event, FieldId, FieldTable, well_known};
use crate::engine::{kubernetes::verbs::CHANGING, value::Value};

/// What a refusal says in words; audit logs have it at each level.
pub(super) const MESSAGE: &str = "responseStatus.message";

/// How a refusal of the form begins, with its status. What is refused before anything is done reads otherwise (`only the
/// following media types are accepted`).
const REFUSALS: [(i64, &str); 2] = [
    (406, "you requested PartialObjectMetadata"),
    (400, "Unable to convert to Table as requested"),
];

/// The field of [`MESSAGE`], if it is in a table.
pub(in crate::engine) fn message_of(fields: &FieldTable) -> Option<FieldId> {
    fields.get(MESSAGE)
}

/// Whether it is a change that was made, of which only the answer was refused. `message` is what [`message_of`] gives.
pub(in crate::engine) fn is_done_unanswered(event: &Event<'_>, message: Option<FieldId>) -> bool {
    let Some(Value::Int(code)) = event.first(well_known::RESPONSE_CODE) else { return false };
    let Some((_, begin)) = REFUSALS.iter().find(|(of, _)| of == code) else { return false };
    let says = message.and_then(|field| event.first_str(field));
    says.is_some_and(|says| says.starts_with(begin))
        && event.first_str(well_known::VERB).is_some_and(|verb| CHANGING.contains(&verb))
}
