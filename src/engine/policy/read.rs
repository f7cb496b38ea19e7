//! Reads an audit policy as the API server does: `audit.k8s.io/v1`, kind `Policy`.

use std::{collections::BTreeSet, sync::Arc};

use crate::engine::{
    diagnostic::{Diagnostic, DiagnosticLevel, Place, Problems, SourceText, code},
    kubernetes::{
        AuditLevel, Stage,
        stages::SERVER_STAGE_WORDS,
        verbs::{RESOURCE_VERBS, URL_VERBS},
    },
    yaml::{self, Section, SectionCodes},
};

const CODES: SectionCodes = SectionCodes {
    unknown: code::UNKNOWN_POLICY_KEY,
    missing: code::MISSING_POLICY_KEY,
    wrong_type: code::WRONG_POLICY_TYPE,
    invalid: code::INVALID_POLICY_VALUE,
    twice: code::POLICY_KEY_TWICE,
};

/// A policy: the first of its entries that fits a request decides how much of it is recorded.
#[derive(Debug)]
pub(super) struct AuditPolicy {
    pub(super) entries: Vec<PolicyRule>,
    /// Where `rules` stands, for requests that no entry fits.
    pub(super) place: Place,
}

/// One of the policy's `rules`. An empty list asks for nothing.
#[derive(Debug, Default)]
pub(super) struct PolicyRule {
    /// Where its level stands.
    pub(super) place: Option<Place>,
    /// How much is recorded; `None` is nothing.
    pub(super) level: Option<AuditLevel>,
    pub(super) users: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) verbs: Vec<String>,
    pub(super) resources: Vec<Resources>,
    pub(super) namespaces: Vec<String>,
    pub(super) urls: Vec<String>,
    /// Stages that are not recorded, those of the whole policy included.
    pub(super) omitted: BTreeSet<&'static str>,
}

/// Resources of one API group.
#[derive(Debug)]
pub(super) struct Resources {
    pub(super) group: String,
    pub(super) patterns: Vec<String>,
    pub(super) names: Vec<String>,
}

/// Reads a file. `None` if it cannot be used; what is wrong goes to `problems`.
pub(super) fn read(
    source: &Arc<SourceText>,
    problems: &mut Vec<Diagnostic>,
) -> Option<AuditPolicy> {
    let found = Problems::new();
    let policy = read_document(source, &found);
    let has_errors = found.has_errors();
    let mut only_unknown = true;
    for mut problem in found.into_sorted() {
        if problem.code == CODES.unknown {
            // The API server logs it and goes on.
            problem.level = DiagnosticLevel::Warning;
            problem = problem.help("the API server does not look at it");
        } else {
            only_unknown &= problem.level != DiagnosticLevel::Error;
        }
        problems.push(problem);
    }
    policy.filter(|_| !has_errors || only_unknown)
}

fn read_document(source: &Arc<SourceText>, problems: &Problems) -> Option<AuditPolicy> {
    let nodes = match yaml::parse(source) {
        Ok(nodes) => nodes,
        Err(problem) => {
            problems.push(*problem);
            return None;
        }
    };
    let whole = Place { source: Arc::clone(source), span: 0..0 };
    let [node] = nodes.as_slice() else {
        let title = format!("a policy is one document, not {}", nodes.len());
        problems.push(Diagnostic::error(CODES.invalid, whole, title));
        return None;
    };
    let root = Section::with_codes(&CODES, source, problems, node, "");
    check_kind(&root);
    let omitted = stages(&root);
    let _ = root.boolean("omitManagedFields");
    let _ = root.node("metadata");
    let entries: Vec<PolicyRule> =
        root.sections("rules").into_iter().map(|section| read_entry(section, &omitted)).collect();
    if entries.is_empty() {
        root.missing("rules", "the API server refuses a policy without rules");
    }
    let place = root.place_of_key("rules");
    root.finish();
    Some(AuditPolicy { entries, place })
}

