//! Where values stand: the places that a path means, and where a straight line through an event finds what rules
//! ask for beside the fields that it knows by name.

use super::{BODIES, CHANGE, NodeId};
use crate::engine::{
    event::{
        FieldTable, Parts,
        derived::{OBJECT, POD_SPEC},
    },
    kubernetes::resources::pod_spec_places,
};

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
            reason: find(Parts::REASON_PATH),
        }
    }
}

/// Where the bodies of changes hold what the path of an object's field means: in both bodies, and in lists
/// of objects. None if the path is no such field.
pub(super) fn places_of(path: &str) -> Vec<String> {
    let below = |root: &str| path.strip_prefix(root)?.strip_prefix('.');
    let tails: Vec<String> = if let Some(tail) = below(POD_SPEC) {
        pod_spec_places().into_iter().map(|place| format!("{place}.{tail}")).collect()
    } else {
        below(OBJECT).map(str::to_owned).into_iter().collect()
    };
    let mut places = Vec::with_capacity(tails.len() * 4);
    for tail in tails {
        for body in BODIES {
            places.push(format!("{body}{CHANGE}.{tail}"));
            places.push(format!("{body}{CHANGE}.items.{tail}"));
        }
    }
    places
}

/// The path as it is where a shipper put underscores in the place of dots, which Elasticsearch and others
/// take for objects: `annotations.authorization_k8s_io/decision`. `None` if no key of it holds dots.
pub(super) fn without_dots(path: &str) -> Option<String> {
    let parents = ["annotations.", "labels.", "extra."];
    let ends = parents.iter().filter_map(|parent| path.find(parent).map(|at| at + parent.len()));
    let (parent, key) = path.split_at_checked(ends.min()?)?;
    (key.contains('.') && key.contains('/')).then(|| format!("{parent}{}", key.replace('.', "_")))
}
