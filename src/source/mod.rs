//! Where records come from.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::engine::record::{PartitionName, Position, RecordBatch};

/// Where a source puts its batches: a bounded channel to the detector threads.
///
/// When it is full the source must stop reading (pause), but keep its connection alive.
pub trait BatchSink: Send {
    /// Hands over a batch, or gives it back because there is no room.
    ///
    /// # Errors
    /// The batch itself, to be offered again later.
    fn offer(&mut self, batch: RecordBatch) -> Result<(), RecordBatch>;
}

/// Something that yields records. It runs on a thread of its own until told to stop.
pub trait Source: Send {
    /// Reads until `context.stop` is cancelled or the source is at its end; blocks the thread.
    /// Connection troubles are retried inside and reported through `context.events`.
    ///
    /// # Errors
    /// Only what no retry can mend: see [`SourceError`].
    fn run(self: Box<Self>, context: SourceContext) -> Result<(), SourceError>;
}

/// What a running source is given.
pub struct SourceContext {
    /// Where batches go. Sequence numbers count up by one from 0.
    pub sink: Box<dyn BatchSink>,
    /// Where to go on: from the checkpoint, which wins over what the broker remembers.
    pub positions: Vec<Position>,
    /// Positions that a checkpoint has covered; the source tells the broker, for lag tools. Only the
    /// latest value matters.
    pub committed: tokio::sync::watch::Receiver<Vec<Position>>,
    /// What the shell should know: connected, lag, trouble.
    pub events: Box<dyn Fn(SourceEvent) + Send + Sync>,
    /// Stop reading, commit what is committed, close, return.
    pub stop: CancellationToken,
}

/// What a source reports while it runs.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// It can read; partitions are assigned (perhaps none yet).
    Ready {
        /// The partitions that it reads now.
        partitions: Vec<Arc<PartitionName>>,
    },
    /// It cannot read at the moment; it goes on trying.
    Unavailable {
        /// For people.
        detail: String,
    },
    /// Records behind the end of each partition.
    Lag {
        /// Partition and lag.
        partitions: Vec<(Arc<PartitionName>, i64)>,
    },
    /// The checkpoint's position no longer exists (retention): records were lost, so many.
    Gap {
        /// The partition.
        partition: Arc<PartitionName>,
        /// Records between the position and the first that still exists.
        records: i64,
    },
    /// The channel was full, so reading pauses; or it goes on.
    Paused(bool),
}

/// What no retry can mend.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Another process took over the stream.
    #[error(
        "another Tripline process has taken over the stream (static member `{instance}` was fenced); this one stops and delivers nothing more"
    )]
    Fenced {
        /// The static group instance id.
        instance: String,
    },
    /// Settings that the library refuses.
    #[error("{0}")]
    Config(String),
    /// The source broke for good.
    #[error("{0}")]
    Fatal(String),
}
