//! Changes that were made, and whose answer nobody could be given. The API server stores first, and looks then whether
//! what was made can be shown in the form that the client asks for, by a header that no log holds; if not, it says so in
//! place of an answer (`transformResponseObject` in
//! staging/src/k8s.io/apiserver/pkg/endpoints/handlers/response.go). As a failure cannot be shown in that form either, the log
//! has its code alone (tried with kube-apiserver 1.34).

use super::{Event, FieldId, request::asks_for_no_table, well_known};
use crate::engine::{kubernetes::verbs::CHANGING, value::Value};

/// With 406: somebody asks for a list of one, or for one of a list. Who asks for what the server does not speak at all gets
/// the same code, and nothing is done: no client of Kubernetes does, so it is not told apart.
const NO_LIST: &str = "you requested PartialObjectMetadata";

/// With 400: somebody asks for a table, and says in the request's address in what way, which there is not.
const NO_TABLE: &str = "Unable to convert to Table as requested";

/// Whether it is a change that was made, of which only the answer was refused. `message`: the field in which failures say why.
pub(in crate::engine) fn is_done_unanswered(event: &Event<'_>, message: Option<FieldId>) -> bool {
    let begin = match event.first(well_known::RESPONSE_CODE) {
        Some(Value::Int(406)) => NO_LIST,
        Some(Value::Int(400)) if asks_for_no_table(event) => NO_TABLE,
        _ => return false,
    };
    let Some(message) = message else { return false };
    let is_silent = event.count(message) == 0;
    (is_silent || event.first_str(message).is_some_and(|says| says.starts_with(begin)))
        && event.first_str(well_known::VERB).is_some_and(|verb| CHANGING.contains(&verb))
}
