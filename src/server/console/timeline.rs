//! `/timeline`: rows in the order of time, by any filter; `/who`: who did something to something; `/object`: what
//! was done to an object, by whom.

use askama::Template;
use axum::{Extension, http::Uri, response::Response};

use super::{
    super::caller::Caller,
    asked::Asked,
    cover::{Hours, hours, unknown},
    frame::{Frame, refuse, seen, show},
    lanes::{Lanes, Line},
    ledger::{Trouble, ask, ask_named, last_rows},
    link::Link,
    view::View,
};
use crate::{
    archive::{Filter, Reader},
    ask::{AskError, Mistake, Parameter, ParameterKind, Target, timeline, who_did},
    engine::{access::Access, kubernetes::verbs::RESOURCE_VERBS, ledger::Row},
};

/// Accesses of an object: 2,000, the latest.
const OBJECT_ROWS: usize = 2_000;

/// Lines of a page: 100. There are further pages.
const LINES_SHOWN: usize = 100;

/// A field of the form, as it is filled in.
struct Field {
    name: &'static str,
    label: &'static str,
    value: String,
}

fn fields(asked: &Asked, names: &[(&'static str, &'static str)]) -> Vec<Field> {
    let field = |(name, label): &(&'static str, &'static str)| Field {
        name,
        label,
        value: asked.get(name).unwrap_or_default().to_owned(),
    };
    names.iter().map(field).collect()
}

