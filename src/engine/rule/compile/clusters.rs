//! Clusters are kept apart: where the cluster of an event is known it is part of what is counted, remembered
//! and told, unless the rule has it in its key already, or says `across: clusters`.

use super::alert::slot;
use crate::engine::{
    diagnostic::{Diagnostic, Problems},
    kubernetes::fields::CLUSTER,
    rule::{plan::alert::CaptureSlot, read::header::Header},
    syntax::code,
};

/// What a rule says of clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Clusters {
    /// Each by itself, and its key does not say so.
    Apart,
    /// Each by itself, by its key.
    InKey,
    /// As one.
    Across,
}

impl Clusters {
    /// What a document means by its key. One that says both is reported.
    pub(in crate::engine) fn of(header: &Header, key: &[String], problems: &Problems) -> Clusters {
        let in_key = key.iter().any(|part| part == CLUSTER);
        match &header.extension.across {
            Some(place) if in_key => {
                let title = "the key has `cluster`, and the rule counts across clusters";
                let problem = Diagnostic::error(code::SHAPE_MISMATCH, place.clone(), title);
                problems.push(problem.help("remove `across`, or `cluster` from `group-by`"));
                Clusters::InKey
            }
            Some(_) => Clusters::Across,
            None if in_key => Clusters::InKey,
            None => Clusters::Apart,
        }
    }

    /// The part of the key that keeps them apart, if it needs one, among the captured values.
    pub(in crate::engine) fn slot(self, captured: &[String]) -> Option<CaptureSlot> {
        if self == Clusters::Apart { slot(captured, CLUSTER) } else { None }
    }
}
