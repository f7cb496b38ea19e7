//! Who may ask: bearer tokens, or a user and password, read again when they change.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::time::Instant;

use super::{Content, SecretSource};
use crate::engine::yaml::{SecretRef, Section};

/// How long a look at the secrets holds for credentials that are right: 1 s. Wrong ones are always
/// compared with what is there now.
const LOOK: Duration = Duration::from_secs(1);

/// Credentials as configured; any one of them is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// Tokens, one a line, so that two are good while clients change from one to the other.
    bearer_token: Option<SecretRef>,
    /// A user and a password.
    basic: Option<(String, SecretRef)>,
}

/// Reads `basic_auth`, a user and a password, if it is there; what is missing in it is reported.
pub fn basic_auth(section: &Section<'_>) -> Option<(String, SecretRef)> {
    let basic = section.has("basic_auth").then(|| section.section("basic_auth")).flatten()?;
    let user = basic.required_string("username", "basic_auth needs a user name");
    let password = basic.secret("password");
    if password.is_none() {
        basic.missing("password", "write `password_file: PATH` or `password_env: NAME`");
    }
    basic.finish();
    user.zip(password)
}

impl AccessConfig {
    /// Reads `bearer_token` and `basic_auth`, in the words of receivers.
    pub fn parse(section: &Section<'_>) -> AccessConfig {
        AccessConfig { bearer_token: section.secret("bearer_token"), basic: basic_auth(section) }
    }

    /// Whether nobody is asked.
    pub const fn is_open(&self) -> bool {
        self.bearer_token.is_none() && self.basic.is_none()
    }

    /// Where the tokens are.
    pub const fn token(&self) -> Option<&SecretRef> {
        self.bearer_token.as_ref()
    }

    /// The secrets that will be read.
    pub fn secrets(&self) -> Vec<SecretRef> {
        let password = self.basic.as_ref().map(|(_, password)| password.clone());
        self.bearer_token.clone().into_iter().chain(password).collect()
    }

    fn content(&self, read: &SecretSource) -> Content {
        let mut content = Content::new();
        if let Some(token) = &self.bearer_token {
            content.insert("bearer_token", read(token));
        }
        if let Some((_, password)) = &self.basic {
            content.insert("basic_auth.password", read(password));
        }
        content
    }
}

/// Decides whether a request comes from somebody who may ask.
pub struct Access {
    config: AccessConfig,
    read: SecretSource,
    state: Mutex<State>,
}

struct State {
    /// Hashes of the values of `Authorization` that are good: compared in the same time, whatever they
    /// have in common with a wrong one.
    good: Vec<blake3::Hash>,
    found: Content,
    looked: Instant,
}

impl Access {
    /// Reads the secrets.
    ///
    /// # Errors
    /// What is wrong with them, for people, with the key of the setting.
    pub fn build(config: &AccessConfig, read: SecretSource) -> Result<Access, String> {
        let found = config.content(&read);
        let good = good(config, &found)?;
        let state = Mutex::new(State { good, found, looked: Instant::now() });
        Ok(Access { config: config.clone(), read, state })
    }

    /// Asks nobody.
    pub fn open() -> Access {
        let read: SecretSource = std::sync::Arc::new(|_| Err("there are no secrets".to_owned()));
        let state = State { good: Vec::new(), found: Content::new(), looked: Instant::now() };
        Access { config: AccessConfig::default(), read, state: Mutex::new(state) }
    }

    /// Whether nobody is asked.
    pub const fn is_open(&self) -> bool {
        self.config.is_open()
    }

    /// Whether there are tokens.
    pub const fn has_token(&self) -> bool {
        self.config.bearer_token.is_some()
    }

    /// Whether there is a user with a password.
    pub const fn has_user(&self) -> bool {
        self.config.basic.is_some()
    }

    /// Whether it is the hash of a token, or of user and password, that are right now.
    pub fn knows(&self, hash: blake3::Hash) -> bool {
        !self.is_open() && self.is_good(hash)
    }

    /// Whether a request with these headers comes from somebody who may ask.
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        if self.config.is_open() {
            return true;
        }
        let Some(given) = headers.get(header::AUTHORIZATION).and_then(normal) else {
            return false;
        };
        self.is_good(given)
    }

    fn is_good(&self, given: blake3::Hash) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < LOOK && state.good.contains(&given) {
            return true;
        }
        self.look(&mut state);
        state.good.contains(&given)
    }

    /// Reads the secrets again. If they cannot be used, what was there before goes on, and it is said once.
    fn look(&self, state: &mut State) {
        state.looked = Instant::now();
        let found = self.config.content(&self.read);
        if found == state.found {
            return;
        }
        match good(&self.config, &found) {
            Ok(good) => {
                tracing::info!("the credentials of the server changed; using them");
                state.good = good;
            }
            Err(why) => tracing::error!("{why}; going on with what was there before"),
        }
        state.found = found;
    }

    /// 401, with how to do it right.
    pub fn challenge(&self) -> Response {
        let mut answer = (StatusCode::UNAUTHORIZED, "credentials are needed, or these are wrong\n")
            .into_response();
        let ways = [
            (self.config.bearer_token.is_some(), "Bearer realm=\"Tripline\""),
            (self.config.basic.is_some(), "Basic realm=\"Tripline\", charset=\"UTF-8\""),
        ];
        for (_, way) in ways.iter().filter(|(is_known, _)| *is_known) {
            answer.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(way));
        }
        answer
    }
}

