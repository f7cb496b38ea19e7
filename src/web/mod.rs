//! What every HTTP server of ours is made of: a listener that bounds what clients can hold, TLS, and who
//! may ask.
//!
//! The server of metrics and API stands on it, and sources to which others push. It knows neither; what is
//! answered is a router that they bring.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod access;
mod auth;
mod body;
mod certificate;
mod connections;
mod listener;
mod settings;
mod subject;

pub use access::{Access, AccessConfig, authorization_hash, basic_auth, basic_hash};
pub use auth::{
    AuthConfig, ProxyConfig, Role, SlackUserConfig, TOKEN_BYTES_MIN, TokenConfig, TokenSecret,
    UserConfig, WAYS_IN,
};
pub use body::{BodyError, collect, discard};
pub use certificate::{Certificate, CertificateConfig};
pub use connections::Limits;
pub use listener::{ListenError, Serving, bind, serve};
pub use settings::WebConfig;
pub use subject::{Peer, Subject, network_of};

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    engine::{digest::Digest, yaml::SecretRef},
    file,
};

/// Reads a secret as it is now; kept, so that a rotated one is seen.
pub type SecretSource = Arc<dyn Fn(&SecretRef) -> Result<String, String> + Send + Sync>;

/// A secret without the white space around it.
///
/// # Errors
/// If nothing is left: nobody is let in who knows nothing.
pub fn bare(secret: &str) -> Result<&str, String> {
    let bare = secret.trim();
    if bare.is_empty() { Err("it is empty".to_owned()) } else { Ok(bare) }
}

/// What files and secrets hold, by name, to see whether they have changed.
type Content = BTreeMap<&'static str, Result<String, String>>;

/// A hash of what secrets and files hold now, to see whether that has changed. What cannot be read counts as
/// what is wrong with it. Blocks the thread for the disk.
pub fn hash_of(read: &SecretSource, secrets: &[SecretRef], files: &[String]) -> [u8; 32] {
    let secrets = secrets.iter().map(|secret| match read(secret) {
        Ok(text) | Err(text) => text.into_bytes(),
    });
    let files = files
        .iter()
        .map(|path| file::read(path.as_ref(), file::PEM_BYTES_MAX))
        .map(|read| read.unwrap_or_else(|error| error.to_string().into_bytes()));
    Digest::of(secrets.chain(files)).first()
}
