//! Which of many prefixes a text begins with.

use crate::engine::detect::{bits::Bits, fold::Fold};

/// Prefixes in lower-case ASCII, each with the rules that are left for texts of which it is the longest.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// Sorted.
    entries: Vec<Entry>,
    /// The length of the longest.
    longest: usize,
}

#[derive(Debug)]
struct Entry {
    prefix: Box<str>,
    /// The longest entry that is a prefix of this one.
    shorter: Option<usize>,
    left: Bits,
}

/// What a text begins with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Beginning<'p> {
    /// The longest of the prefixes, given by its rules.
    Known(&'p Bits),
    /// None of them.
    Other,
    /// Letters beyond ASCII, some of which fold to ASCII (the Kelvin sign).
    Unclear,
}

impl Prefixes {
    /// Of prefixes that are sorted. `left` tells the rules that are left for each.
    pub(super) fn new<'p>(
        prefixes: impl Iterator<Item = &'p str>,
        mut left: impl FnMut(&str) -> Bits,
    ) -> Prefixes {
        let mut longest = 0;
        let mut entries: Vec<Entry> = Vec::new();
        for prefix in prefixes {
            // What sorts last before it and is a prefix of it, or what is a prefix of that.
            let mut shorter = entries.len().checked_sub(1);
            while let Some(entry) = shorter.and_then(|index| entries.get(index)) {
                if prefix.starts_with(&*entry.prefix) {
                    break;
                }
                shorter = entry.shorter;
            }
            entries.push(Entry { prefix: prefix.into(), shorter, left: left(prefix) });
            longest = longest.max(prefix.len());
        }
        Prefixes { entries, longest }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bits> {
        self.entries.iter().map(|entry| &entry.left)
    }

    /// What a text begins with, in whatever case. Cost: a binary search.
    pub(super) fn find(&self, text: &str, fold: &mut Fold) -> Beginning<'_> {
        let head = text.get(..self.longest.min(text.len()));
        let Some(head) = head.filter(|head| head.is_ascii()) else { return Beginning::Unclear };
        let head = fold.fold(head);
        let after = self.entries.partition_point(|entry| *entry.prefix <= *head);
        let mut index = after.checked_sub(1);
        while let Some(entry) = index.and_then(|index| self.entries.get(index)) {
            if head.starts_with(&*entry.prefix) {
                return Beginning::Known(&entry.left);
            }
            index = entry.shorter;
        }
        Beginning::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_is_found_in_whatever_case() {
        let texts = ["a", "ab", "abc", "abd", "b", "kube/", "kubectl/"];
        let prefixes = Prefixes::new(texts.into_iter(), |prefix| {
            let mut bits = Bits::none(texts.len());
            bits.set(texts.iter().position(|text| *text == prefix).unwrap(), true);
            bits
        });
        let mut fold = Fold::default();
        for (text, expected) in [
            ("abcd", Some("abc")),
            ("ABCD", Some("abc")),
            ("abe", Some("ab")),
            ("ac", Some("a")),
            ("a", Some("a")),
            ("abö", Some("ab")),
            ("kubectl/v1", Some("kubectl/")),
            ("kubectl", None),
            ("kubelet/v1", None),
            ("z", None),
            ("", None),
        ] {
            let found = match prefixes.find(text, &mut fold) {
                Beginning::Known(bits) => bits.iter().next().map(|number| texts[number]),
                Beginning::Other => None,
                Beginning::Unclear => {
                    assert!(!text.is_ascii(), "{text}");
                    continue;
                }
            };
            assert_eq!(found, expected, "{text}");
        }
        assert!(matches!(prefixes.find("\u{212a}ube/", &mut fold), Beginning::Unclear));
    }
}
