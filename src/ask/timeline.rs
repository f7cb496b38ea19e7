//! What happened, in the order of time.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

use super::{
    Answer, AskError, Asked, CLUSTER, Format, Mistake, PAGE, PERIOD, Parameter, ParameterKind,
    Params, Period, QuestionKind, Target,
    answer::json_of,
    check_known,
    names::check_verb,
    of_cluster,
    table::{COLUMNS, cells},
};
use crate::{
    archive::{Cursor, Filter, Page, Query, Reader},
    engine::{
        access::Outcome,
        alert::shown_value,
        kubernetes::verbs::VERBS,
        ledger::{About, EntryKind, Line, Row},
        text::printable,
        time::EventTime,
    },
};

/// By which name it is asked.
pub const QUESTION: QuestionKind = QuestionKind {
    name: "timeline",
    about: "What somebody did, or what was done to something, with alerts between. A roll-up counts if one of its requests \
            lies in the time; it stands where its first was, and comes when its time is over.",
    parameters: &[PARAMETERS, CLUSTER, PERIOD, PAGE],
    ask: |reader, params, now| {
        let question = Question::read(params, now)?;
        let (timeline, period) = ask(reader, &question)?;
        Ok(Asked { answer: Box::new(timeline), period })
    },
};

/// How long before and after an alert is looked at, unless somebody says otherwise.
const AROUND: &str = "30m";

const PARAMETERS: &[Parameter] = &[
    Parameter::text("actor", "Who acted, or on whose behalf."),
    Parameter::text("resource", "To what: secrets, pods/exec, deployments.apps."),
    Parameter::text("name", "To which one; needs `resource`."),
    Parameter::text("namespace", "In which namespace."),
    Parameter::text("source", "From which address."),
    Parameter::text("credential", "With which credential."),
    Parameter::text("permission", "By which permission: RoleBinding shop/edit, system:masters."),
    Parameter::text("class", "Of which class."),
    Parameter::text("verb", "With which verb: get, list, create."),
    Parameter::text("outcome", "With which outcome: success, denied, error."),
    Parameter::text("alert", "Around the alert with this fingerprint, or its beginning."),
    Parameter::of(ParameterKind::Span, "around", "How long before and after the alert: 30m."),
];

/// What is asked. Changes of alerts about the actor, address, credential, object or namespace stand between.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which time, unless an alert says it.
    pub period: Period,
    /// Who acted, or on whose behalf.
    pub actor: Option<String>,
    /// From which address.
    pub source: Option<String>,
    /// With which credential.
    pub credential: Option<String>,
    /// By which permission.
    pub permission: Option<String>,
    /// What else rows must be.
    pub filters: Vec<Filter>,
    /// The fingerprint of an alert, and how long before and after it is looked at.
    pub around: Option<(String, std::time::Duration)>,
    /// Behind which row.
    pub after: Option<Cursor>,
    /// How many rows.
    pub limit: usize,
}

/// Rows in the order of time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// The rows.
    #[serde(serialize_with = "lines")]
    pub rows: Vec<Row>,
    /// Where the next page begins.
    #[serde(serialize_with = "shown")]
    pub next: Option<Cursor>,
}

fn lines<S: Serializer>(rows: &[Row], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(Line))
}

/// A cursor as the text that it is asked by.
#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
pub(super) fn shown<S: Serializer>(
    next: &Option<Cursor>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match next {
        Some(next) => serializer.collect_str(next),
        None => serializer.serialize_none(),
    }
}

impl Question {
    /// Reads it.
    ///
    /// # Errors
    /// What cannot be used.
    pub fn read(params: &Params, now: EventTime) -> Result<Question, Mistake> {
        let around = match params.owned("alert") {
            None if params.text("around").is_some() => {
                return Err(Mistake::bad("`around` needs `alert`", "around which one?"));
            }
            None => None,
            Some(_) if ["since", "from", "to"].iter().any(|name| params.text(name).is_some()) => {
                return Err(Mistake::bad(
                    "`alert` says which time is meant, and so does another parameter",
                    "write `around`, or leave `alert` out",
                ));
            }
            Some(alert) => {
                let span = params.text("around").unwrap_or(AROUND);
                Some((alert, super::params::span_of(span)?))
            }
        };
        let mut filters: Vec<Filter> = of_cluster(params).into_iter().collect();
        match (params.owned("resource"), params.owned("namespace"), params.owned("name")) {
            (Some(resource), namespace, name) => {
                filters.extend(Target::read(&resource).filters(namespace, name));
            }
            (None, _, Some(_)) => {
                return Err(Mistake::bad("`name` needs `resource`", "the name of what?"));
            }
            (None, namespace, None) => filters.extend(namespace.map(Filter::Namespace)),
        }
        filters.extend(params.owned("class").map(Filter::Class));
        if let Some(verb) = params.owned("verb") {
            check_verb(&verb, VERBS)?;
            filters.push(Filter::Verbs(vec![verb]));
        }
        filters.extend(params.one_of("outcome", &Outcome::WORDS)?.map(Filter::Outcome));
        Ok(Question {
            period: Period::read(params, now, "24h")?,
            actor: params.owned("actor"),
            source: params.owned("source"),
            credential: params.owned("credential"),
            permission: params.owned("permission"),
            filters,
            around,
            after: params.after()?,
            limit: params.limit()?,
        })
    }

