//! Bodies of requests, within bounds of size and time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is larger than it may be: 413.
    TooLarge,
    /// It took longer than it may: 408.
    Slow,
    /// It ended before its end, or is not what its head says: 400.
    Broken,
}

/// All of a body.
///
/// # Errors
/// If it is too large, takes too long, or breaks off.
pub async fn collect(body: Body, bytes_max: usize, within: Duration) -> Result<Vec<u8>, BodyError> {
    let mut chunks = body.into_data_stream();
    let read = async {
        let mut whole = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk: Bytes = chunk.map_err(|_| BodyError::Broken)?;
            if whole.len() + chunk.len() > bytes_max {
                return Err(BodyError::TooLarge);
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    };
    tokio::time::timeout(within, read).await.unwrap_or(Err(BodyError::Slow))
}

/// Reads what remains of a body that nobody wants, a little of it: a client that is still sending when the
/// connection is closed may never see the answer.
pub async fn discard(body: Body) {
    const BYTES_MAX: usize = 1 << 20;
    const WITHIN: Duration = Duration::from_secs(1);
    let mut chunks = body.into_data_stream();
    let read = async {
        let mut left = BYTES_MAX;
        while let Some(Ok(chunk)) = chunks.next().await {
            left = left.saturating_sub(chunk.len());
            if left == 0 {
                break;
            }
        }
    };
    drop(tokio::time::timeout(WITHIN, read).await);
}
