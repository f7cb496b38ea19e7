//! Which of many prefixes a text begins with.

use crate::engine::detect::{bits::Bits, fold::Fold};

/// Prefixes in lower-case ASCII, each with the rules that are left for texts of which it is the longest.
#[derive(Debug, Default)]
pub(super) struct Prefixes {
    /// A tree of what they share: [`Node::label`] by label along the way to a node is one prefix.
    first: Vec<Node>,
    /// The length of the longest.
    longest: usize,
}

#[derive(Debug)]
struct Node {
    /// What comes after the label of the node above. The first byte is another one in each child.
    label: Box<[u8]>,
    /// If a prefix ends here, its rules.
    left: Option<Bits>,
    children: Vec<Node>,
}

/// What a text begins with.
#[derive(Clone, Copy, Debug)]
pub(super) enum PrefixMatch<'p> {
    /// The longest of the prefixes, given by its rules.
    Known(&'p Bits),
    /// None of them.
    Other,
    /// Letters beyond ASCII, some of which fold to ASCII (the Kelvin sign).
    Unclear,
}

impl Prefixes {
    /// Of prefixes that are sorted. `left` tells the rules that are left for each.
    pub(super) fn new(prefixes: &[&str], mut left: impl FnMut(&str) -> Bits) -> Prefixes {
        Prefixes {
            first: nodes(prefixes, 0, &mut left),
            longest: prefixes.iter().map(|prefix| prefix.len()).max().unwrap_or(0),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The rules that are left for each prefix.
    pub(super) fn each(&self) -> Vec<&Bits> {
        let mut found = Vec::new();
        let mut open: Vec<&Node> = self.first.iter().collect();
        while let Some(node) = open.pop() {
            found.extend(&node.left);
            open.extend(&node.children);
        }
        found
    }

    /// What a text begins with, in whatever case.
    #[inline]
    pub(super) fn find(&self, text: &str, fold: &mut Fold) -> PrefixMatch<'_> {
        let head = text.get(..self.longest.min(text.len()));
        let Some(head) = head.filter(|head| head.is_ascii()) else { return PrefixMatch::Unclear };
        let mut rest = fold.fold(head).as_bytes();
        let mut nodes = &self.first;
        let mut found = PrefixMatch::Other;
        while let Some(first) = rest.first()
            && let Some(node) = nodes.iter().find(|node| node.label.first() == Some(first))
            && let Some(tail) = rest.strip_prefix(&*node.label)
        {
            if let Some(left) = &node.left {
                found = PrefixMatch::Known(left);
            }
            (rest, nodes) = (tail, &node.children);
        }
        found
    }
}

/// The nodes for prefixes, of which the first `above` bytes are the same. Recursion is bounded by the
/// length of the prefixes.
fn nodes(prefixes: &[&str], above: usize, left: &mut impl FnMut(&str) -> Bits) -> Vec<Node> {
    let byte = |prefix: &str, at: usize| prefix.as_bytes().get(at).copied();
    let below: &[&str] = match prefixes.split_first() {
        Some((first, others)) if first.len() == above => others,
        _ => prefixes,
    };
    below
        .chunk_by(|one, other| byte(one, above) == byte(other, above))
        .filter_map(|alike| {
            // They are sorted: what the first and the last share all of them do.
            let (first, last) = (alike.first()?, alike.last()?);
            let shared = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
            Some(Node {
                label: first.as_bytes().get(above..shared)?.into(),
                left: (first.len() == shared).then(|| left(first)),
                children: nodes(alike, shared, left),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_is_found_in_whatever_case() {
        let texts = ["a", "ab", "abc", "abd", "b", "kube/", "kubectl/"];
        let prefixes = Prefixes::new(&texts, |prefix| {
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
                PrefixMatch::Known(bits) => bits.iter().next().map(|number| texts[number]),
                PrefixMatch::Other => None,
                PrefixMatch::Unclear => {
                    assert!(!text.is_ascii(), "{text}");
                    continue;
                }
            };
            assert_eq!(found, expected, "{text}");
        }
        assert!(matches!(prefixes.find("\u{212a}ube/", &mut fold), PrefixMatch::Unclear));
    }
}
