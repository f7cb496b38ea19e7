//! `/api/v1/ledger`: what there is, and where its chain has come to.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{ServerContext, problem::Problem};
use crate::{archive::MonthStatus, engine::ledger::hex_of};

fn view(month: &MonthStatus) -> Value {
    let mut view = json!({
        "month": month.month,
        "bytes": month.bytes,
        "first": month.previous.id + 1,
        "last": month.last.id,
        "head": hex_of(&month.last.head),
    });
    if let (Some(view), Some(rows)) = (view.as_object_mut(), &month.rows) {
        view.insert("rows".to_owned(), json!(rows));
    }
    view
}

/// `GET /api/v1/ledger`. Months of earlier versions have no counts: `tripline ledger status` counts their rows.
pub(super) async fn status(State(context): State<ServerContext>) -> Response {
    let answer = context.desk.ask(|reader| {
        let months: Vec<Value> = reader.heads().iter().map(view).collect();
        let problems: Vec<String> = reader.problems().iter().map(ToString::to_string).collect();
        Ok(json!({
            "months": months,
            "waiting": reader.waiting().count(),
            "holes": reader.holes(),
            "problems": problems,
        }))
    });
    answer.await.map_or_else(Problem::into_response, |body| Json(body).into_response())
}

/// `GET /api/v1/ledger/head`.
pub(super) async fn head(State(context): State<ServerContext>) -> Response {
    let answer = context.desk.ask(|reader| {
        let last = reader.heads().into_iter().next_back().map(|month| month.last);
        let mut last = last.unwrap_or_default();
        reader.waiting().for_each(|row| last.push(&row.line()));
        Ok(json!({ "id": last.id, "head": hex_of(&last.head) }))
    });
    answer.await.map_or_else(Problem::into_response, |body| Json(body).into_response())
}
