//! Where a straight line through an event finds what rules ask for beside the fields that it knows by name.

use super::NodeId;
use crate::engine::event::FieldTable;

/// Paths of objects on the line, and of what it compares without reading it. Where a rule asks for one of
/// these itself, events are read as any JSON is.
const NEVER_ASKED: [&str; 7] =
    ["kind", "apiVersion", "user", "user.extra", "objectRef", "responseStatus", "annotations"];

/// Nodes that a straight line through an event comes by.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::decode) struct Places {
    /// No rule asks for something that it does not read.
    pub(in crate::engine::decode) is_straight: bool,
    pub(in crate::engine::decode) user: Option<NodeId>,
    pub(in crate::engine::decode) extra: Option<NodeId>,
    pub(in crate::engine::decode) object_ref: Option<NodeId>,
    pub(in crate::engine::decode) status: Option<NodeId>,
    pub(in crate::engine::decode) annotations: Option<NodeId>,
    /// Of the annotation that says why a request was allowed.
    pub(in crate::engine::decode) reason: Option<NodeId>,
}

impl Places {
    /// For the fields of a table. `find` tells the node of a path, if any field is at or below it.
    pub(super) fn new(table: &FieldTable, find: impl Fn(&str) -> Option<NodeId>) -> Places {
        Places {
            is_straight: NEVER_ASKED.iter().all(|path| table.get(path).is_none()),
            user: find("user"),
            extra: find("user.extra"),
            object_ref: find("objectRef"),
            status: find("responseStatus"),
            annotations: find("annotations"),
            reason: find("annotations.authorization.k8s.io/reason"),
        }
    }
}
