//! Who asks: found out from credentials, a session, what a trusted proxy says, or a certificate.
//!
//! What nobody configured is never believed: headers of a proxy from another address are dropped and counted.

mod credentials;
mod forms;
mod led;
mod sessions;
mod shown;
mod tries;

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use axum::http::{HeaderMap, HeaderName, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::caller::{Caller, Role, Way};
use crate::web::{Access, AuthConfig, Peer};

pub use credentials::Credentials;
pub(super) use forms::{field, is_form};
pub(super) use led::{login_path, own, too_many};
use sessions::Sessions;
pub(super) use sessions::{COOKIE, COOKIE_SECURE};
pub(super) use shown::Shown;
use tries::Tries;

/// Bytes of a name that a proxy or a certificate may say: 256.
const NAME_BYTES_MAX: usize = 256;

/// Who may ask, as the server was told.
pub(super) struct Door {
    /// `bearer_token` and `basic_auth`, whose owners may do everything.
    access: Access,
    /// `http.auth`, if it is there.
    credentials: Option<Credentials>,
    /// Nobody is asked who they are, and everybody may do everything.
    is_open: bool,
    /// Cookies are sent over TLS alone.
    is_secure: bool,
    sessions: Mutex<Sessions>,
    tries: Mutex<Tries>,
    /// From which tokens of forms are made. Another one with each start.
    key: [u8; 32],
}

/// What was found out.
#[derive(Debug)]
pub(super) enum Known {
    /// Who it is.
    Caller(Caller),
    /// Nothing was said about it.
    Nobody,
    /// What was said is not true: as whom, and why.
    Wrong(String, &'static str),
    /// Too many wrong passwords came from there.
    Blocked,
}

impl Door {
    /// What is configured. `is_reachable`: others than this machine can reach the server.
    pub(super) fn new(
        access: Access,
        credentials: Option<Credentials>,
        (is_for_anybody, is_reachable, is_secure): (bool, bool, bool),
    ) -> Door {
        let nobody_is_asked = access.is_open() && credentials.is_none();
        Door {
            is_open: nobody_is_asked && (is_for_anybody || !is_reachable),
            access,
            credentials,
            is_secure,
            sessions: Mutex::default(),
            tries: Mutex::default(),
            key: random(),
        }
    }

    /// Whether anybody could be known at all.
    pub(super) fn knows_somebody(&self) -> bool {
        self.is_open || self.credentials.is_some() || !self.access.is_open()
    }

    /// Whether a browser has something to log in with.
    pub(super) fn has_login(&self) -> bool {
        let has = |config: &AuthConfig| !config.tokens.is_empty() || !config.users.is_empty();
        !self.access.is_open() || self.auth().is_some_and(has)
    }

    fn auth(&self) -> Option<&AuthConfig> {
        self.credentials.as_ref().map(Credentials::config)
    }

    /// 401, with how to do it right.
    pub(super) fn ways(&self) -> Vec<&'static str> {
        let auth = self.auth();
        let has_tokens = auth.is_some_and(|auth| !auth.tokens.is_empty());
        let has_users = auth.is_some_and(|auth| !auth.users.is_empty());
        let ways = [
            (has_tokens || self.access.has_token(), "Bearer realm=\"Tripline\""),
            (has_users || self.access.has_user(), "Basic realm=\"Tripline\", charset=\"UTF-8\""),
        ];
        ways.into_iter().filter(|(is_there, _)| *is_there).map(|(_, way)| way).collect()
    }

    /// Finds out who asks. The second value says whether a header was dropped that only a proxy may send.
    pub(super) fn who(&self, headers: &HeaderMap, peer: &Peer) -> (Known, bool) {
        let (proxied, is_forged) = self.by_proxy(headers, peer);
        let known = self
            .by_authorization(headers, peer)
            .or_else(|| self.by_session(headers, peer))
            .or(proxied)
            .or_else(|| self.by_certificate(peer))
            .unwrap_or_else(|| self.by_place(peer));
        (known, is_forged)
    }

    fn caller(&self, name: &str, roles: Vec<Role>, address: IpAddr, way: Way) -> Known {
        let said = [way.as_str().as_bytes(), name.as_bytes()].join(&0);
        let form_token = blake3::keyed_hash(&self.key, &said).to_hex().to_string();
        Known::Caller(Caller { name: name.to_owned(), roles, address, way, form_token })
    }

    fn by_authorization(&self, headers: &HeaderMap, peer: &Peer) -> Option<Known> {
        if self.ways().is_empty() {
            return None;
        }
        let wrong = || Known::Wrong(String::new(), "this is no way to say who asks");
        let given = headers.get(header::AUTHORIZATION)?.to_str().ok();
        let Some((scheme, rest)) = given.and_then(|given| given.trim().split_once(' ')) else {
            return Some(wrong());
        };
        let rest = rest.trim_start();
        Some(match scheme.to_ascii_lowercase().as_str() {
            "bearer" => self.by_shown(&Shown::token(rest), peer.address),
            "basic" => match basic(rest) {
                Some((user, password)) => {
                    self.by_shown(&Shown::password(&user, &password), peer.address)
                }
                None => wrong(),
            },
            _ => wrong(),
        })
    }

    /// Who shows that. A token is always looked at: nobody guesses one, so tries need not be bounded; a password only
    /// unless too many wrong ones came from there.
    pub(super) fn by_shown(&self, shown: &Shown, address: IpAddr) -> Known {
        let Some(user) = &shown.user else {
            return match self.owner(shown) {
                Some((name, roles)) => self.caller(&name, roles, address, Way::Token),
                None => Known::Wrong(String::new(), "this token is not known"),
            };
        };
        if !self.tries().may(address, Instant::now()) {
            return Known::Blocked;
        }
        if let Some((name, roles)) = self.owner(shown) {
            return self.caller(&name, roles, address, Way::Basic);
        }
        self.tries().failed(address, Instant::now());
        Known::Wrong(user.clone(), "user or password is wrong")
    }

    /// Whose it is what somebody shows, and what they are, by the secrets that are in force now.
    fn owner(&self, shown: &Shown) -> Option<(String, Vec<Role>)> {
        if let Some((name, roles)) = self.credentials.as_ref().and_then(|known| known.owner(shown))
        {
            return Some((name.to_owned(), roles.to_vec()));
        }
        let name = shown.user.as_deref().unwrap_or("bearer_token");
        self.access.knows(shown.access_hash).then(|| (name.to_owned(), Role::ALL.to_vec()))
    }

    /// Who a user of Slack is. That Slack says so was seen by its signature.
    pub(super) fn slack_user(&self, id: &str, address: IpAddr) -> Option<Caller> {
        let user = self.auth()?.slack.iter().find(|user| user.id == id)?;
        match self.caller(&user.name, user.roles.clone(), address, Way::Slack) {
            Known::Caller(caller) => Some(caller),
            _ => None,
        }
    }

    /// Who has a session. It is over when what it was begun with is right no longer: whoever changes a secret that
    /// leaked ends what was begun with it.
    fn by_session(&self, headers: &HeaderMap, peer: &Peer) -> Option<Known> {
        let name = if self.is_secure { COOKIE_SECURE } else { COOKIE };
        let id = sessions::cookie(headers, name)?;
        let session = self.sessions().find(&id, Instant::now())?.clone();
        let Some((name, roles)) = self.owner(&session.shown) else {
            self.sessions().end(&id);
            return None;
        };
        let (address, form_token) = (peer.address, session.form_token);
        Some(Known::Caller(Caller { name, roles, address, way: Way::Session, form_token }))
    }

    /// What a proxy says, and whether somebody else said it.
    fn by_proxy(&self, headers: &HeaderMap, peer: &Peer) -> (Option<Known>, bool) {
        let Some((credentials, proxy)) = self
            .credentials
            .as_ref()
            .and_then(|known| Some((known, known.config().proxy.as_ref()?)))
        else {
            return (None, false);
        };
        let names = [&proxy.user_header, &proxy.groups_header, &proxy.secret_header];
        let is_said = names.iter().any(|name| headers.contains_key(name.as_str()));
        let is_from_there = proxy.from.iter().any(|net| net.contains(&peer.address));
        if !is_said || !is_from_there {
            return (None, is_said);
        }
        let wrong = |why| (Some(Known::Wrong(String::new(), why)), false);
        let one = |name: &str| only(headers, name);
        let (Ok(user), Ok(groups), Ok(secret)) =
            (one(&proxy.user_header), one(&proxy.groups_header), one(&proxy.secret_header))
        else {
            return wrong("a header of the proxy is there twice, or is no text");
        };
        if !secret.is_some_and(|secret| credentials.is_secret(secret)) {
            return wrong("the secret of the proxy is wrong");
        }
        let user = user.filter(|user| !user.is_empty() && user.len() <= NAME_BYTES_MAX);
        let Some(user) = user else { return (None, false) };
        let groups = groups.unwrap_or_default().split(',').map(str::trim);
        let roles = credentials.config().roles_of(groups);
        (Some(self.caller(user, roles, peer.address, Way::Proxy)), false)
    }

    fn by_certificate(&self, peer: &Peer) -> Option<Known> {
        let subject = peer.subject.as_ref()?;
        let roles = match self.auth() {
            Some(auth) if auth.has_certificates => {
                auth.roles_of(subject.organizations.iter().map(String::as_str))
            }
            // Whoever the authority signs for may do everything, as long as nothing else is said.
            None if self.access.is_open() => Role::ALL.to_vec(),
            Some(_) | None => return None,
        };
        Some(self.caller(&subject.name, roles, peer.address, Way::Certificate))
    }

    fn by_place(&self, peer: &Peer) -> Known {
        if self.is_open {
            return self.caller("local", Role::ALL.to_vec(), peer.address, Way::Local);
        }
        Known::Nobody
    }

    /// Begins a session of somebody who was known by what they showed, and makes its cookie.
    pub(super) fn begin(&self, caller: &Caller, shown: Shown) -> String {
        let (id, form_token) = (random_text(), random_text());
        self.sessions().begin(&id, (&caller.name, shown), form_token, Instant::now());
        let (name, secure) =
            if self.is_secure { (COOKIE_SECURE, "; Secure") } else { (COOKIE, "") };
        let seconds = sessions::LIFE.as_secs();
        format!("{name}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }

    /// Ends the session of a request, and makes the cookie that says so.
    pub(super) fn end(&self, headers: &HeaderMap) -> String {
        let (name, secure) =
            if self.is_secure { (COOKIE_SECURE, "; Secure") } else { (COOKIE, "") };
        if let Some(id) = sessions::cookie(headers, name) {
            self.sessions().end(&id);
        }
        format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{secure}")
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tries(&self) -> std::sync::MutexGuard<'_, Tries> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A header that must not be there twice.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let Ok(name) = name.parse::<HeaderName>() else { return Ok(None) };
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(drop),
        (Some(_), Some(_)) => Err(()),
    }
}

/// User and password of a value of `Authorization`.
fn basic(encoded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// What nobody can guess.
fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
    bytes
}

fn random_text() -> String {
    crate::engine::ledger::hex_of(&random())
}

/// Whether two texts are the same, in the same time whatever they have in common.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    blake3::hash(one.as_bytes()) == blake3::hash(other.as_bytes())
}

#[cfg(test)]
mod secrets_tests;
#[cfg(test)]
mod tests;
