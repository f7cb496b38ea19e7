//! Why there is no answer, as JSON with a code for programs, a message and a hint for people.

use axum::{
    Json,
    body::to_bytes,
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::ask::{AskError, Mistake};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// A word for programs.
    pub(super) code: &'static str,
    /// What is wrong.
    pub(super) message: String,
    /// What to do; may be empty.
    pub(super) hint: String,
}

/// Every code, for the document of the API.
pub(super) const CODES: &[&str] = &[
    "alert_ended",
    "another_act",
    "bad_parameter",
    "bad_request",
    "busy",
    "forbidden",
    "ledger_unreadable",
    "ledger_unavailable",
    "method_not_allowed",
    "narrow_the_range",
    "no_credentials",
    "not_configured",
    "not_durable",
    "not_found",
    "not_recorded",
    "other_site",
    "silence_ended",
    "silence_matchers",
    "silence_span",
    "stale_form",
    "stopping",
    "store_down",
    "text_too_long",
    "too_large",
    "too_many_alerts",
    "too_many_deeds",
    "too_many_silences",
    "too_many_tries",
    "too_much",
    "too_slow",
    "unknown_alert",
    "unknown_name",
    "unknown_parameter",
    "unknown_silence",
];

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Problem {
        Problem { status, code, message: message.into(), hint: hint.into() }
    }

    /// As a text, for those who asked for no JSON.
    pub(super) fn into_text(self) -> Response {
        let text = match self.hint.as_str() {
            "" => format!("{}\n", self.message),
            hint => format!("{}; {hint}\n", self.message),
        };
        (self.status, text).into_response()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "code": self.code, "message": self.message, "hint": self.hint,
        });
        (self.status, Json(body)).into_response()
    }
}

/// Bytes of a text that says what is wrong: 64 KiB.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Whatever of the API is refused without JSON, as an address that is no UTF-8 is, or a method that a path does not
/// take: with JSON.
pub(super) async fn in_json(request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let answer = next.run(request).await;
    let status = answer.status();
    let is_json = |headers: &HeaderMap| {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        kind.is_some_and(|kind| kind.starts_with("application/json"))
    };
    let is_refused = status.is_client_error() || status.is_server_error();
    if !is_api || !is_refused || is_json(answer.headers()) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let text = to_bytes(body, TEXT_BYTES_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let code = match status {
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::NOT_FOUND => "not_found",
        _ => "bad_request",
    };
    let message = match (text.as_str(), status.canonical_reason()) {
        ("", reason) => reason.unwrap_or("refused").to_owned(),
        (text, _) => text.to_owned(),
    };
    let allowed = head.headers.get(header::ALLOW).and_then(|allowed| allowed.to_str().ok());
    let hint = allowed.map_or_else(
        || "GET /api/v1/openapi.json says what can be asked".to_owned(),
        |allowed| format!("this path takes {allowed}"),
    );
    let mut answer = Problem::new(status, code, message, hint).into_response();
    head.headers.remove(header::CONTENT_TYPE);
    head.headers.remove(header::CONTENT_LENGTH);
    answer.headers_mut().extend(head.headers);
    answer
}

impl From<Mistake> for Problem {
    fn from(mistake: Mistake) -> Problem {
        let Mistake { code, message, hint } = mistake;
        Problem::new(StatusCode::BAD_REQUEST, code, message, hint)
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Problem {
        match error {
            AskError::Mistake(mistake) => mistake.into(),
            AskError::Archive(error) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger_unreadable",
                error.to_string(),
                "`tripline ledger verify` says what is sound",
            ),
        }
    }
}
