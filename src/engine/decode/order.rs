//! The order in which an API server writes the keys of an event.
//!
//! Go writes the fields of a struct in their order and the keys of a map sorted, so nearly every key of
//! an event is known before it is read: comparing it costs less than finding its end and looking it
//! up. Whatever comes in another order, or has keys that are not here, is read as any JSON is; nothing
//! but speed depends on this.

use super::scan::{Scanner, words_of};

/// Keys of the objects of an event, by the path of the object.
pub(super) const USUAL_ORDER: [(&str, &[&str]); 8] = [
    (
        "",
        &[
            "kind",
            "apiVersion",
            "level",
            "auditID",
            "stage",
            "requestURI",
            "verb",
            "user",
            "impersonatedUser",
            "authenticationMetadata",
            "sourceIPs",
            "userAgent",
            "objectRef",
            "responseStatus",
            "requestObject",
            "responseObject",
            "requestReceivedTimestamp",
            "stageTimestamp",
            "annotations",
        ],
    ),
    ("user", &["username", "uid", "groups", "extra"]),
    (
        "user.extra",
        &[
            "authentication.kubernetes.io/credential-id",
            "authentication.kubernetes.io/node-name",
            "authentication.kubernetes.io/node-uid",
            "authentication.kubernetes.io/pod-name",
            "authentication.kubernetes.io/pod-uid",
        ],
    ),
    ("impersonatedUser", &["username", "uid", "groups", "extra"]),
    ("authenticationMetadata", &["impersonationConstraint"]),
    (
        "objectRef",
        &[
            "resource",
            "namespace",
            "name",
            "uid",
            "apiGroup",
            "apiVersion",
            "resourceVersion",
            "subresource",
        ],
    ),
    ("responseStatus", &["metadata", "status", "message", "reason", "details", "code"]),
    ("annotations", &["authorization.k8s.io/decision", "authorization.k8s.io/reason"]),
];

/// A key as it is written: with its quotes and the colon.
#[derive(Debug)]
pub(super) struct UsualKey {
    /// Its first 32 bytes, and which bits of them count if it is shorter.
    words: [u64; 4],
    masks: [u64; 4],
    /// What follows these.
    rest: Box<[u8]>,
    length: usize,
}

impl UsualKey {
    pub(super) fn new(key: &str) -> UsualKey {
        let written = format!("\"{key}\":").into_bytes();
        let (mut bytes, mut mask) = ([0; 32], [0; 32]);
        for ((byte, bits), from) in bytes.iter_mut().zip(&mut mask).zip(&written) {
            (*byte, *bits) = (*from, u8::MAX);
        }
        UsualKey {
            words: words_of(&bytes),
            masks: words_of(&mask),
            rest: written.get(32..).unwrap_or_default().into(),
            length: written.len(),
        }
    }

    /// Moves past the key if it stands here. `words` is what [`Scanner::words`] says.
    #[inline]
    pub(super) fn read(&self, words: &[u64; 4], scanner: &mut Scanner<'_>) -> bool {
        let [a, b, c, d] = *words;
        let [ka, kb, kc, kd] = self.words;
        let [ma, mb, mc, md] = self.masks;
        let differs = |word: u64, known: u64, mask: u64| (word ^ known) & mask;
        // Most keys differ in their first bytes, so the others need a look only once.
        if differs(a, ka, ma) != 0 {
            return false;
        }
        let others = differs(b, kb, mb) | differs(c, kc, mc) | differs(d, kd, md);
        let stands_here = others == 0 && (self.rest.is_empty() || scanner.follows(32, &self.rest));
        if stands_here {
            scanner.skip(self.length);
        }
        stands_here
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kubernetes::fields::AUDIT_FIELDS;

    #[test]
    fn every_key_leads_to_a_known_field() {
        for (path, keys) in USUAL_ORDER {
            for key in keys {
                let path =
                    if path.is_empty() { (*key).to_owned() } else { format!("{path}.{key}") };
                let leads = |rest: &str| rest.is_empty() || rest.starts_with('.');
                let known = |known: &str| known.strip_prefix(&path).is_some_and(leads);
                assert!(AUDIT_FIELDS.iter().any(|field| known(field.path)), "{path}");
            }
        }
    }
}
