//! `/permissions`: of each rule that a binding gives, whether it was used; and the smallest role for what
//! somebody did. The same as the command line says, as a table.

use askama::Template;
use axum::{Extension, http::Uri, response::Response};

use super::{
    super::caller::Caller,
    asked::Asked,
    frame::{Frame, refuse, seen, show},
    ledger::{Trouble, ask},
    link::Link,
    view::View,
};
use crate::ask::{Format, Parameter, ParameterKind, QuestionKind, permissions};

/// Lines of the table: 500.
const LINES_SHOWN: usize = 500;

/// A field of the form.
struct Field {
    name: &'static str,
    about: &'static str,
    value: String,
    is_flag: bool,
    is_set: bool,
}

/// An answer as a table.
#[derive(Default)]
struct Table {
    columns: Vec<&'static str>,
    lines: Vec<Vec<String>>,
    total: usize,
    /// What people are shown in its place.
    text: Vec<String>,
    empty: &'static str,
}

#[derive(Template)]
#[template(path = "console/permissions.html", config = "src/html/askama.toml")]
struct PermissionsPage {
    frame: Frame,
    tabs: [(&'static str, Link, bool); 2],
    about: &'static str,
    action: &'static str,
    fields: Vec<Field>,
    is_asked: bool,
    table: Table,
    troubles: Vec<Trouble>,
}

/// `/permissions`
pub(in crate::server) async fn page(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    answer(context, caller, uri, &permissions::grants::QUESTION).await
}

/// `/permissions/role`
pub(in crate::server) async fn role(
    context: View,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Response {
    answer(context, caller, uri, &permissions::role::QUESTION).await
}

async fn answer(context: View, caller: Caller, uri: Uri, kind: &'static QuestionKind) -> Response {
    // The form alone asks nothing that needs more than it has.
    let optional: Vec<Vec<Parameter>> = kind
        .parameters
        .iter()
        .map(|list| list.iter().map(|one| Parameter { is_required: false, ..*one }).collect())
        .collect();
    let optional: Vec<&[Parameter]> = optional.iter().map(Vec::as_slice).collect();
    let asked = match Asked::read(&uri, &optional, "30d") {
        Ok(asked) => asked,
        Err(mistake) => return refuse(&context, "/permissions", mistake),
    };
    let parameters = || kind.parameters.iter().copied().flatten();
    let is_asked = parameters().all(|one| !one.is_required || asked.get(one.name).is_some());
    let (params, now, zone) = (asked.params.clone(), asked.now.as_event(), asked.zone.clone());
    let found = ask(&context, move |reader| {
        if !is_asked {
            return Ok(Table::default());
        }
        let (asked, _) = kind.answer(reader, &params, now)?;
        let cells = asked.answer.cells(&zone, Format::Text);
        let text = asked.answer.text(&zone).unwrap_or_default();
        Ok(Table {
            columns: asked.answer.columns().to_vec(),
            total: cells.len(),
            lines: cells.into_iter().take(LINES_SHOWN).collect(),
            text: text.lines().map(str::to_owned).collect(),
            empty: asked.answer.if_empty(),
        })
    })
    .await;
    if is_asked && let Err(answer) = seen(&context, &caller, &asked, found.found.total) {
        return *answer;
    }
    let is_period = |name: &str| matches!(name, "since" | "from" | "to" | "zone");
    let field = |one: &Parameter| Field {
        name: one.name,
        about: one.about,
        value: asked.get(one.name).unwrap_or_default().to_owned(),
        is_flag: one.kind == ParameterKind::Flag,
        is_set: asked.get(one.name) == Some("true"),
    };
    let is_role = kind.name == permissions::role::QUESTION.name;
    let page = PermissionsPage {
        tabs: [
            ("used and unused", asked.link("/permissions"), !is_role),
            ("suggested role", asked.link("/permissions/role"), is_role),
        ],
        about: kind.about,
        action: if is_role { "/permissions/role" } else { "/permissions" },
        fields: parameters().filter(|one| !is_period(one.name)).map(field).collect(),
        is_asked,
        table: found.found,
        troubles: found.troubles,
        frame: Frame::new(&context, asked, "/permissions", "Permissions"),
    };
    show(&page)
}
