//! `/api/v1`: questions to the ledger, answered as on the command line.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    extract::{Query, RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};

use super::{ServerContext, caller::Caller, problem::Problem, status::now};
use crate::{
    ask::{Format, Mistake, Parameter, ParameterKind, Params, QuestionKind, names, write},
    engine::text::printable,
};

const FORMATS: &[&str] = &["text", "json", "jsonl", "csv"];

/// `format`: of all questions.
pub(super) const FORMAT: &[Parameter] = &[Parameter::of(
    ParameterKind::OneOf(FORMATS),
    "format",
    "json, jsonl (the rows as they are in the chain), csv, or text as the command line prints it.",
)];

/// `format`, where there is one alone.
const JSON_ALONE: &[Parameter] =
    &[Parameter::of(ParameterKind::OneOf(&["json"]), "format", "json, which is all there is.")];

/// Refuses what nobody would look at: parameters that a path does not have, and a format in which it does not answer.
///
/// # Errors
/// The first of them.
pub(super) fn check(uri: &Uri, parameters: &[&[Parameter]]) -> Result<(), Problem> {
    let Query(given) = Query::<BTreeMap<String, String>>::try_from_uri(uri)
        .map_err(|why| Mistake::bad(why.body_text(), "write it as NAME=VALUE&NAME=VALUE"))?;
    let format = given.get("format").map_or("json", String::as_str);
    let has_own = parameters.iter().copied().flatten().any(|one| one.name == "format");
    if format != "json" && !has_own {
        let message = format!("`{}` is no format in which this is answered", printable(format));
        let hint =
            "there is json alone; questions to the ledger have others, see /api/v1/openapi.json";
        return Err(Mistake::bad(message, hint).into());
    }
    let alone = (!has_own).then_some(JSON_ALONE);
    let known: Vec<&[Parameter]> = parameters.iter().copied().chain(alone).collect();
    Ok(Params::new(given).check(&known)?)
}

/// What answers a kind of question. What people did is shown to nobody without an entry.
pub(super) fn route(kind: &'static QuestionKind, is_personal: bool) -> MethodRouter<ServerContext> {
    get(
        move |State(context): State<ServerContext>,
              Extension(caller): Extension<Caller>,
              RawQuery(asked): RawQuery,
              Query(given): Query<BTreeMap<String, String>>| async move {
            let personal = is_personal.then(|| asked.unwrap_or_default());
            answer(context, caller, kind, given, personal)
                .await
                .unwrap_or_else(Problem::into_response)
        },
    )
}

async fn answer(
    context: ServerContext,
    caller: Caller,
    kind: &'static QuestionKind,
    mut given: BTreeMap<String, String>,
    personal: Option<String>,
) -> Result<Response, Problem> {
    let format = given.remove("format").map_or(Ok(Some(Format::Json)), |word| {
        Params::default().with("format", Some(word)).one_of("format", &Format::WORDS)
    })?;
    let format = format.unwrap_or(Format::Json);
    let params = Params::new(given);
    let rules = Arc::clone(&context.status.read().rules);
    let now = now().as_event();
    let (written, warnings) = context
        .desk
        .ask(move |reader| {
            let (asked, warnings) = kind.answer(reader, &params, now)?;
            if let Some(rule) = params.text("rule").filter(|_| asked.answer.is_empty()) {
                names::check_rule(reader, &rules, rule)?;
            }
            Ok((write(&asked, format, &warnings), warnings))
        })
        .await?;
    if let Some(asked) = personal {
        context.desk.viewed(&caller, kind.name, &asked, written.count)?;
    }
    let mut headers = HeaderMap::new();
    let media = match format {
        Format::Json => "application/json",
        Format::Jsonl => "application/jsonl",
        Format::Csv => "text/csv; charset=utf-8",
        Format::Text => "text/plain; charset=utf-8",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    let next = written.next.map(|next| ("tripline-next", next.to_string()));
    let warnings = warnings.into_iter().map(|text| ("tripline-warning", text));
    for (name, text) in next.into_iter().chain(warnings) {
        let text: String = printable(&text).chars().filter(char::is_ascii).collect();
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    Ok((headers, written.text).into_response())
}