#[derive(Template)]
#[template(path = "console/timeline.html", config = "src/html/askama.toml")]
struct TimelinePage {
    frame: Frame,
    action: &'static str,
    verbs: Vec<(&'static str, bool)>,
    fields: Vec<Field>,
    lines: Vec<Line>,
    next: Option<Link>,
    first: Option<Link>,
    is_asked: bool,
    words: &'static str,
    troubles: Vec<Trouble>,
}

/// `/timeline`
pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let read = Asked::read(&uri, timeline::QUESTION.parameters, "24h").and_then(|asked| {
        let mut question = timeline::Question::read(&asked.params, asked.now.as_event())?;
        question.limit = question.limit.min(LINES_SHOWN);
        Ok((asked, question))
    });
    let (asked, question) = match read {
        Ok(read) => read,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let is_first = question.after.is_none();
    let find = move |reader: &Reader| timeline::ask(reader, &question).map(|(found, _)| found);
    let is_nothing = move |found: &timeline::Timeline| is_first && found.rows.is_empty();
    let answer = ask_named(&context, &asked.params, find, is_nothing).await;
    let found = answer.found;
    let next = found.next.map(|next| asked.here().set("after", &next.to_string()));
    if let Err(answer) = seen(&context, &caller, &asked, found.rows.len()) {
        return *answer;
    }
    let page = TimelinePage {
        action: "/timeline",
        verbs: Vec::new(),
        fields: fields(
            &asked,
            &[
                ("actor", "who"),
                ("namespace", "namespace"),
                ("resource", "resource"),
                ("name", "name"),
                ("source", "address"),
                ("credential", "credential"),
                ("permission", "permission"),
                ("class", "class"),
            ],
        ),
        lines: Line::told_apart(
            found.rows.iter().filter_map(|row| Line::of_row(&asked, row)).collect(),
        ),
        next,
        first: asked.get("after").map(|_| asked.here().without("after")),
        is_asked: true,
        words: "Rows in the order of time, the first of the range first.",
        troubles: answer.troubles,
        frame: Frame::new(&context, asked, "/timeline", "Timeline"),
    };
    show(&page)
}

/// `/who`
pub(in crate::server) async fn who(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    // The form alone asks nothing.
    let optional: Vec<Vec<Parameter>> = who_did::QUESTION
        .parameters
        .iter()
        .map(|list| list.iter().map(|one| Parameter { is_required: false, ..*one }).collect())
        .collect();
    let optional: Vec<&[Parameter]> = optional.iter().map(Vec::as_slice).collect();
    let read = Asked::read(&uri, &optional, "24h").and_then(|asked| {
        let is_asked = asked.get("verb").is_some() && asked.get("resource").is_some();
        let question = is_asked
            .then(|| who_did::Question::read(&asked.params, asked.now.as_event()))
            .transpose()?
            .map(|question| who_did::Question {
                limit: question.limit.min(LINES_SHOWN),
                ..question
            });
        Ok((asked, question))
    });
    let (asked, question) = match read {
        Ok(read) => read,
        Err(mistake) => return refuse(&context, uri.path(), mistake),
    };
    let is_asked = question.is_some();
    let is_first = question.as_ref().is_some_and(|question| question.after.is_none());
    let find = move |reader: &Reader| -> Result<_, AskError> {
        let Some(question) = question else { return Ok((Vec::new(), None)) };
        let doings = who_did::ask(reader, &question)?;
        let marked = |row: &Row| (row.clone(), doings.remark(row));
        Ok((doings.timeline.rows.iter().map(marked).collect::<Vec<_>>(), doings.timeline.next))
    };
    let is_nothing = move |(rows, _): &(Vec<(Row, Option<&str>)>, _)| is_first && rows.is_empty();
    let answer = ask_named(&context, &asked.params, find, is_nothing).await;
    let (rows, next) = answer.found;
    let line = |(row, remark): &(Row, Option<&str>)| {
        let mut line = Line::of_row(&asked, row)?;
        line.notes.extend(remark.map(str::to_owned));
        Some(line)
    };
    let chosen = asked.get("verb").unwrap_or("get");
    if let Err(answer) = seen(&context, &caller, &asked, rows.len()) {
        return *answer;
    }
    let page = TimelinePage {
        action: "/who",
        verbs: RESOURCE_VERBS
            .iter()
            .copied()
            .chain(["*"])
            .map(|verb| (verb, verb == chosen))
            .collect(),
        fields: fields(
            &asked,
            &[("resource", "to what"), ("name", "which one"), ("namespace", "in namespace")],
        ),
        lines: Line::told_apart(rows.iter().filter_map(line).collect()),
        next: next.map(|next| asked.here().set("after", &next.to_string())),
        first: asked.get("after").map(|_| asked.here().without("after")),
        is_asked,
        words: "Who read a secret, who deleted a deployment. Lists and watches that covered it count, and what is rolled up without names; both are marked.",
        troubles: answer.troubles,
        frame: Frame::new(&context, asked, "/who", "Who did"),
    };
    show(&page)
}

const PARAMETERS: &[Parameter] = &[
    Parameter::text("resource", "secrets, pods.").required(),
    Parameter::text("namespace", "In which namespace."),
    Parameter::text("name", "Which one."),
    Parameter::of(ParameterKind::Flag, "changes", "Only what changed it."),
];

#[derive(Template)]
#[template(path = "console/object.html", config = "src/html/askama.toml")]
struct ObjectPage {
    frame: Frame,
    title: String,
    lanes: Lanes,
    lines: Vec<Line>,
    total: usize,
    is_cut: bool,
    timeline: Link,
    changes: (bool, Link),
    troubles: Vec<Trouble>,
}

#[derive(Default)]
struct Found {
    rows: Vec<Row>,
    is_cut: bool,
    hours: Hours,
}

/// `/object`
pub(in crate::server) async fn object(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    let read = Asked::read(&uri, &[PARAMETERS], "24h").and_then(|asked| {
        let is_change = asked.params.flag("changes")?;
        Ok::<_, Mistake>((asked, is_change))
    });
    let (asked, is_change) = match read {
        Ok(read) => read,
        Err(mistake) => return refuse(&context, "/who", mistake),
    };
    let text = |name: &str| asked.get(name).map(str::to_owned);
    let resource = text("resource").unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let mut filters = Target::read(&resource).filters(namespace.clone(), name.clone());
    if is_change {
        let changing = ["create", "update", "patch", "delete", "deletecollection"];
        filters.push(Filter::Verbs(changing.map(str::to_owned).to_vec()));
    }
    let range = (asked.from, asked.to);
    let answer = ask(&context, move |reader| {
        let (rows, is_cut) = last_rows(reader, &filters, range, OBJECT_ROWS)?;
        Ok(Found { rows, is_cut, hours: hours(reader, range)? })
    })
    .await;
    let found = answer.found;
    let accesses: Vec<&Access> = found.rows.iter().filter_map(Row::access).collect();
    let unknown = unknown(&asked, range, &found.hours, context.status.read().watermark);
    let mut link = asked.link("/timeline").with("resource", &resource);
    for (key, value) in [("namespace", &namespace), ("name", &name)] {
        if let Some(value) = value {
            link = link.with(key, value);
        }
    }
    let lanes = Lanes::of_actors(&asked, range, accesses.iter().copied(), &unknown);
    let title = [Some(resource), namespace, name].into_iter().flatten().collect::<Vec<_>>();
    let title = title.join(" / ");
    let other = if is_change {
        asked.here().without("changes")
    } else {
        asked.here_with("changes", "true")
    };
    if let Err(answer) = seen(&context, &caller, &asked, accesses.len()) {
        return *answer;
    }
    let page = ObjectPage {
        lanes,
        lines: Line::all(&asked, accesses.iter().copied().rev().take(LINES_SHOWN)),
        total: accesses.len(),
        is_cut: found.is_cut,
        timeline: link.with("from", &range.0.rfc3339()).with("to", &range.1.rfc3339()),
        changes: (is_change, other),
        troubles: answer.troubles,
        frame: Frame::new(&context, asked, "/who", &title),
        title,
    };
    show(&page)
}
