//! What somebody shows to be known by: a token, or a user and a password.

use sha2::{Digest as _, Sha256};

use crate::{
    engine::ledger::Hash,
    web::{authorization_hash, basic_hash},
};

/// A token, or a user and a password, by the hashes under which they are known if they are right. Of it a session
/// is looked up again with each request.
#[derive(Clone)]
pub(in crate::server) struct Shown {
    /// The user, if it is a password.
    pub(super) user: Option<String>,
    /// Its hash among the secrets of `http.auth`.
    pub(super) hash: blake3::Hash,
    /// Its hash among those of `bearer_token` and `basic_auth`.
    pub(super) access_hash: blake3::Hash,
}

impl Shown {
    /// A token.
    pub(in crate::server) fn token(token: &str) -> Shown {
        // As the configuration may have it instead of the token.
        let hash: Hash = Sha256::digest(token.as_bytes()).into();
        let hash = blake3::Hash::from_bytes(hash);
        Shown { user: None, hash, access_hash: authorization_hash("bearer", token) }
    }

    /// A user and a password.
    pub(in crate::server) fn password(user: &str, password: &str) -> Shown {
        let hash = blake3::hash(format!("{user}:{password}").as_bytes());
        Shown { user: Some(user.to_owned()), hash, access_hash: basic_hash(user, password) }
    }
}
