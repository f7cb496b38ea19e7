//! Tokens, passwords and the secret of a proxy, kept as hashes and read again when they change.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Role, Shown};
use crate::web::{AuthConfig, SecretSource, TOKEN_BYTES_MIN, TokenSecret, bare};

/// How long a look at the secrets holds for what is right: 1 s. What is wrong is compared with what is
/// there now.
const LOOK: Duration = Duration::from_secs(1);

/// Who is known, by `http.auth`.
pub struct Credentials {
    config: AuthConfig,
    read: SecretSource,
    state: Mutex<State>,
}

struct State {
    known: Secrets,
    found: Vec<Result<String, String>>,
    looked: Instant,
}

/// Hashes, in the order of the configuration. They compare in the same time, whatever they have in common.
struct Secrets {
    tokens: Vec<blake3::Hash>,
    passwords: Vec<blake3::Hash>,
    proxy: Option<blake3::Hash>,
}

impl Credentials {
    /// Reads the secrets.
    ///
    /// # Errors
    /// What is wrong with them, for people, with the key of the setting.
    pub fn build(config: &AuthConfig, read: SecretSource) -> Result<Credentials, String> {
        let found = find(config, &read);
        let known = Secrets::of(config, &found)?;
        let state = Mutex::new(State { known, found, looked: Instant::now() });
        Ok(Credentials { config: config.clone(), read, state })
    }

    pub(super) const fn config(&self) -> &AuthConfig {
        &self.config
    }

    /// Whose it is what somebody shows, and what they are, by what is right now.
    pub(super) fn owner(&self, shown: &Shown) -> Option<(&str, &[Role])> {
        let is_it = |hash: &blake3::Hash| *hash == shown.hash;
        if shown.user.is_some() {
            let index = self.look_up(|known| known.passwords.iter().position(is_it))?;
            return self.config.users.get(index).map(|one| (&*one.username, &*one.roles));
        }
        let index = self.look_up(|known| known.tokens.iter().position(is_it))?;
        self.config.tokens.get(index).map(|one| (&*one.name, &*one.roles))
    }

    /// Whether it is the secret of the proxy.
    pub(super) fn is_secret(&self, secret: &str) -> bool {
        let hash = blake3::hash(secret.as_bytes());
        self.look_up(|known| (known.proxy == Some(hash)).then_some(())).is_some()
    }

    /// Looks for what is right; if it is not, among what the secrets are by now.
    fn look_up<T>(&self, find: impl Fn(&Secrets) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < LOOK
            && let Some(found) = find(&state.known)
        {
            return Some(found);
        }
        self.look(&mut state);
        find(&state.known)
    }

    /// Reads the secrets again. If they cannot be used, what was there before goes on, and it is said once.
    fn look(&self, state: &mut State) {
        state.looked = Instant::now();
        let found = find(&self.config, &self.read);
        if found == state.found {
            return;
        }
        match Secrets::of(&self.config, &found) {
            Ok(known) => {
                tracing::info!("the credentials of the server changed; using them");
                state.known = known;
            }
            Err(why) => tracing::error!("http.{why}; going on with what was there before"),
        }
        state.found = found;
    }
}

/// What the secrets are, in the order of [`AuthConfig::secrets`].
fn find(config: &AuthConfig, read: &SecretSource) -> Vec<Result<String, String>> {
    config.secrets().iter().map(|secret| read(secret)).collect()
}

impl Secrets {
    fn of(config: &AuthConfig, found: &[Result<String, String>]) -> Result<Secrets, String> {
        let mut found = found.iter();
        // As it stands, and without the white space around it, which headers lose on their way.
        let mut next = |path: String| match found.next() {
            Some(found) => {
                let found = found.as_deref().map_err(Clone::clone);
                let both = found.and_then(|text| Ok((text, bare(text)?)));
                both.map_err(|why| format!("{path}: {why}"))
            }
            None => Err(format!("{path} was not read")),
        };
        let mut tokens = Vec::new();
        for (index, token) in config.tokens.iter().enumerate() {
            tokens.push(match &token.token {
                TokenSecret::Hash(hash) => blake3::Hash::from_bytes(*hash),
                TokenSecret::Secret(_) => {
                    let path = format!("auth.tokens[{index}].token");
                    let (_, text) = next(path.clone())?;
                    if text.len() < TOKEN_BYTES_MIN {
                        let why = format!("a token has at least {TOKEN_BYTES_MIN} characters");
                        return Err(format!("{path}: {why}; make one: `openssl rand -hex 32`"));
                    }
                    Shown::token(text).hash
                }
            });
        }
        let mut passwords = Vec::new();
        for (index, user) in config.users.iter().enumerate() {
            let (text, _) = next(format!("auth.basic[{index}].password"))?;
            passwords.push(Shown::password(&user.username, text).hash);
        }
        let proxy = match &config.proxy {
            Some(_) => Some(blake3::hash(next("auth.proxy.secret".to_owned())?.1.as_bytes())),
            None => None,
        };
        Ok(Secrets { tokens, passwords, proxy })
    }
}
