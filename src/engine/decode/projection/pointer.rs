//! JSON Pointers: where they lead from a node of a projection, segment by segment.

use super::{NodeId, Projection};

/// Where one segment of a JSON Pointer leads.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::decode) enum Leads {
    /// To the node of a key.
    ToKey(NodeId),
    /// To an element of the list, which has the same node.
    ToElement,
    /// Below a list, or an element of it, but it is no index.
    BelowList,
    /// To what no rule asks for.
    Nowhere,
}

impl Projection {
    /// Where a segment of a JSON Pointer leads from `parent`.
    pub(in crate::engine::decode) fn step(&self, parent: NodeId, segment: &str) -> Leads {
        let Some(node) = self.node(parent) else { return Leads::Nowhere };
        match node.children.get(segment.as_bytes()) {
            Some(child) => Leads::ToKey(*child),
            None if is_index(segment) => Leads::ToElement,
            None if node.is_list => Leads::BelowList,
            None => Leads::Nowhere,
        }
    }
}

/// Whether a segment of a JSON Pointer may be the place of an element: the end of the list, or a number as the
/// API server reads it, which counts negative ones from the end.
pub(in crate::engine::decode) fn is_index(segment: &str) -> bool {
    let digits = segment.strip_prefix(['+', '-']).unwrap_or(segment);
    segment == "-" || !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
