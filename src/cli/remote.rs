//! Asks a running Tripline over HTTP, as those do who have no access to its files.

use std::{ffi::OsStr, path::Path, time::Duration};

use anyhow::Context as _;
use clap::{
    Arg, Command,
    builder::TypedValueParser,
    error::{ContextKind, ContextValue},
};
use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::{
    archive::Cursor,
    ask::{Format, Params, Written},
    engine::text::printable,
};

/// How long the server may take to answer: 40 s, longer than it waits for anything itself.
const ANSWER_WAIT: Duration = Duration::from_secs(40);

/// The variable with a token, if there is no file with one.
const TOKEN_VARIABLE: &str = "TRIPLINE_TOKEN";

/// The variable that names the server. One of two: acts had a name of their own, which is understood still.
pub(super) fn server_variable() -> &'static str {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    if is_set("TRIPLINE_URL") && !is_set("TRIPLINE_SERVER") {
        "TRIPLINE_URL"
    } else {
        "TRIPLINE_SERVER"
    }
}

/// Reads the URL of a server, as an argument. What is wrong is said without a user and a password in it: the variable may
/// have one, and whoever reads what went wrong need not know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerUrl;

impl TypedValueParser for ServerUrl {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        TypedValueParser::parse_ref(&server_url, command, argument, value).map_err(|mut error| {
            let shown = without_user(&value.to_string_lossy());
            error.insert(ContextKind::InvalidValue, ContextValue::String(shown));
            error
        })
    }
}

/// The URL of a server.
///
/// # Errors
/// It is none, or not one of HTTP.
fn server_url(text: &str) -> Result<String, String> {
    let url = reqwest::Url::parse(text).ok();
    match url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        Some(_) => Ok(text.to_owned()),
        None => Err("write it as http://127.0.0.1:9464 or https://tripline.example.org".to_owned()),
    }
}

/// A URL without the user and the password in it, harmless to show. Of what is no URL it is what stands behind the last `@`.
fn without_user(text: &str) -> String {
    let url = reqwest::Url::parse(text).ok().filter(reqwest::Url::has_host);
    let Some(mut url) = url else {
        let shown = text.rsplit_once('@').map(|(_, host)| format!("…@{host}"));
        return printable(shown.as_deref().unwrap_or(text)).into_owned();
    };
    if url.username().is_empty() && url.password().is_none() {
        return printable(text).into_owned();
    }
    // A URL with a host may have both, so both can be taken away.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    printable(url.as_str().trim_end_matches('/')).into_owned()
}

/// A running Tripline.
pub(super) struct Remote {
    base: String,
    /// The same for people: without a user and a password.
    shown: String,
    token: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum RemoteError {
    /// The question is wrong: what was meant.
    Mistake(String),
    /// The server says no, and would say it again.
    Refused(String),
    /// Anything else.
    Other(anyhow::Error),
}

impl From<RemoteError> for anyhow::Error {
    fn from(error: RemoteError) -> anyhow::Error {
        match error {
            RemoteError::Mistake(said) | RemoteError::Refused(said) => anyhow::Error::msg(said),
            RemoteError::Other(error) => error,
        }
    }
}

impl Remote {
    /// At a URL, with the token of a file or of the environment, if there is one.
    pub(super) fn new(url: &str, token_file: Option<&Path>) -> anyhow::Result<Remote> {
        let token = match token_file {
            Some(path) => Some(
                std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?,
            ),
            None => std::env::var(TOKEN_VARIABLE).ok(),
        };
        let token = token
            .map(|token| token.trim_start_matches('\u{feff}').trim().to_owned())
            .filter(|token| !token.is_empty());
        let base = url.trim_end_matches('/').to_owned();
        Ok(Remote { shown: without_user(&base), base, token })
    }

    /// Asks a question, and answers with warnings.
    pub(super) fn ask(
        &self,
        name: &str,
        params: &Params,
        format: Format,
    ) -> Result<(Written, Vec<String>), RemoteError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| RemoteError::Other(error.into()))?;
        let path = format!("/api/v1/{name}");
        let mut pairs: Vec<(&str, &str)> = params.iter().collect();
        pairs.push(("format", format.as_str()));
        let (text, headers) = runtime.block_on(self.get(&path, &pairs))?;
        let header = |name: &str| {
            headers.get_all(name).iter().filter_map(|value| Some(value.to_str().ok()?.to_owned()))
        };
        let next = header("tripline-next").next().and_then(|next| Cursor::parse(&next));
        let warnings = header("tripline-warning").map(|text| printable(&text).into_owned());
        let warnings = warnings.collect();
        Ok((Written { text, next, count: 0 }, warnings))
    }

    /// Gets JSON, or sends JSON and gets what came of it.
    pub(super) fn json(&self, path: &str, body: Option<&Value>) -> Result<Value, RemoteError> {
        let other = RemoteError::Other;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| other(error.into()))?;
        let (text, _) = runtime.block_on(self.send(path, &[], body))?;
        serde_json::from_str(&text).context("the answer is no JSON").map_err(other)
    }

    async fn get(
        &self,
        path: &str,
        pairs: &[(&str, &str)],
    ) -> Result<(String, HeaderMap), RemoteError> {
        self.send(path, pairs, None).await
    }

    async fn send(
        &self,
        path: &str,
        pairs: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(String, HeaderMap), RemoteError> {
        let other = RemoteError::Other;
        let client = crate::tls::http(Vec::new()).map_err(|why| other(anyhow::Error::msg(why)))?;
        let client = client.timeout(ANSWER_WAIT).build().map_err(|error| other(error.into()))?;
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.base), pairs)
            .with_context(|| format!("{} is not a URL", self.shown))
            .map_err(other)?;
        let mut request = match body {
            None => client.get(url),
            Some(body) => client.post(url).json(body),
        };
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("Tripline at {} does not answer", self.shown))
            .map_err(other)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.map_err(|error| other(error.into()))?;
        if status.is_success() {
            return Ok((text, headers));
        }
        let said = said(&text);
        if status == reqwest::StatusCode::BAD_REQUEST {
            return Err(RemoteError::Mistake(said));
        }
        let said = format!("Tripline at {}: {said}", self.shown);
        if status.is_client_error() {
            return Err(RemoteError::Refused(said));
        }
        Err(other(anyhow::Error::msg(said)))
    }
}

/// What a refusal says, harmless.
pub(super) fn said(text: &str) -> String {
    let body: Option<Value> = serde_json::from_str(text).ok();
    let part = |name: &str| body.as_ref()?.get(name)?.as_str().filter(|part| !part.is_empty());
    let said = match (part("message"), part("hint")) {
        (Some(message), Some(hint)) => format!("{message}; {hint}"),
        (Some(message), None) => message.to_owned(),
        (None, _) => text.trim().to_owned(),
    };
    printable(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_shown_of_a_user_and_a_password() {
        for (text, shown) in [
            ("http://127.0.0.1:9464", "http://127.0.0.1:9464"),
            ("https://u:secret@h:1/path/", "https://h:1/path"),
            ("https://secret@h", "https://h"),
            ("ftp://u:secret@h", "ftp://h"),
            ("http://u:sec@ret@h", "http://h"),
            ("http://u:secret@h:99999", "…@h:99999"),
            ("http://u:sec/ret@h", "…@h"),
            ("u:secret@h:9464", "…@h:9464"),
            ("http://u:secret@", "…@"),
            ("h:9464", "h:9464"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("", ""),
        ] {
            assert_eq!(without_user(text), shown, "{text}");
        }
    }
}
