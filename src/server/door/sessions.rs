//! Browsers that logged in. They are forgotten when the process ends.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, header};

use super::Shown;

/// The cookie over TLS: no other name of this host, and no page without TLS, can set it.
pub(in crate::server) const COOKIE_SECURE: &str = "__Host-tripline";

/// The cookie without TLS.
pub(in crate::server) const COOKIE: &str = "tripline";

/// How long a session lasts: 12 h, whatever is done in it.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3_600);

/// Sessions at once: 1,024. At the limit the oldest of whoever has most makes room.
const SESSIONS_MAX: usize = 1_024;

/// Sessions of one name at once: 16. At the limit its oldest makes room.
const SESSIONS_OF_ONE_MAX: usize = 16;

/// A browser that logged in.
#[derive(Clone)]
pub(super) struct Session {
    /// Who logged in.
    name: String,
    /// With what. It is over when that is right no longer.
    pub(super) shown: Shown,
    pub(super) form_token: String,
    began: Instant,
}

/// By the hash of their id: what is in memory lets nobody in.
#[derive(Default)]
pub(super) struct Sessions(BTreeMap<[u8; 32], Session>);

fn key(id: &str) -> [u8; 32] {
    *blake3::hash(id.as_bytes()).as_bytes()
}

impl Sessions {
    /// Begins one, of a name and what was shown. Its id is always new: one that a browser brought along is never taken.
    pub(super) fn begin(
        &mut self,
        id: &str,
        (name, shown): (&str, Shown),
        form_token: String,
        now: Instant,
    ) {
        self.0.retain(|_, session| now.duration_since(session.began) < LIFE);
        self.make_room(name);
        self.0.insert(key(id), Session { name: name.to_owned(), shown, form_token, began: now });
    }

    /// Ends one if a further one of a name is one too many: nobody's sessions end because others log in often.
    fn make_room(&mut self, name: &str) {
        let mut held = BTreeMap::from([(name, 1)]);
        for session in self.0.values() {
            *held.entry(&session.name).or_default() += 1;
        }
        let count = |name: &str| held.get(name).copied().unwrap_or(0);
        let has_all = count(name) > SESSIONS_OF_ONE_MAX;
        if !has_all && self.0.len() < SESSIONS_MAX {
            return;
        }
        let may_go = self.0.iter().filter(|(_, session)| !has_all || session.name == name);
        let rank = |session: &Session| (Reverse(count(&session.name)), session.began);
        let gone = may_go.min_by_key(|(_, session)| rank(session)).map(|(key, _)| *key);
        if let Some(gone) = gone {
            self.0.remove(&gone);
        }
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

    fn begin(sessions: &mut Sessions, id: &str, name: &str, now: Instant) {
        sessions.begin(id, (name, Shown::token(name)), String::new(), now);
    }

    fn count_of(sessions: &Sessions, name: &str) -> usize {
        sessions.0.values().filter(|session| session.name == name).count()
    }

    #[test]
    fn a_session_ends_by_time_and_by_wish() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        begin(&mut sessions, "a", "anna", start);
        let last = start + (LIFE.checked_sub(Duration::from_secs(1)).unwrap());
        assert_eq!(sessions.find("a", last).map(|one| one.name.as_str()), Some("anna"));
        assert!(sessions.find("a", start + LIFE).is_none() && sessions.find("b", start).is_none());
        sessions.end("a");
        assert!(sessions.find("a", start).is_none());
    }

    #[test]
    fn who_logs_in_often_ends_sessions_of_their_own() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        begin(&mut sessions, "a", "anna", start);
        let at = |number: usize| start + Duration::from_millis(number as u64);
        for number in 0..2 * SESSIONS_MAX {
            begin(&mut sessions, &number.to_string(), "ben", at(number));
        }
        assert!(sessions.find("a", start).is_some());
        assert_eq!(count_of(&sessions, "ben"), SESSIONS_OF_ONE_MAX);
        let last = 2 * SESSIONS_MAX - 1;
        assert!(sessions.find(&last.to_string(), start).is_some(), "the latest are there");
    }

    #[test]
    fn at_the_limit_of_all_the_oldest_of_whoever_has_most_goes() {
        let (mut sessions, start) = (Sessions::default(), Instant::now());
        let at = |number: usize| start + Duration::from_millis(number as u64);
        for number in 0..SESSIONS_MAX - 3 {
            begin(&mut sessions, &number.to_string(), &format!("name{number}"), at(number));
        }
        for number in 0..3 {
            begin(&mut sessions, &format!("b{number}"), "ben", at(SESSIONS_MAX + number));
        }
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
        begin(&mut sessions, "c", "carla", at(3 * SESSIONS_MAX));
        assert!(sessions.find("0", start).is_some() && sessions.find("b0", start).is_none());
        // Who comes counts with what they have then.
        for id in ["c1", "c2"] {
            begin(&mut sessions, id, "carla", at(3 * SESSIONS_MAX + 1));
        }
        assert_eq!((count_of(&sessions, "ben"), count_of(&sessions, "carla")), (1, 2));
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
