//! Loads a rule directory that was read: all files in, a rule set or everything that is wrong out.

use std::{sync::Arc, time::Duration};

use super::{
    check::{
        confirmed::check_confirmed,
        documents::{check_documents, check_schedules, check_times},
        teams::check_teams,
    },
    compile::{compile, compiler::Compiler},
    plan::{build::Builder, set::RuleSet},
    read::{
        document::{RuleDocument, read_documents},
        identities::read_identities,
        list::read_lists,
        names::Names,
        risk::read_risk,
        schedule::read_schedules,
    },
    sources::RuleSources,
};
use crate::engine::{
    diagnostic::{Diagnostic, Place, Problems, SourceText},
    limits::RULES_MAX,
    syntax::code,
    time::WallTime,
};

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
    let (schedules, schedule_places): (Vec<_>, Vec<_>) =
        read_schedules(sources.schedules.as_ref(), &problems).into_iter().unzip();
    let risk = read_risk(sources.risk.as_ref(), &problems);
    let documents = read_all(&sources.rules, &problems);
    let names = Names::new(&documents, &problems);
    check_documents(&documents, options.now, &problems);
    let mut builder = Builder::default();
    let (identities, identity_notes) =
        read_identities(sources.identities.as_ref(), options.now, &mut builder, &problems);
    check_teams(&documents, &identities, &problems);
    check_confirmed(&documents, &lists, &identities, &problems);
    let compiler = Compiler {
        documents: &documents,
        names: &names,
        lists: &lists,
        schedules: &schedules,
        risk: &risk,
        problems: &problems,
        resolve_after: options.resolve_after,
        identities: Arc::new(identities),
        identity_notes: &identity_notes,
        builder,
    };
    let mut rules = compile(compiler, sources.version());
    rules.sources = sources.clone();
    if rules.rules.is_empty() && !problems.has_errors() {
        let title = "there is no rule in any file";
        problems.push(
            Diagnostic::error_nowhere(code::NO_RULES, title)
                .help("write a Sigma rule to a file such as `rules/exec.yaml`"),
        );
    }
    let accepted = !problems.has_errors();
    // A rule that could not be read may have referred to them.
    if accepted {
        lists.check_used(&problems);
        check_times(&documents, &schedules, &problems);
        check_schedules(&documents, schedules.iter().zip(schedule_places), &problems);
    }
    Loaded { rules: accepted.then_some(rules), diagnostics: problems.into_sorted() }
}

/// Reads all rule files, but not more than [`RULES_MAX`] rules.
fn read_all(sources: &[Arc<SourceText>], problems: &Problems) -> Vec<RuleDocument> {
    let too_many = |source: &Arc<SourceText>| {
        let place = Place { source: Arc::clone(source), span: 0..0 };
        let title = format!("there are more than {RULES_MAX} rules");
        problems.push(
            Diagnostic::error(code::TOO_MANY, place, title)
                .help("this file and those after it were not read"),
        );
    };
    let mut documents = Vec::new();
    if let Some(source) = sources.get(RULES_MAX) {
        too_many(source);
        return documents;
    }
    for source in sources {
        let more = read_documents(source, problems);
        if documents.len() + more.len() > RULES_MAX {
            too_many(source);
            break;
        }
        documents.extend(more);
    }
    documents
}
