//! Why there is no answer, as JSON with a code for programs, a message and a hint for people.

use axum::{
    Json,
    http::StatusCode,
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
    "bad_parameter",
    "bad_request",
    "busy",
    "forbidden",
    "ledger_unreadable",
    "ledger_unavailable",
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
    "too_many_alerts",
    "too_many_deeds",
    "too_many_silences",
    "too_many_tries",
    "too_much",
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