fn check_kind(root: &Section<'_>) {
    let kind = root.required_string("kind", "write `kind: Policy`");
    if kind.is_some_and(|kind| kind != "Policy") {
        root.invalid("kind", "this is no audit policy", "its kind is `Policy`");
    }
    let version = root.required_string("apiVersion", "write `apiVersion: audit.k8s.io/v1`");
    let Some(version) = version.filter(|version| version != "audit.k8s.io/v1") else { return };
    if version.starts_with("audit.k8s.io/") {
        let title = format!("`{version}` is not known to Kubernetes 1.24 and later");
        let place = root.place_of("apiVersion");
        root.report(
            Diagnostic::warning(CODES.invalid, place, title).help("write `audit.k8s.io/v1`"),
        );
    } else {
        root.invalid("apiVersion", "this is no audit policy", "it is `audit.k8s.io/v1`");
    }
}

fn stages(section: &Section<'_>) -> BTreeSet<&'static str> {
    let mut stages = BTreeSet::new();
    for word in section.strings("omitStages").unwrap_or_default() {
        match Stage::parse(&word).filter(|stage| *stage != Stage::Unfinished) {
            Some(stage) => {
                stages.insert(stage.as_str());
            }
            None => section.invalid(
                "omitStages",
                format!("there is no stage `{word}`"),
                format!("it is one of: {}", SERVER_STAGE_WORDS.join(", ")),
            ),
        }
    }
    stages
}

fn read_entry(section: Section<'_>, omitted: &BTreeSet<&'static str>) -> PolicyRule {
    let words: Vec<(&str, Option<AuditLevel>)> = [("None", None)]
        .into_iter()
        .chain(AuditLevel::WORDS.map(|(word, level)| (word, Some(level))))
        .collect();
    if section.node("level").is_none() {
        section.missing("level", "write `level: Metadata`");
    }
    let level = section.one_of("level", &words).flatten();
    let texts = |key: &str| section.strings(key).unwrap_or_default();
    let verbs = texts("verbs");
    for verb in &verbs {
        if !RESOURCE_VERBS.iter().chain(&URL_VERBS).any(|known| known == verb) {
            let title = format!("no request has the verb `{verb}`");
            let diagnostic = Diagnostic::warning(CODES.invalid, section.place_of("verbs"), title);
            let known = RESOURCE_VERBS.join(", ");
            section.report(diagnostic.help(format!("resources have the verbs {known}")));
        }
    }
    let resources: Vec<Resources> =
        section.sections("resources").into_iter().map(read_resources).collect();
    let (namespaces, urls) = (texts("namespaces"), texts("nonResourceURLs"));
    let for_resources = !(resources.is_empty() && namespaces.is_empty());
    if for_resources && !urls.is_empty() {
        let title = "an entry is for resources or for paths, not for both";
        section.invalid("nonResourceURLs", title, "make two entries of it");
    }
    for url in urls.iter().filter(|url| *url != "*") {
        let head = url.strip_suffix('*').unwrap_or(url);
        if !url.starts_with('/') || head.contains('*') {
            let title = format!("`{url}` is no path");
            let help = "paths begin with `/`; `*` stands only at their end";
            section.invalid("nonResourceURLs", title, help);
        }
    }
    let entry = PolicyRule {
        place: Some(section.place_of("level")),
        level,
        users: texts("users"),
        groups: texts("userGroups"),
        verbs,
        resources,
        namespaces,
        urls,
        omitted: &stages(&section) | omitted,
    };
    let _ = section.boolean("omitManagedFields");
    section.finish();
    entry
}

fn read_resources(section: Section<'_>) -> Resources {
    let group = section.string("group").unwrap_or_default();
    if let Some((name, _)) = group.split_once('/') {
        let title = format!("`{group}` is a group with a version");
        section.invalid("group", title, format!("write `group: {name}`"));
    } else if group == "*" {
        let title = "a group is a name; there is no wildcard for it";
        section.invalid("group", title, "leave out `resources` to mean all of them");
    }
    let patterns = section.strings("resources").unwrap_or_default();
    let names = section.strings("resourceNames").unwrap_or_default();
    if patterns.is_empty() && !names.is_empty() {
        section.missing("resources", "names need resources that they are names of");
    }
    section.finish();
    Resources { group, patterns, names }
}
