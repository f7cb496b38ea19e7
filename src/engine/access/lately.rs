//! Which requests came lately, so that most are known again at once.
//!
//! Digests of all that is looked at are remembered. The texts would tell requests apart as well, but are more than fits
//! into a cache, and each look-up would wait for memory. What is forgotten here costs nothing but time.

use prefetch_index::prefetch_index;

use crate::engine::{
    digest::{SHORT_BYTES, ShortDigests},
    limits::USAGE_LATELY_MAX,
};

/// How many requests share a place: 8, that is a line of the processor's cache.
const SHARE_PLACE: usize = 8;
const PLACES: usize = USAGE_LATELY_MAX / SHARE_PLACE;

/// What stands before the texts by which a request is known: 48 bytes.
const HEAD_BYTES: usize = 48;

/// What is looked at of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'e> {
    /// Of the day on which it came.
    pub(super) generation: u64,
    /// A digest of what it asks for and how that ended.
    pub(super) kind: u128,
    pub(super) who: Who<'e>,
    pub(super) cluster: &'e str,
    /// The namespace, or the path of what is no resource.
    pub(super) whereabouts: &'e str,
    /// Of the object, if requests are told apart by it.
    pub(super) name: Option<&'e str>,
}

/// Who asks, and why that was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who<'e> {
    /// As a digest.
    Digest(u128),
    /// As texts.
    Texts {
        actor: &'e str,
        reason: &'e str,
        /// By which group, if there is no reason.
        group: &'e str,
    },
}

/// Of a request that is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The digest of the request, and its place.
    whole: (u64, usize),
    /// Those of all that are alike, whatever their names.
    any: (u64, usize),
}

/// Requests that came lately.
#[derive(Debug)]
pub(super) struct Lately {
    digests: ShortDigests,
    /// The latest of those that share a place come first.
    places: Vec<[u64; SHARE_PLACE]>,
    /// What the request that was looked up last is known by.
    key: Vec<u8>,
}

impl Request<'_> {
    /// What all have in common that are alike, whatever their names, into a key; false if that is too long. It is clear
    /// where each text ends.
    #[inline]
    fn write(&self, key: &mut Vec<u8>) -> bool {
        let (who, [actor, reason, group]) = match self.who {
            Who::Digest(digest) => (digest, [""; 3]),
            // No actor has no name.
            Who::Texts { actor, reason, group } => (0, [actor, reason, group]),
        };
        let texts = [self.cluster, self.whereabouts, actor, reason, group];
        let length: usize = texts.iter().map(|text| text.len()).sum();
        // Each of the two parts of a key is filled up to 16 bytes.
        if HEAD_BYTES + length + self.name.map_or(0, str::len) + 2 * 16 > SHORT_BYTES {
            return false;
        }
        // Each is shorter than 2^12.
        let lengths = texts.iter().fold(0_u64, |all, text| all << 12 | text.len() as u64);
        key.clear();
        key.extend_from_slice(&self.generation.to_le_bytes());
        key.extend_from_slice(&lengths.to_le_bytes());
        key.extend_from_slice(&self.kind.to_le_bytes());
        key.extend_from_slice(&who.to_le_bytes());
        for text in texts.iter().filter(|text| !text.is_empty()) {
            key.extend_from_slice(text.as_bytes());
        }
        ShortDigests::fill(key);
        true
    }
}

impl Lately {
    pub(super) fn new() -> Lately {
        Lately {
            digests: ShortDigests::default(),
            places: vec![[0; SHARE_PLACE]; PLACES],
            key: Vec::new(),
        }
    }

    /// Where a request is looked for; `None` if its texts are too long. What is known there comes out of memory while
    /// other work is done, until [`Lately::came`].
    #[inline]
    pub(super) fn look(&mut self, request: &Request<'_>) -> Option<Look> {
        let Lately { digests, places, key } = self;
        if !request.write(key) {
            return None;
        }
        let in_common = digests.of(key);
        let any = (digests.shorter(in_common), place(in_common));
        prefetch_index(&places, any.1);
        let whole = if let Some(name) = request.name {
            let end = key.len();
            key.extend_from_slice(name.as_bytes());
            // No name ends in what fills it up.
            key.push(0xFF);
            ShortDigests::fill(key);
            let name = key.get(end..).unwrap_or_default();
            let digest = digests.behind(in_common, end / 16, name);
            let whole = (digests.shorter(digest), place(digest));
            prefetch_index(&places, whole.1);
            whole
        } else {
            // Beside the digest of all that are alike, whatever their names.
            (any.0.wrapping_add(1), any.1)
        };
        Some(Look { whole, any })
    }

