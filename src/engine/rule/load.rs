//! Loads a rule directory that was read: all files in, a rule set or everything that is wrong out.

use std::{sync::Arc, time::Duration};

use super::{
    alert::check_alert_fields,
    code,
    compile::{Compiler, compile},
    document::{Document, read_documents},
    list::read_lists,
    names::Names,
    schedule::read_schedules,
    set::RuleSet,
};
use crate::engine::{
    diagnostic::{Diagnostic, Problems, SourceText},
    rule::build::Builder,
    time::WallTime,
};

/// Everything that a rule directory holds, as text.
#[derive(Clone, Debug, Default)]
pub struct RuleSources {
    /// Rule files, sorted by name.
    pub rules: Vec<Arc<SourceText>>,
    /// Lists by name: `lists/<name>.yaml` or `lists/<name>.txt`.
    pub lists: Vec<(String, Arc<SourceText>)>,
    /// `schedules.yaml`, if there is one.
    pub schedules: Option<Arc<SourceText>>,
}

impl RuleSources {
    /// Hash of all names and texts, as 16 hexadecimal digits: equal exactly if nothing changed.
    pub fn version(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let lists = self.lists.iter().map(|(_, source)| source);
        for source in self.rules.iter().chain(lists).chain(&self.schedules) {
            for part in [&source.name, &source.text] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
        }
        hasher.finalize().to_hex().chars().take(16).collect()
    }
}

/// What loading needs to know beside the files.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// How long an alert of a plain detection rule fires after its last event.
    pub resolve_after: Duration,
    /// The operator's clock, for warnings about what has expired; `None` leaves them out.
    pub now: Option<WallTime>,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions { resolve_after: Duration::from_secs(300), now: None }
    }
}

/// What loading came to.
#[derive(Debug)]
pub struct Loaded {
    /// The rule set; `None` if there was any error: it is accepted whole or not at all.
    pub rules: Option<RuleSet>,
    /// Everything that is wrong or suspicious, in all files, by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

/// Compiles all files of a rule directory. Never fails and never stops at the first mistake.
pub fn load(sources: &RuleSources, options: &LoadOptions) -> Loaded {
    let problems = Problems::new();
    let lists = read_lists(&sources.lists, options.now, &problems);
    let schedules = read_schedules(sources.schedules.as_ref(), &problems);
    let documents: Vec<Document> =
        sources.rules.iter().flat_map(|source| read_documents(source, &problems)).collect();
    let names = Names::new(&documents, &problems);
    check_documents(&documents, options.now, &problems);
    let compiler = Compiler {
        documents: &documents,
        names: &names,
        lists: &lists,
        schedules: &schedules,
        problems: &problems,
        resolve_after: options.resolve_after,
        builder: Builder::default(),
    };
    let rules = compile(compiler, sources.version());
    if rules.rules.is_empty() && !problems.has_errors() {
        let title = "there is no rule in any file";
        problems.push(
            Diagnostic::error_nowhere(code::NO_RULES, title)
                .help("write a Sigma rule to a file such as `rules/exec.yaml`"),
        );
    }
    let accepted = !problems.has_errors();
    Loaded { rules: accepted.then_some(rules), diagnostics: problems.into_sorted() }
}

/// Warnings that concern one document alone.
fn check_documents(documents: &[Document], now: Option<WallTime>, problems: &Problems) {
    for document in documents {
        let header = document.header();
        if let (Some((until, place)), Some(now)) = (&header.extension.expires, now)
            && *until <= now.as_event()
        {
            let title = format!("`{}` has expired and has no effect any more", header.title);
            let diagnostic = Diagnostic::warning(code::EXPIRED, place.clone(), title);
            problems.push(diagnostic.help("remove it, or give it a later date"));
        }
        if matches!(document, Document::Detection(_)) {
            check_alert_fields(header, &[], problems);
        }
    }
}
