//! The document of the API, OpenAPI 3.1: made from the table of routes, and the schemas beside this file.
#![allow(clippy::indexing_slicing, reason = "JSON answers `null` for what is not there")]

use serde_json::{Map, Value, json};

use super::{
    problem::CODES,
    questions::FORMAT,
    route::{Answers, Document, Method, Needs, Route},
};
use crate::ask::{Parameter, ParameterKind};

/// Shapes of bodies and answers, by name.
const SCHEMAS: &str = include_str!("openapi.schemas.json");

/// The document of these routes.
pub(super) fn of(routes: &[Route]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let Some(document) = &route.document else { continue };
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        if let Some(item) = item.as_object_mut() {
            item.insert(method.to_owned(), operation(route, document));
        }
    }
    let schemas: Value = serde_json::from_str(SCHEMAS).expect("the schemas are JSON");
    let mut schemas = schemas;
    if let Some(codes) = schemas.pointer_mut("/Problem/properties/code") {
        codes["enum"] = json!(CODES);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tripline",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What fires, who did what, and how the process is. Times are RFC 3339 in UTC. Parameters that are not named here are errors. A page that has a `next` goes on with `after`.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "Where this document came from." }],
        "security": [{ "token": [] }, { "basic": [] }, { "session": [] }, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "basic": { "type": "http", "scheme": "basic" },
                "session": { "type": "apiKey", "in": "cookie", "name": "__Host-tripline" },
            },
        },
    })
}

fn operation(route: &Route, document: &Document) -> Value {
    let mut parameters: Vec<Value> = names_in(route.path).map(in_path).collect();
    parameters.extend(document.parameters.iter().copied().flatten().map(in_query));
    let is_question = matches!(route.answers, Answers::Question(_));
    if is_question {
        parameters.extend(FORMAT.iter().map(in_query));
    }
    let mut responses = Map::new();
    responses.insert("200".to_owned(), good(document.answer, is_question));
    for (status, about) in problems(route, document) {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        let content = json!({ "application/json": { "schema": schema } });
        responses.insert(status.to_owned(), json!({ "description": about, "content": content }));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": document.about,
        "description": needed(route.needs),
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(body) = document.body {
        let schema = json!({ "$ref": format!("#/components/schemas/{body}") });
        let content = json!({ "application/json": { "schema": schema } });
        operation["requestBody"] = json!({ "required": true, "content": content });
    }
    operation
}

/// `/api/v1/alerts/{fingerprint}` → `fingerprint`.
fn names_in(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn in_path(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
}

fn in_query(parameter: &Parameter) -> Value {
    let schema = match parameter.kind {
        ParameterKind::Number => json!({ "type": "integer", "minimum": 1 }),
        ParameterKind::Flag => json!({ "type": "boolean" }),
        ParameterKind::Span => json!({ "type": "string", "examples": ["24h"] }),
        ParameterKind::Time => json!({ "type": "string", "examples": ["2026-11-29T14:00:00Z"] }),
        ParameterKind::Cursor => json!({ "type": "string", "examples": ["1764424800000000.17"] }),
        ParameterKind::OneOf(words) => json!({ "type": "string", "enum": words }),
        ParameterKind::Text => json!({ "type": "string" }),
    };
    json!({
        "name": parameter.name, "in": "query", "required": parameter.is_required,
        "description": parameter.about, "schema": schema,
    })
}

fn good(answer: &str, is_question: bool) -> Value {
    if answer == "Text" {
        let content = json!({ "text/plain": { "schema": { "type": "string" } } });
        return json!({ "description": "Done, and durable.", "content": content });
    }
    if answer == "Stream" {
        let content = json!({ "text/event-stream": { "schema": { "type": "string" } } });
        return json!({ "description": "Server-sent events.", "content": content });
    }
    let schema = json!({ "$ref": format!("#/components/schemas/{answer}") });
    let mut content = json!({ "application/json": { "schema": schema } });
    if answer == "Report" {
        for media in ["text/html", "text/csv"] {
            content[media] = json!({ "schema": { "type": "string" } });
        }
    }
    if is_question {
        for media in ["application/jsonl", "text/csv", "text/plain"] {
            content[media] = json!({ "schema": { "type": "string" } });
        }
    }
    json!({ "description": "The answer.", "content": content })
}

/// What a route may be answered with beside success.
fn problems(route: &Route, document: &Document) -> Vec<(&'static str, &'static str)> {
    let mut problems = vec![
        ("400", "A parameter is wrong, or there is no such one."),
        ("401", "Nobody, or not who they say."),
        ("403", "Somebody who may not, or another site."),
        ("429", "Too many wrong passwords came from there."),
        ("503", "Busy, or the answer would take too long: narrow the range."),
    ];
    // What acts on alerts names them in its body.
    if route.path.contains('{') || document.body == Some("Act") {
        problems.push(("404", "There is no such thing."));
    }
    if route.method == Method::Post {
        problems.push(("409", "It is so already, or there are too many of them."));
        problems.push(("413", "The body is too large."));
        problems.push(("504", "It is not durable yet."));
    }
    problems.sort_unstable();
    problems
}

fn needed(needs: Needs) -> String {
    match needs {
        Needs::Right(right) => format!("Needs the right `{right:?}`."),
        _ => "Needs no right.".to_owned(),
    }
}

/// `GET /api/v1/alerts/{fingerprint}` → `getAlertsFingerprint`.
fn operation_id(route: &Route) -> String {
    let method = match route.method {
        Method::Get => "get",
        Method::Post => "post",
    };
    let words = route.path.split(['/', '-', '{', '}', '.']).skip(3).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| {
        let mut letters = word.chars();
        let first = letters.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(letters).fold(id, |mut id, c| {
            id.push(c);
            id
        })
    })
}
