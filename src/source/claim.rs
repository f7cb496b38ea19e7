//! What a source knows of its claim on a stream that another process may take over.
//!
//! A process that was suspended may have lost it meanwhile, and is told so only when the source asks. Until
//! then nothing should leave the process: whoever hands something out looks here first.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// For how long nobody needs to ask again: 1 s. No other process has taken over and told anybody by then.
pub const SURE_FOR: Duration = Duration::from_secs(1);

/// When a source was last sure of its stream. Cheap to ask and to tell, from any thread.
#[derive(Debug)]
pub struct Claim {
    began: Instant,
    /// Milliseconds from there on, and 1; 0 if nobody can take the stream.
    sure_at: AtomicU64,
}

impl Default for Claim {
    fn default() -> Claim {
        Claim { began: Instant::now(), sure_at: AtomicU64::new(0) }
    }
}

impl Claim {
    /// The stream is this process's now.
    pub fn is_sure(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.sure_at.store(millis.saturating_add(1), Ordering::Release);
    }

    /// Nothing more is read, so nobody has to be sure.
    pub fn give_up(&self) {
        self.sure_at.store(0, Ordering::Release);
    }

    /// Whether the source has to ask before anything may leave.
    pub fn is_in_doubt(&self) -> bool {
        let Some(millis) = self.sure_at.load(Ordering::Acquire).checked_sub(1) else {
            return false;
        };
        self.began.elapsed().saturating_sub(Duration::from_millis(millis)) > SURE_FOR
    }
}
