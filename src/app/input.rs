//! What threads, tasks and people tell the coordinator's thread.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    engine::{coordinator, rule::RuleSet},
    server::ActRequest,
    source::{SourceError, SourceEvent},
};

/// One message.
#[expect(clippy::large_enum_variant, reason = "a batch is the largest, and most of what comes")]
pub(super) enum Input {
    /// For the engine as it stands.
    Engine(coordinator::Input),
    /// Another rule set, and whom to tell that it is in force.
    Rules(Arc<RuleSet>, oneshot::Sender<()>),
    /// Somebody does something, and wants to know when it is durable.
    Act(ActRequest),
    /// A source reports.
    Source { source_index: usize, event: SourceEvent },
    /// A source's thread returned, after it handed over so many batches.
    SourceEnded { source_index: usize, batches: u64, result: Result<(), SourceError> },
}
