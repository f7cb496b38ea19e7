//! Which requests came lately, so that most are known again at once.
//!
//! Digests of all that is looked at are remembered. The texts would tell requests apart as well, but are more than fits
//! into a cache, and each look-up would wait for memory. What is forgotten here costs nothing but time.

use crate::engine::{
    digest::{SHORT_BYTES, ShortDigests},
    limits::USAGE_LATELY_MAX,
};

/// How many requests share a place: 8, that is a line of the processor's cache.
const SHARE_PLACE: usize = 8;
const PLACES: usize = USAGE_LATELY_MAX / SHARE_PLACE;

/// What is looked at of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'e> {
    /// Of the day on which it came.
    pub(super) generation: u64,
    /// Who asks for what, but for the object.
    pub(super) what: [&'e str; 7],
    /// Why that was allowed.
    pub(super) why: [&'e str; 2],
    /// Of the object, if requests are told apart by it.
    pub(super) name: Option<&'e str>,
}

/// Requests that came lately.
#[derive(Debug)]
pub(super) struct Lately {
    digests: ShortDigests,
    /// The latest of those that share a place come first.
    places: Vec<[u64; SHARE_PLACE]>,
    /// What the request that was looked up last has in common with others.
    key: Vec<u8>,
    /// Its place, and the digest of all that are alike.
    latest: Option<(usize, u64)>,
}

impl Lately {
    pub(super) fn new() -> Lately {
        Lately {
            digests: ShortDigests::default(),
            places: vec![[0; SHARE_PLACE]; PLACES],
            key: Vec::new(),
            latest: None,
        }
    }

    /// Whether the like of a request came lately. It did from now on.
    #[inline]
    pub(super) fn came(&mut self, request: &Request<'_>) -> bool {
        let Lately { digests, places, key, latest } = self;
        *latest = None;
        key.clear();
        key.extend_from_slice(&request.generation.to_le_bytes());
        write(key, request.what);
        ShortDigests::fill(key);
        let end = key.len();
        let what = digests.of(key.get(..SHORT_BYTES).unwrap_or(key));
        let place = usize::try_from(ShortDigests::place(what)).unwrap_or(0) % PLACES;
        // It comes out of memory while the rest is read.
        let known = places.get(place).copied().unwrap_or_default();
        write(key, request.why);
        ShortDigests::fill(key);
        let length = key.len();
        if length + request.name.map_or(0, str::len) + 16 > SHORT_BYTES {
            return false;
        }
        let in_common = digests.behind(what, end / 16, key.get(end..).unwrap_or_default());
        let any = digests.shorter(in_common);
        *latest = Some((place, any));
        let whole = if let Some(name) = request.name {
            key.extend_from_slice(name.as_bytes());
            key.push(0xFF);
            ShortDigests::fill(key);
            let name = key.get(length..).unwrap_or_default();
            let whole = digests.shorter(digests.behind(in_common, length / 16, name));
            key.truncate(length);
            whole
        } else {
            without_name(any)
        };
        // All of them are looked at: where it is found cannot be foretold.
        let is_it = |one: u64| u8::from(one == whole) | u8::from(one == any);
        let came = known.iter().fold(0, |came, one| came | is_it(*one)) > 0;
        if !came {
            self.put(place, whole);
        }
        came
    }

    /// The request that was looked up last came with any name, from now on.
    pub(super) fn came_with_any_name(&mut self) {
        if let Some((place, any)) = self.latest {
            self.put(place, any);
        }
    }

    /// What the request that was looked up last has in common with others. It is clear where each text ends.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    fn put(&mut self, place: usize, digest: u64) {
        if let Some(latest) = self.places.get_mut(place) {
            latest.rotate_right(1);
            latest[0] = digest;
        }
    }
}

/// Of a request without a name: beside the digest of all that are alike, whatever their names.
const fn without_name(any: u64) -> u64 {
    any.wrapping_add(1)
}

/// Writes texts down, and before them how long each of them is.
#[inline]
fn write<const N: usize>(key: &mut Vec<u8>, texts: [&str; N]) {
    let length = |text: &str| u64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    // As they are read again: a processor waits for what is read in other pieces than it was written.
    let (pairs, last) = texts.as_chunks();
    for [one, other] in pairs {
        key.extend_from_slice(&(length(one) << 32 | length(other)).to_le_bytes());
    }
    for text in last {
        key.extend_from_slice(&length(text).to_le_bytes());
    }
    for text in texts.iter().filter(|text| !text.is_empty()) {
        key.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'_> = Request {
        generation: 1,
        what: ["", "user", "get", "", "secrets", "", "prod"],
        why: ["RBAC", ""],
        name: Some("a"),
    };

    #[test]
    fn requests_are_told_apart_by_each_of_their_parts() {
        let mut lately = Lately::new();
        let mut others = vec![REQUEST, Request { generation: 2, ..REQUEST }];
        others.extend([Some("b"), Some(""), None].map(|name| Request { name, ..REQUEST }));
        let long = "n".repeat(700);
        others.push(Request { name: Some(&long), ..REQUEST });
        for at in 0..REQUEST.what.len() {
            let mut what = REQUEST.what;
            what[at] = "other";
            others.push(Request { what, ..REQUEST });
        }
        for at in 0..REQUEST.why.len() {
            let mut why = REQUEST.why;
            why[at] = "other";
            others.push(Request { why, ..REQUEST });
        }
        // The same letters, cut elsewhere.
        others.push(Request { what: ["", "use", "rget", "", "secrets", "", "prod"], ..REQUEST });
        others.push(Request { why: ["RBA", "C"], ..REQUEST });
        for other in &others {
            assert!(!lately.came(other), "{other:?}");
            assert!(lately.came(other), "{other:?}");
        }
    }

    #[test]
    fn with_any_name_all_names_came() {
        let mut lately = Lately::new();
        assert!(!lately.came(&REQUEST));
        lately.came_with_any_name();
        assert!(lately.came(&Request { name: Some("b"), ..REQUEST }));
        assert!(!lately.came(&Request { why: ["", ""], ..REQUEST }));
    }

    #[test]
    fn what_is_too_long_never_came() {
        let (mut lately, long) = (Lately::new(), "l".repeat(SHORT_BYTES));
        for request in [
            Request { name: Some(&long), ..REQUEST },
            Request { why: [&long, ""], ..REQUEST },
            Request { what: [&long; 7], ..REQUEST },
        ] {
            assert!(!lately.came(&request));
            lately.came_with_any_name();
            assert!(!lately.came(&request), "{request:?}");
        }
    }
}
