//! Who did something to something.

use jiff::tz::TimeZone;

use super::{
    Answer, AskError, Asked, CLUSTER, Format, Mistake, PAGE, PERIOD, Parameter, Params, Period,
    QuestionKind, Target,
    names::check_verb,
    of_cluster,
    table::{COLUMNS, cells},
    timeline::{Timeline, page_of},
};
use crate::{
    archive::{Cursor, Filter, Query, Reader},
    engine::{kubernetes::verbs::RESOURCE_VERBS, ledger::Row, time::EventTime},
};

/// By which name it is asked.
pub const QUESTION: QuestionKind = QuestionKind {
    name: "who-did",
    about: "Who did something to something. Lists and watches that covered it count, evictions, which delete pods, and what is rolled up without names.",
    parameters: &[PARAMETERS, CLUSTER, PERIOD, PAGE],
    ask: |reader, params, now| {
        let question = Question::read(params, now)?;
        let answer = Box::new(ask(reader, &question)?);
        Ok(Asked { answer, period: question.period })
    },
};

const PARAMETERS: &[Parameter] = &[
    Parameter::text(
        "verb",
        "What was done: get, list, watch, create, update, patch, delete; * for anything.",
    )
    .required(),
    Parameter::text("resource", "To what: secrets, pods/exec, deployments.apps.").required(),
    Parameter::text("name", "To which one."),
    Parameter::text("namespace", "In which namespace."),
];

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which time.
    pub period: Period,
    /// What was done; `*` for anything.
    pub verb: String,
    /// To what.
    pub target: Target,
    /// To which one.
    pub name: Option<String>,
    /// In which namespace.
    pub namespace: Option<String>,
    /// In which cluster.
    pub cluster: Option<Filter>,
    /// Behind which row.
    pub after: Option<Cursor>,
    /// How many rows.
    pub limit: usize,
}

/// Rows in the order of time, and what was asked about.
#[derive(Clone, Debug)]
pub struct Doings {
    /// The rows.
    pub timeline: Timeline,
    has_name: bool,
    has_namespace: bool,
}

impl Question {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be used, a verb or resource that is nearly known among it.
    pub fn read(params: &Params, now: EventTime) -> Result<Question, Mistake> {
        let (verb, resource) = (params.owned("verb"), params.owned("resource"));
        let (Some(verb), Some(resource)) = (verb, resource) else {
            return Err(Mistake::bad("`verb` or `resource` is missing", "who did what to what?"));
        };
        if verb != "*" {
            check_verb(&verb, &RESOURCE_VERBS)?;
        }
        let target = Target::read(&resource);
        target.check_name()?;
        Ok(Question {
            period: Period::read(params, now, "24h")?,
            verb,
            target,
            name: params.owned("name"),
            namespace: params.owned("namespace"),
            cluster: of_cluster(params),
            after: params.after()?,
            limit: params.limit()?,
        })
    }
}

/// Answers.
///
/// # Errors
/// The ledger cannot be read.
pub fn ask(reader: &Reader, question: &Question) -> Result<Doings, AskError> {
    let Question { target, namespace, name, .. } = question.clone();
    let (has_name, has_namespace) = (name.is_some(), namespace.is_some());
    let mut filters = target.filters(namespace, name);
    filters.extend(question.cluster.clone());
    let evictions = evicting(&question.verb, &target).map(|(below, verb)| {
        let of = [Filter::Subresource(below.to_owned()), Filter::Verbs(vec![verb.to_owned()])];
        filters.iter().cloned().chain(of).collect()
    });
    if question.verb != "*" {
        let verbs =
            covering(&question.verb, &target).iter().map(|verb| (*verb).to_owned()).collect();
        filters.push(Filter::Verbs(verbs));
    }
    let Question { period: Period { from, to, .. }, after, limit, .. } = *question;
    let page = page_of(reader, Query { filters, from, to, after, limit }, evictions)?;
    let timeline = Timeline { rows: page.rows, next: page.next };
    Ok(Doings { timeline, has_name, has_namespace })
}

/// The verbs by which the same is done: whoever lists or watches secrets has read them.
fn covering(verb: &str, target: &Target) -> &'static [&'static str] {
    match verb {
        "create" | "get" if target.upgrades() => &["create", "get"],
        "get" => &["get", "list", "watch"],
        "list" => &["list", "watch"],
        "watch" => &["watch"],
        "delete" => &["delete", "deletecollection"],
        "update" => &["update", "patch"],
        "patch" => &["patch"],
        "create" => &["create"],
        _ => &["deletecollection"],
    }
}

/// Below what, and with which verb, the same is done: whoever evicts a pod deletes it.
fn evicting(verb: &str, target: &Target) -> Option<(&'static str, &'static str)> {
    (verb == "delete" && target.is_all_of("pods")).then_some(("eviction", "create"))
}

impl Doings {
    /// What a row has to do with the object that is asked about, if it does not name it: that it was about more, or that
    /// it may have been about this one among others.
    pub fn remark(&self, row: &Row) -> Option<&'static str> {
        let access = row.access()?;
        let object = access.object.as_ref()?;
        let is_unnamed = self.has_name && object.name.is_none();
        if is_unnamed && access.names_left_out() {
            return Some("it may be among them");
        }
        let is_more = is_unnamed || self.has_namespace && object.namespace.is_none();
        is_more.then_some("covered it")
    }
}

impl Answer for Doings {
    fn json(&self) -> String {
        self.timeline.json()
    }

    fn items(&self) -> Vec<String> {
        self.timeline.items()
    }

    fn is_empty(&self) -> bool {
        self.timeline.is_empty()
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn cells(&self, zone: &TimeZone, format: Format) -> Vec<Vec<String>> {
        let shown = |row: &Row| {
            let mut cells = cells(row, zone);
            if let Some(what) = cells.last_mut()
                && format == Format::Text
                && let Some(remark) = self.remark(row)
            {
                what.push_str(&format!("  [{remark}]"));
            }
            cells
        };
        self.timeline.rows.iter().map(shown).collect()
    }

    fn has_roll_ups(&self) -> bool {
        true
    }

    fn if_empty(&self) -> &'static str {
        self.timeline.if_empty()
    }

    fn next(&self) -> Option<Cursor> {
        self.timeline.next
    }
}