    /// Whether the like of a request came lately. It did from now on.
    #[inline]
    pub(super) fn came(&mut self, look: &Look) -> bool {
        // All of a place are looked at: where it is found cannot be foretold.
        let found = [look.whole, look.any].map(|(digest, place)| {
            let known = self.places.get(place).copied().unwrap_or_default();
            known.iter().fold(0, |found, one| found | u8::from(*one == digest))
        });
        let came = found != [0, 0];
        if !came {
            self.put(look.whole);
        }
        came
    }

    /// A request that was looked up came with any name, from now on.
    pub(super) fn came_with_any_name(&mut self, look: &Look) {
        self.put(look.any);
    }

    fn put(&mut self, (digest, place): (u64, usize)) {
        if let Some(latest) = self.places.get_mut(place) {
            latest.rotate_right(1);
            latest[0] = digest;
        }
    }
}

/// Where a digest is looked for. Names have places of their own: some requests come with many.
fn place(digest: u128) -> usize {
    usize::try_from(ShortDigests::place(digest)).unwrap_or(0) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Who<'_> = Who::Texts { actor: "user", reason: "RBAC", group: "" };

    const REQUEST: Request<'_> = Request {
        generation: 1,
        kind: 2,
        who: WHO,
        cluster: "",
        whereabouts: "prod",
        name: Some("a"),
    };

    fn came(lately: &mut Lately, request: &Request<'_>) -> Option<bool> {
        let look = lately.look(request)?;
        Some(lately.came(&look))
    }

    fn is_told_apart(others: &[Request<'_>]) {
        let mut lately = Lately::new();
        for other in others {
            assert_eq!(came(&mut lately, other), Some(false), "{other:?}");
            assert_eq!(came(&mut lately, other), Some(true), "{other:?}");
        }
    }

    #[test]
    fn requests_are_told_apart_by_each_of_their_parts() {
        let long = "n".repeat(700);
        let mut others = vec![
            REQUEST,
            Request { generation: 2, ..REQUEST },
            Request { kind: 3, ..REQUEST },
            Request { kind: 2 << 64, ..REQUEST },
            Request { cluster: "c", ..REQUEST },
            Request { whereabouts: "", ..REQUEST },
            // The same letters, cut elsewhere.
            Request { cluster: "p", whereabouts: "rod", ..REQUEST },
            Request { whereabouts: &long, ..REQUEST },
        ];
        others.extend([Some("b"), Some(""), None].map(|name| Request { name, ..REQUEST }));
        let of = |actor, reason, group| Who::Texts { actor, reason, group };
        let who = [
            of("other", "RBAC", ""),
            of("userR", "BAC", ""),
            of("user", "", "RBAC"),
            of("user", "", ""),
            Who::Digest(0),
            Who::Digest(2),
            Who::Digest(2 << 64),
        ];
        others.extend(who.map(|who| Request { who, ..REQUEST }));
        is_told_apart(&others);
    }

    #[test]
    fn with_any_name_all_names_came() {
        let mut lately = Lately::new();
        let look = lately.look(&REQUEST).expect("it is short");
        assert!(!lately.came(&look));
        lately.came_with_any_name(&look);
        assert_eq!(came(&mut lately, &Request { name: Some("b"), ..REQUEST }), Some(true));
        assert_eq!(came(&mut lately, &Request { cluster: "c", ..REQUEST }), Some(false));
    }

    #[test]
    fn what_is_too_long_never_came() {
        let long = "l".repeat(SHORT_BYTES);
        let mut lately = Lately::new();
        for request in [
            Request { name: Some(&long), ..REQUEST },
            Request { cluster: &long, ..REQUEST },
            Request { whereabouts: &long, ..REQUEST },
            Request { who: Who::Texts { actor: "user", reason: &long, group: "" }, ..REQUEST },
        ] {
            assert_eq!(lately.look(&request), None, "{request:?}");
        }
    }

    #[test]
    fn of_texts_as_long_as_may_be_each_byte_counts() {
        let fits = SHORT_BYTES - HEAD_BYTES - 32 - "userRBACa".len();
        for length in [1, 15, 16, 17, fits] {
            let [one, other] = ["a", "b"].map(|last| "l".repeat(length - 1) + last);
            let requests = [&one, &other].map(|text| Request { whereabouts: text, ..REQUEST });
            is_told_apart(&requests);
        }
    }
}