/// The hash of a value of `Authorization`; schemes are written in any case.
fn normal(value: &HeaderValue) -> Option<blake3::Hash> {
    let (scheme, rest) = value.to_str().ok()?.trim().split_once(' ')?;
    Some(authorization_hash(scheme, rest.trim_start()))
}

/// The hash of what `Authorization` says: a scheme, and what is shown by it.
pub fn authorization_hash(scheme: &str, shown: &str) -> blake3::Hash {
    blake3::hash(format!("{} {shown}", scheme.to_ascii_lowercase()).as_bytes())
}

/// The hash of what `Authorization` says with a user and a password.
pub fn basic_hash(user: &str, password: &str) -> blake3::Hash {
    authorization_hash("basic", &STANDARD.encode(format!("{user}:{password}")))
}

fn good(config: &AccessConfig, found: &Content) -> Result<Vec<blake3::Hash>, String> {
    let text = |key: &'static str| match found.get(key) {
        Some(Ok(text)) => Ok(text.as_str()),
        Some(Err(why)) => Err(format!("{key}: {why}")),
        None => Err(format!("{key} was not read")),
    };
    let mut good = Vec::new();
    if config.bearer_token.is_some() {
        let tokens = text("bearer_token")?.lines().map(str::trim).filter(|line| !line.is_empty());
        for token in tokens {
            if token.contains(|c: char| !c.is_ascii_graphic()) {
                let why = "a token is letters, digits and signs, one a line";
                return Err(format!("bearer_token: {why}"));
            }
            good.push(authorization_hash("bearer", token));
        }
        if good.is_empty() {
            return Err("bearer_token: there is none in it".to_owned());
        }
    }
    if let Some((user, _)) = &config.basic {
        let password = text("basic_auth.password")?;
        good.push(basic_hash(user, password));
    }
    Ok(good)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn access(config: AccessConfig, secrets: &Arc<Mutex<Vec<String>>>) -> Result<Access, String> {
        let secrets = Arc::clone(secrets);
        let read: SecretSource = Arc::new(move |secret| {
            let SecretRef::Env(name) = secret else { return Err("no such secret".to_owned()) };
            let index: usize = name.parse().unwrap();
            secrets.lock().unwrap().get(index).cloned().ok_or_else(|| "is gone".to_owned())
        });
        Access::build(&config, read)
    }

    fn both() -> AccessConfig {
        AccessConfig {
            bearer_token: Some(SecretRef::Env("0".to_owned())),
            basic: Some(("ann".to_owned(), SecretRef::Env("1".to_owned()))),
        }
    }

    fn asks(access: &Access, authorization: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
        access.allows(&headers)
    }

    #[test]
    fn tokens_and_passwords_are_good_and_all_else_is_not() {
        let secrets = Arc::new(Mutex::new(vec!["old\nnew\n".to_owned(), "p:w".to_owned()]));
        let access = access(both(), &secrets).unwrap();
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for good in ["Bearer old", "bearer new", "BEARER  new", &basic("ann:p:w")] {
            assert!(asks(&access, good), "{good}");
        }
        for wrong in [
            "Bearer",
            "Bearer ",
            "Bearer old new",
            "Bearer OLD",
            "old",
            &basic("ann:p"),
            &basic("bob:p:w"),
        ] {
            assert!(!asks(&access, wrong), "{wrong}");
        }
        assert!(!access.allows(&HeaderMap::new()));
        let ways = access.challenge().headers().get_all(header::WWW_AUTHENTICATE).iter().count();
        assert_eq!(ways, 2);
    }

    #[test]
    fn a_rotated_token_is_taken_and_a_broken_file_changes_nothing() {
        let secrets = Arc::new(Mutex::new(vec!["one".to_owned(), "pw".to_owned()]));
        let access = access(both(), &secrets).unwrap();
        secrets.lock().unwrap()[0] = "two".to_owned();
        assert!(asks(&access, "Bearer two"));
        assert!(!asks(&access, "Bearer one"));
        secrets.lock().unwrap()[0] = "  \n".to_owned();
        assert!(!asks(&access, "Bearer three"));
        assert!(asks(&access, "Bearer two"));
    }

    #[test]
    fn secrets_that_cannot_be_used_are_said() {
        for (token, why) in [("", "there is none"), ("a b", "one a line"), ("ä", "one a line")] {
            let secrets = Arc::new(Mutex::new(vec![token.to_owned(), "pw".to_owned()]));
            let error = access(both(), &secrets).err().unwrap();
            assert!(error.starts_with("bearer_token: ") && error.contains(why), "{error}");
        }
        let error = access(both(), &Arc::default()).err().unwrap();
        assert_eq!(error, "bearer_token: is gone");
        let open = access(AccessConfig::default(), &Arc::default()).unwrap();
        assert!(open.allows(&HeaderMap::new()));
    }
}
