//! `POST /api/v1/permissions/import`: roles and bindings of a cluster, answered once they are in the ledger.

use std::time::Duration;

use axum::{
    Json,
    extract::{DefaultBodyLimit, Extension, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ServerContext, acts::person, caller::Caller, problem::Problem, status::now};
use crate::{
    archive::{Filter, Query},
    ask::permissions::only_cluster,
    engine::{
        ledger::{Entry, EntryKind},
        permissions::{ImportMistake, import, snapshot_entries},
        time::EventTime,
    },
};

/// Bytes of a request: 16 MiB, several times the list of a large cluster without what nobody needs of it.
const BODY_BYTES_MAX: usize = 16 << 20;

/// How long it waits until the rows are durable: 30 s.
const DURABLE_WAIT: Duration = Duration::from_secs(30);

/// How often it looks meanwhile.
const DURABLE_LOOK: Duration = Duration::from_millis(250);

/// What is brought.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// What `kubectl get … -o json` prints.
    list: Value,
    /// Name of the cluster, as its events have it; the only one of which events came, if it is left out.
    cluster: Option<String>,
    /// When the list was printed; now, if it is left out.
    taken: Option<String>,
    /// Who brings it, where nobody is asked who they are.
    by: Option<String>,
}

#[derive(Serialize)]
struct Kept {
    roles: usize,
    bindings: usize,
    service_accounts: usize,
    rows: usize,
    taken: String,
    /// It was there already.
    again: bool,
}

/// What answers.
pub(super) fn route() -> MethodRouter<ServerContext> {
    post(answer).layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn answer(
    State(context): State<ServerContext>,
    Extension(caller): Extension<Caller>,
    body: Result<Json<Body>, JsonRejection>,
) -> Response {
    let Json(body) = match body {
        Ok(body) => body,
        Err(why) => {
            let hint = "send {\"list\": …, \"cluster\": \"…\"}";
            return Problem::new(why.status(), "bad_request", why.body_text(), hint)
                .into_response();
        }
    };
    match keep(&context, &caller, body).await {
        Ok(kept) => Json(kept).into_response(),
        Err(problem) => problem.into_response(),
    }
}

impl From<ImportMistake> for Problem {
    fn from(mistake: ImportMistake) -> Problem {
        let ImportMistake { place, what, hint } = mistake;
        Problem::new(StatusCode::BAD_REQUEST, "bad_request", format!("{place}: {what}"), hint)
    }
}

async fn keep(context: &ServerContext, caller: &Caller, body: Body) -> Result<Kept, Problem> {
    let Body { list, cluster, taken, by } = body;
    let now = now().as_event();
    let taken = match taken.as_deref().map(EventTime::parse) {
        None => now,
        Some(Some(taken)) => taken.min(now),
        Some(None) => {
            let hint = "write it as 2026-11-29T14:00:00Z";
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                "`taken` is not a time",
                hint,
            ));
        }
    };
    let by = person(caller, by.as_deref()).name;
    let cluster = match cluster {
        Some(cluster) => cluster,
        None => context.desk.ask(move |reader| only_cluster(reader, now)).await?,
    };
    let reading = tokio::task::spawn_blocking(move || {
        let found = import("list", &list.to_string())?;
        let entries = snapshot_entries(&cluster, &by, taken, &found)?;
        Ok::<_, ImportMistake>((entries, found.counts()))
    });
    let broke_down = |_| {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "bad_request",
            "the list could not be read",
            "the log says how",
        )
    };
    let (entries, [roles, bindings, service_accounts]) = reading.await.map_err(broke_down)??;
    let (rows, hash) = (entries.len(), hash_of(&entries));
    let again = is_kept(context, taken, hash.clone(), rows).await?;
    let kept = Kept { roles, bindings, service_accounts, rows, taken: taken.rfc3339(), again };
    if again {
        return Ok(kept);
    }
    for entry in entries {
        context.desk.told(entry).await?;
    }
    let deadline = tokio::time::Instant::now() + DURABLE_WAIT;
    while tokio::time::Instant::now() < deadline {
        if is_kept(context, taken, hash.clone(), rows).await? {
            return Ok(kept);
        }
        tokio::time::sleep(DURABLE_LOOK).await;
    }
    Err(Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not_durable",
        "it is not written, and may be once the store works",
        "see /readyz; send it again with the same `taken`: it is kept once",
    ))
}

fn hash_of(entries: &[Entry]) -> String {
    entries.first().and_then(|entry| entry.fact_of("hash")).unwrap_or("").to_owned()
}

/// Whether all rows of a snapshot are in the ledger: what is there is durable.
async fn is_kept(
    context: &ServerContext,
    taken: EventTime,
    hash: String,
    rows: usize,
) -> Result<bool, Problem> {
    let kept = context.desk.ask(move |reader| {
        let query = Query {
            filters: vec![Filter::Entries(EntryKind::RbacSnapshot)],
            from: taken,
            to: taken.plus(Duration::from_micros(1)),
            after: None,
            limit: 10 * rows + 1_000,
        };
        let page = reader.page(&query)?;
        let parts = page.rows.iter().filter_map(|row| row.entry());
        let own = parts.filter(|entry| entry.fact_of("hash") == Some(&hash));
        let numbers: std::collections::BTreeSet<u64> =
            own.map(|entry| entry.count_of("part")).collect();
        Ok(numbers.len() == rows)
    });
    kept.await
}
