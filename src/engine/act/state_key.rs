//! How what people did is named in the store, and which acts were done.

use serde::{Deserialize, Serialize};

use super::{ActDigest, ActId, AlertName, EpisodeKey, SilenceId};
use crate::engine::{
    alert::Fingerprint,
    time::{EventTime, WallTime},
};

/// Names one state entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ActStateKey {
    Silence(SilenceId),
    Episode(EpisodeKey),
    Deed(EpisodeKey, u32),
    Done(ActId),
}

/// An act that was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Done {
    /// Of what was sent; `None` if an earlier version did it. Stored behind the rest.
    #[serde(skip)]
    pub(super) sent: Option<ActDigest>,
    pub(super) at: WallTime,
    pub(super) silence: Option<SilenceId>,
    pub(super) alerts: Vec<EpisodeKey>,
    pub(super) unknown: Vec<AlertName>,
}

impl ActStateKey {
    pub(super) fn deed(episode: EpisodeKey, number: usize) -> ActStateKey {
        ActStateKey::Deed(episode, u32::try_from(number).unwrap_or(u32::MAX))
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        // So that bytes sort as times do.
        let start =
            |key: &EpisodeKey| (key.starts_at.micros().cast_unsigned() ^ (1 << 63)).to_be_bytes();
        match self {
            ActStateKey::Silence(id) => [b"s".as_slice(), &id.0].concat(),
            ActStateKey::Episode(key) => {
                [b"e".as_slice(), &key.fingerprint.0, &start(&key)].concat()
            }
            ActStateKey::Deed(key, number) => {
                [b"d".as_slice(), &key.fingerprint.0, &start(&key), &number.to_be_bytes()].concat()
            }
            ActStateKey::Done(act) => [b"i".as_slice(), &act.0].concat(),
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<ActStateKey> {
        let (kind, rest) = bytes.split_first()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let episode = |start: &[u8; 8]| EpisodeKey {
            fingerprint: Fingerprint(*id),
            starts_at: EventTime::from_micros(
                (u64::from_be_bytes(*start) ^ (1 << 63)).cast_signed(),
            ),
        };
        match kind {
            b's' if rest.is_empty() => Some(ActStateKey::Silence(SilenceId(*id))),
            b'i' if rest.is_empty() => Some(ActStateKey::Done(ActId(*id))),
            b'e' => Some(ActStateKey::Episode(episode(rest.try_into().ok()?))),
            b'd' => {
                let (start, number) = rest.split_first_chunk::<8>()?;
                let number = u32::from_be_bytes(number.try_into().ok()?);
                Some(ActStateKey::Deed(episode(start), number))
            }
            _ => None,
        }
    }
}
