//! Browsers that logged in. They are forgotten when the process ends.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};

use super::{Caller, Role};

/// The cookie over TLS: no other name of this host, and no page without TLS, can set it.
pub(in crate::server) const COOKIE_SECURE: &str = "__Host-tripline";

/// The cookie without TLS.
pub(in crate::server) const COOKIE: &str = "tripline";

/// How long a session lasts: 12 h, whatever is done in it.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3_600);

/// Sessions at once: 1,024. At the limit the oldest makes room.
const SESSIONS_MAX: usize = 1_024;

/// A browser that logged in.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) name: String,
    pub(super) roles: Vec<Role>,
    pub(super) form_token: String,
    began: Instant,
}

/// By the hash of their id: what is in memory lets nobody in.
#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<[u8; 32], Session>);

fn key(id: &str) -> [u8; 32] {
    *blake3::hash(id.as_bytes()).as_bytes()
}

impl Sessions {
    /// Begins one. Its id is always new: one that a browser brought along is never taken.
    pub(super) fn begin(&mut self, id: &str, caller: &Caller, form_token: String, now: Instant) {
        self.0.retain(|_, session| now.duration_since(session.began) < LIFE);
        if self.0.len() >= SESSIONS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, session)| session.began);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.0.remove(&oldest);
            }
        }
        let (name, roles) = (caller.name.clone(), caller.roles.clone());
        self.0.insert(key(id), Session { name, roles, form_token, began: now });
    }

    /// The session with an id, unless it is over.
    pub(super) fn find(&mut self, id: &str, now: Instant) -> Option<&Session> {
        let session = self.0.get(&key(id))?;
        (now.duration_since(session.began) < LIFE).then_some(session)
    }

    /// Ends one.
    pub(super) fn end(&mut self, id: &str) {
        self.0.remove(&key(id));
    }
}

/// The value of a cookie; none if it is there twice, since one of them is somebody else's.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(known, _)| known.trim() == name).map(|(_, value)| value.trim());
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::caller::Way;

    fn caller(name: &str) -> Caller {
        Caller {
            name: name.to_owned(),
            roles: vec![Role::Viewer],
            address: [127, 0, 0, 1].into(),
            way: Way::Basic,
            form_token: String::new(),
        }
    }

    #[test]
    fn a_session_ends_by_time_by_wish_and_when_there_are_too_many() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        sessions.begin("a", &caller("anna"), "t".to_owned(), start);
        let last = start + (LIFE.checked_sub(Duration::from_secs(1)).unwrap());
        assert_eq!(sessions.find("a", last).map(|one| one.name.as_str()), Some("anna"));
        assert!(sessions.find("a", start + LIFE).is_none() && sessions.find("b", start).is_none());
        sessions.end("a");
        assert!(sessions.find("a", start).is_none());
        for number in 0..=SESSIONS_MAX {
            let now = start + Duration::from_millis(number as u64);
            sessions.begin(&number.to_string(), &caller("ben"), String::new(), now);
        }
        assert!(sessions.find("0", start).is_none() && sessions.find("1", start).is_some());
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
    }

    #[test]
    fn a_cookie_that_is_there_twice_is_nobodys() {
        let headers = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, line.parse().unwrap());
            }
            headers
        };
        assert_eq!(cookie(&headers(&["a=1; tripline=x; b=2"]), COOKIE), Some("x".to_owned()));
        assert_eq!(cookie(&headers(&["tripline=x; tripline=y"]), COOKIE), None);
        assert_eq!(cookie(&headers(&["tripline=x", "tripline=y"]), COOKIE), None);
        assert_eq!(cookie(&headers(&["__Host-tripline=x"]), COOKIE), None);
    }
}
