//! Requests and rules in words.

use std::collections::BTreeMap;

use super::requests::{Below, Target, Verb};

/// Resources in one line; further ones are counted.
const TARGETS_SHOWN: usize = 5;

/// `create and patch of pods, deployments.apps and 2 more`.
pub(super) fn requests(targets: &[Target], requests: &BTreeMap<usize, Vec<Verb>>) -> String {
    let mut by_verbs: BTreeMap<&[Verb], Vec<String>> = BTreeMap::new();
    for (index, verbs) in requests {
        if let Some(target) = targets.get(*index) {
            by_verbs.entry(verbs).or_default().push(target_words(target));
        }
    }
    let parts: Vec<String> = by_verbs
        .iter()
        .map(|(verbs, targets)| {
            let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
            let targets = plain(&targets, TARGETS_SHOWN);
            let named: Vec<&str> = verbs.iter().copied().flatten().collect();
            if named.len() == verbs.len() {
                format!("{} of {targets}", plain(&named, named.len()))
            } else {
                format!("all requests for {targets}")
            }
        })
        .collect();
    parts.join("; ")
}

fn target_words(target: &Target) -> String {
    match target {
        Target::Resource { group, name, below } => {
            let name = match below {
                Below::Itself => name.clone(),
                Below::Named(subresource) => format!("{name}/{subresource}"),
                Below::Other => format!("{name}/*"),
            };
            match group.as_deref() {
                None | Some("") => name,
                Some(group) => format!("{name}.{group}"),
            }
        }
        Target::Group(group) => format!("other resources in {group}"),
        Target::OtherResource => "resources of any sort".to_owned(),
        Target::Url => "paths that are no resources".to_owned(),
    }
}

/// Names in quotes.
pub(super) fn some(names: &[&str], shown: usize) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    plain(&quoted.iter().map(String::as_str).collect::<Vec<_>>(), shown)
}

/// `a, b and c`, or `a, b and 7 more`.
fn plain(words: &[&str], shown: usize) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [head @ .., last] if words.len() <= shown => format!("{} and {last}", head.join(", ")),
        _ => {
            let head: Vec<&str> = words.iter().copied().take(shown).collect();
            format!("{} and {} more", head.join(", "), words.len() - head.len())
        }
    }
}
