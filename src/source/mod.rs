//! Where records come from: one contract for all sources, and the table of them.
//!
//! A source copies bytes into batches and knows where it is; it neither decodes nor decides. The
//! contract is held by `tests/it/contract_source.rs` for every source.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod claim;
pub mod file;
pub mod kafka;
pub mod webhook;

pub use claim::{Claim, SURE_FOR};

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    engine::{
        diagnostic::Diagnostic,
        record::{PartitionName, Position, RecordBatch},
        state::SourceNote,
        time::WallTime,
        yaml::{SecretRef, Section},
    },
    kafka::ReadSecret,
    web::SecretSource,
};

/// Every source that can be configured. Sorted by name; one line each.
pub const SOURCES: &[&dyn SourceKind] = &[&file::File, &kafka::Kafka, &webhook::Webhook];

/// Records of one batch: 1,000.
const BATCH_RECORDS_MAX: usize = 1_000;

/// Bytes of one batch: 256 KiB. The record that passes it is still taken. Small enough to be still in a
/// processor's cache when it is decoded.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// How long to wait before a full sink is tried again.
const SINK_RETRY: Duration = Duration::from_millis(2);

/// A kind of source: a line of [`SOURCES`] and a file.
pub trait SourceKind: Sync {
    /// Its key in an entry of `sources`.
    fn name(&self) -> &'static str;
    /// One sentence for help and README.
    fn summary(&self) -> &'static str;
    /// A configuration that works as it stands, as YAML of the section below the kind's key.
    fn example(&self) -> &'static str;
    /// Reads the section; reports every mistake in it and returns `None` if there is any. Pure:
    /// nothing is opened, no secret is read.
    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn SourceConfig>>;
}

/// A section that was read and is correct in itself.
pub trait SourceConfig: Send + Sync {
    /// The secrets that [`SourceConfig::build`] will ask for, so that `check` can try them.
    fn secrets(&self) -> Vec<SecretRef>;
    /// Builds the source. Nothing is connected yet.
    ///
    /// # Errors
    /// What is wrong, for people: a secret that cannot be read, a certificate that is none.
    fn build(&self, secret: &SecretSource) -> Result<Box<dyn Source>, Box<Diagnostic>>;
    /// Opens what was recorded between two times, for `backtest`; `None` if the source knows no times.
    /// Blocks the thread. Disturbs no process that reads the same stream.
    fn history(
        &self,
        _secret: ReadSecret<'_>,
        _from: Option<WallTime>,
        _until: Option<WallTime>,
    ) -> Option<Result<Box<dyn RecordReader>, SourceError>> {
        None
    }
    /// What it reads of which Kafka cluster, if it does; a dead-letter topic lies there too.
    fn kafka(&self) -> Option<&kafka::KafkaSettings> {
        None
    }
    /// Keeps a topic out of what its patterns match: one that Tripline itself writes.
    fn leave_out(&mut self, _topic: &str) {}
    /// `host:port` on which it waits to be called, if it does.
    fn listen(&self) -> Option<&str> {
        None
    }
    /// Reads one record again, by the name of its topic or file and its offset; `None` within if it is no
    /// longer there. `None` if the source keeps no records, or they lie in Kafka. Blocks the thread.
    fn record(&self, _topic: &str, _offset: i64) -> Option<Result<Option<Vec<u8>>, SourceError>> {
        None
    }
    /// The file with this name, if the source reads it.
    fn file(&self, _topic: &str) -> Option<PathBuf> {
        None
    }
    /// Makes another process that reads the same stream stop, and waits for it up to `timeout`. Blocks
    /// the thread. Sources that anybody may read have nothing to do.
    ///
    /// # Errors
    /// As [`SourceConfig::build`].
    fn take_over(
        &self,
        _secret: ReadSecret<'_>,
        _timeout: Duration,
    ) -> Result<(), Box<Diagnostic>> {
        Ok(())
    }
}

/// Where a source puts its batches: a bounded channel to the detector threads.
///
/// When it is full the source must stop reading (pause), but keep its connection alive.
pub trait BatchSink: Send {
    /// Hands over a batch, or gives it back because there is no room.
    ///
    /// # Errors
    /// The batch itself, to be offered again later.
    #[expect(
        clippy::result_large_err,
        reason = "a batch goes either way, and a box for each costs more than its move"
    )]
    fn offer(&mut self, batch: RecordBatch) -> Result<(), RecordBatch>;

    /// An empty batch with memory that was used before, if there is one: new memory costs as much as
    /// copying into it.
    fn spare(&mut self) -> Option<RecordBatch> {
        None
    }
}

