//! A suggested role as YAML that `kubectl apply` takes, with what it rests on as comments.

use std::fmt::Write as _;

use super::{
    rbac::{PolicyRule, Subject, SubjectKind},
    role::{Scope, SuggestedRule, Suggestion},
    subject::Who,
};
use crate::engine::{
    digest::{Digest, hex},
    text::{counted, one_line, printable},
    yaml::scalar,
};

/// Requests that are listed of what is left out, for each reason: 20.
const LISTED_MAX: usize = 20;

/// Characters of a comment of one line.
const COMMENT_CHARS_MAX: usize = 300;

/// What is said above the roles.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The time that was looked at.
    pub period: String,
    /// What of it was observed.
    pub coverage: String,
    /// What was refused in that time, for reading.
    pub refused: Vec<String>,
    /// How many requests these were.
    pub refused_count: u64,
    /// Whom the subject acted as: nothing in the log says by which permission.
    pub acted_as: Vec<String>,
}

/// The roles with their bindings, as documents. Empty of documents if there is nothing to suggest.
pub fn yaml(who: &Who, suggestion: &Suggestion, about: &About) -> String {
    let mut text = String::new();
    head(&mut text, who, suggestion, about);
    let name = name_of(who);
    for (scope, rules) in &suggestion.scopes {
        document(&mut text, &name, scope, rules, &who.subject());
    }
    text
}

fn comment(text: &mut String, line: &str) {
    let _ = writeln!(text, "# {}", one_line(&printable(line), COMMENT_CHARS_MAX));
}

fn head(text: &mut String, who: &Who, suggestion: &Suggestion, about: &About) {
    comment(text, &format!("What {who} used, and nothing besides."));
    comment(text, &format!("Period: {}", about.period));
    comment(text, &format!("Coverage: {}", about.coverage));
    let count = counted(suggestion.requests, "permission");
    comment(text, &format!("{count} used. What was not used in this period is not in it."));
    if suggestion.has_earlier {
        comment(
            text,
            "What was used on the first day before the period began is in it, too: a use is told once a day.",
        );
    }
    if suggestion.is_empty() {
        comment(text, "There is nothing to suggest.");
    }
    if suggestion.has_masters {
        let masters = Suggestion::MASTERS;
        comment(
            text,
            &format!(
                "Some of it was allowed by the group {masters}: leave that group, or this changes nothing."
            ),
        );
    }
    if !suggestion.on_behalf_of.is_empty() {
        let callers: Vec<&str> = suggestion.on_behalf_of.iter().map(|caller| &**caller).collect();
        comment(
            text,
            &format!("Some of it was done by others who acted as {who}: {}", callers.join(", ")),
        );
    }
    for other in about.acted_as.iter().take(LISTED_MAX) {
        comment(
            text,
            &format!(
                "{who} acted as {other}. For that the verb `impersonate` is needed, which the log does not show; it is left out."
            ),
        );
    }
    left_out(text, suggestion);
    if about.refused_count > 0 {
        let count = counted(about.refused_count, "request");
        comment(text, &format!("Refused in this period, and left out ({count}):"));
        listed(text, about.refused.iter().map(String::as_str));
    }
}

fn left_out(text: &mut String, suggestion: &Suggestion) {
    let mut rest = suggestion.left_out.as_slice();
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|one| one.why == first.why).count();
        let (same, others) = rest.split_at(count);
        comment(text, &format!("Left out, since {}:", first.why));
        listed(text, same.iter().map(|one| one.request.as_str()));
        rest = others;
    }
}

fn listed<'a>(text: &mut String, mut lines: impl ExactSizeIterator<Item = &'a str>) {
    for line in lines.by_ref().take(LISTED_MAX) {
        comment(text, &format!("  {line}"));
    }
    if lines.len() > 0 {
        comment(text, &format!("  and {} more", lines.len()));
    }
}

fn document(text: &mut String, name: &str, scope: &Scope, rules: &[SuggestedRule], to: &Subject) {
    let (kind, namespace) = match scope {
        Scope::Cluster => ("ClusterRole", None),
        Scope::Namespace(namespace) => ("Role", Some(namespace)),
    };
    let metadata = |text: &mut String| {
        let _ = writeln!(text, "metadata:\n  name: {}", scalar(name));
        if let Some(namespace) = namespace {
            let _ = writeln!(text, "  namespace: {}", scalar(namespace));
        }
    };
    let api = "rbac.authorization.k8s.io";
    let _ = writeln!(text, "---\napiVersion: {api}/v1\nkind: {kind}");
    metadata(text);
    text.push_str("rules:\n");
    for SuggestedRule { rule, notes } in rules {
        for note in notes {
            comment(text, note);
        }
        write_rule(text, rule);
    }
    let _ = writeln!(text, "---\napiVersion: {api}/v1\nkind: {kind}Binding");
    metadata(text);
    let _ = writeln!(text, "roleRef:\n  apiGroup: {api}\n  kind: {kind}\n  name: {}", scalar(name));
    let _ = writeln!(text, "subjects:\n  - kind: {}", to.kind.as_str());
    if to.kind != SubjectKind::ServiceAccount {
        let _ = writeln!(text, "    apiGroup: {api}");
    }
    let _ = writeln!(text, "    name: {}", scalar(&to.name));
    if let Some(namespace) = &to.namespace {
        let _ = writeln!(text, "    namespace: {}", scalar(namespace));
    }
}

fn write_rule(text: &mut String, rule: &PolicyRule) {
    let lists = [
        ("apiGroups", &rule.api_groups),
        ("resources", &rule.resources),
        ("resourceNames", &rule.resource_names),
        ("nonResourceURLs", &rule.non_resource_urls),
        ("verbs", &rule.verbs),
    ];
    let lists = lists.iter().filter(|(_, list)| !list.is_empty());
    for (index, (key, list)) in lists.enumerate() {
        let items: Vec<String> = list.iter().map(|item| scalar(item)).collect();
        let dash = if index == 0 { '-' } else { ' ' };
        let _ = writeln!(text, "  {dash} {key}: [{}]", items.join(", "));
    }
}

/// A name for the objects: one that a cluster takes, and nobody else has.
fn name_of(who: &Who) -> String {
    let text = who.to_string();
    let mut name = String::from("used-by-");
    for char in text.chars().take(40) {
        let char = char.to_ascii_lowercase();
        let is_kept = char.is_ascii_lowercase() || char.is_ascii_digit();
        if is_kept {
            name.push(char);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let end = hex(&Digest::of([&text]).first::<4>());
    format!("{}-{end}", name.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kubernetes() {
        for text in ["anna@example.org", "group:ops", "system:serviceaccount:a:b", "Ü…", "-"] {
            let name = name_of(&Who::User(text.to_owned()));
            assert!(name.len() <= 63 && name.starts_with("used-by"), "{name}");
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
                "{name}"
            );
        }
    }
}