    /// The filters that an index helps with first.
    fn all_filters(&self, reader: &Reader) -> Result<Vec<Filter>, AskError> {
        let mut filters = Vec::new();
        for (columns, what, text, filter) in [
            (&["actor", "behalf"][..], "actor", &self.actor, Filter::Actor as fn(String) -> Filter),
            (&["source"], "address", &self.source, Filter::Source),
            (&["credential"], "credential", &self.credential, Filter::Credential),
            (&["permission"], "permission", &self.permission, Filter::Permission),
        ] {
            let Some(text) = text else { continue };
            check_known(reader, columns, what, text)?;
            filters.push(filter(text.clone()));
        }
        filters.extend(self.filters.iter().cloned());
        Ok(filters)
    }
}

/// Whom and what rows are about, if filters say so: alerts about these stand between. Class and permission are of
/// accesses alone.
fn about(filters: &[Filter]) -> Option<About> {
    let mut about = About::default();
    let shown = |text: String| shown_value(&text).into_owned();
    for filter in filters.iter().cloned() {
        match filter {
            Filter::Actor(actor) => about.actor = Some(shown(actor)),
            Filter::Source(source) => about.source = Some(shown(source)),
            Filter::Credential(id) => about.credential = Some(shown(id)),
            Filter::Namespace(namespace) => about.namespace = Some(shown(namespace)),
            Filter::Cluster(cluster) => about.cluster = Some(shown(cluster)),
            Filter::Object { resource, namespace, name } => {
                about.resource = Some(shown(resource));
                (about.namespace, about.name) = (namespace.map(shown), name.map(shown));
            }
            Filter::Group(group) => about.group = Some(shown(group)),
            Filter::Subresource(below) => about.subresource = Some(shown(below)),
            _ => {}
        }
    }
    about.is_any().then_some(about)
}

/// Answers, with the time that was looked at. Cost: a page, and a look at each change of an alert in its time.
///
/// # Errors
/// A name that no row has, an alert that there is not, or a ledger that cannot be read.
pub fn ask(reader: &Reader, question: &Question) -> Result<(Timeline, Period), AskError> {
    let filters = question.all_filters(reader)?;
    let mut period = question.period.clone();
    if let Some((fingerprint, span)) = &question.around {
        let (first, last) = times_of(reader, fingerprint)?;
        (period.from, period.to) = (first.minus(*span), last.plus(*span));
    }
    let Question { after, limit, .. } = *question;
    let (from, to) = (period.from, period.to);
    let about = about(&filters).map(|about| vec![Filter::Alerts(about)]);
    let page = page_of(reader, Query { filters, from, to, after, limit }, about)?;
    Ok((Timeline { rows: page.rows, next: page.next }, period))
}

/// A page of the rows that a query wants, and of those of its time that other filters let through.
pub(super) fn page_of(
    reader: &Reader,
    mut query: Query,
    others: Option<Vec<Filter>>,
) -> Result<Page, AskError> {
    let page = reader.page(&query)?;
    let Some(others) = others else { return Ok(page) };
    if let Some(next) = page.next {
        // What lies behind the page is on another one.
        query.to = EventTime::from_micros(next.at.saturating_add(1)).min(query.to);
    }
    query.filters = others;
    let limit = query.limit;
    Ok(merged(page, reader.page(&query)?, limit))
}

/// The first rows of two pages that begin at the same place, whichever of them has them.
fn merged(one: Page, other: Page, limit: usize) -> Page {
    let mut has_more = one.next.is_some() || other.next.is_some();
    let mut rows = one.rows;
    rows.extend(other.rows);
    rows.sort_by_key(Cursor::behind);
    has_more |= rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(Cursor::behind);
    Page { rows, next }
}

/// When an alert was heard of first, and last.
fn times_of(reader: &Reader, asked: &str) -> Result<(EventTime, EventTime), AskError> {
    let beginning = asked.to_ascii_lowercase();
    let mut times: BTreeMap<String, (EventTime, EventTime)> = BTreeMap::new();
    reader.each_of(&[Filter::Entries(EntryKind::Alert)], |row| {
        if let Some(entry) = row.entry().filter(|entry| entry.subject.starts_with(&beginning)) {
            let known = times.entry(entry.subject.clone()).or_insert((row.at(), row.at()));
            known.1 = row.at();
        }
    })?;
    let beginning = printable(asked);
    let mut found = times.iter();
    let (message, hint) = match (found.next(), found.next()) {
        (Some((_, times)), None) => return Ok(*times),
        (Some((one, _)), Some((other, _))) => (
            format!(
                "the ledger has several alerts whose fingerprint begins with `{beginning}`: {one}, {other} …"
            ),
            "write more of it",
        ),
        (None, _) => (
            format!("the ledger has no alert with the fingerprint `{beginning}`"),
            "`tripline alerts list` and every notification show them",
        ),
    };
    Err(Mistake { code: "unknown_name", message, hint: hint.to_owned() }.into())
}

impl Answer for Timeline {
    fn json(&self) -> String {
        json_of(self)
    }

    fn items(&self) -> Vec<String> {
        self.rows.iter().map(Row::line).collect()
    }

    fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn columns(&self) -> &'static [&'static str] {
        &COLUMNS
    }

    fn cells(&self, zone: &TimeZone, _: Format) -> Vec<Vec<String>> {
        self.rows.iter().map(|row| cells(row, zone)).collect()
    }

    fn has_roll_ups(&self) -> bool {
        true
    }

    fn if_empty(&self) -> &'static str {
        "nothing in this time; `tripline coverage` says what was seen"
    }

    fn next(&self) -> Option<Cursor> {
        self.next
    }
}