/// A finite stretch of records, read on the caller's thread: what `backtest` reads.
pub trait RecordReader: Send {
    /// The next records; `None` at the end. Sequence numbers count up by one from 0.
    ///
    /// # Errors
    /// If the rest cannot be read.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, SourceError>;

    /// How far it is. Cheap.
    fn progress(&self) -> Progress;

    /// What could not be read and was passed over since the last call, for people. Whoever reads goes
    /// on with the rest.
    fn take_problems(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// How far a [`RecordReader`] is, in bytes for files and in records for Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// What has been read, before decompression.
    pub done: u64,
    /// What there is; `None` if nobody can know, as on standard input.
    pub total: Option<u64>,
}

/// Something that yields records. It runs on a thread of its own until told to stop.
pub trait Source: Send {
    /// Reads until `context.stop` is cancelled or the source is at its end; blocks the thread.
    /// Connection troubles are retried inside and reported through `context.events`. Every record
    /// of a partition is offered once and in order, beginning at its position in
    /// `context.positions`; a batch that was not taken when it stops was never read.
    ///
    /// # Errors
    /// Only what no retry can mend: see [`SourceError`].
    fn run(self: Box<Self>, context: SourceContext) -> Result<(), SourceError>;
}

/// What a running source is given.
pub struct SourceContext {
    /// Name that the operator gave to the source; part of the names of its partitions, so that two
    /// clusters may have topics of one name.
    pub name: Option<Arc<str>>,
    /// Where batches go. Sequence numbers count up by one from 0.
    pub sink: Box<dyn BatchSink>,
    /// Where to go on: from the checkpoint, which wins over what the broker remembers.
    pub positions: Vec<Position>,
    /// How far windows reach back: so much is read again of what an earlier process had counted, if there
    /// are no positions although there was such a process.
    pub rebuild: Duration,
    /// What it has kept beside its positions: from the checkpoint.
    pub notes: Vec<SourceNote>,
    /// Positions that a checkpoint has covered; the source tells the broker, for lag tools. Only the
    /// latest value matters.
    pub committed: tokio::sync::watch::Receiver<Vec<Position>>,
    /// What the shell should know: connected, lag, trouble.
    pub events: Box<dyn Fn(SourceEvent) + Send + Sync>,
    /// Of a stream that another process may take over: the source says here as long as it is its own.
    pub claim: Arc<Claim>,
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
    /// It goes on at these positions, with its batch of this number.
    Begin {
        /// The batch; those before it are of what was read before.
        sequence: u64,
        /// Where, in all partitions or some.
        positions: Vec<Position>,
        /// What comes from here on was counted by an earlier process, whose state is lost; it only
        /// rebuilds windows.
        is_rebuilding: bool,
    },
    /// Windows are being rebuilt.
    Rebuilding {
        /// Records left to be read for that; 0 when it is done.
        left: i64,
    },
    /// Partitions that it should read and cannot at the moment, all of them; none if that is over.
    Away {
        /// The partitions.
        partitions: Vec<Arc<PartitionName>>,
        /// Why, for people.
        why: String,
    },
    /// Other programs are members of the group; they take nothing away.
    Shared {
        /// Who, for people; empty if that is over.
        with: String,
    },
    /// Records behind the end of each partition.
    Lag {
        /// Partition and lag.
        partitions: Vec<(Arc<PartitionName>, i64)>,
    },
    /// Bytes that were written to files and not read yet, of each log.
    Behind {
        /// Log and bytes.
        logs: Vec<(Arc<PartitionName>, u64)>,
    },
    /// The checkpoint's position no longer exists (retention): records were lost, so many.
    Gap {
        /// The partition.
        partition: Arc<PartitionName>,
        /// Records between the position and the first that still exists.
        records: i64,
    },
    /// The partition does not reach as far as the position, or was made anew: reading begins again
    /// at its start, so records may be seen twice.
    Rewound {
        /// The partition.
        partition: Arc<PartitionName>,
        /// Where reading should have gone on.
        from: i64,
        /// Where it goes on.
        to: i64,
    },
    /// The channel was full, so reading pauses; or it goes on.
    Paused(bool),
    /// It reads on, but something is wrong that people should mend; or (`None`) nothing is any more.
    Degraded(Option<String>),
    /// Something was refused, lost or passed over; it is counted.
    Trouble {
        /// What, as a word for metrics; one of the kind's own.
        what: &'static str,
        /// How often, or how much.
        count: u64,
        /// For people; written to the log.
        detail: String,
    },
}

/// What no retry can mend.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Another process took over the stream.
    #[error(
        "another Tripline process has taken over the stream (static member `{instance}` was fenced), or a broker hung for as long as a session lasts; this one stops and delivers nothing more"
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
