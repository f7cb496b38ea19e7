//! One way to make HTTP requests, and one reading of what came back.
//!
//! Shared settings of all notifiers that speak HTTP: `timeout`, `ca_file`, `proxy_url`,
//! `proxy_from_environment`, and one of `basic_auth` and `bearer_token`. Redirects are not followed: a
//! receiver that moved is a mistake in the configuration, and following would carry secrets to a host
//! that nobody named.

use std::time::Duration;

use reqwest::{
    Client, ClientBuilder, RequestBuilder, Response, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};

use super::{BuildContext, cannot_build, read};
use crate::{
    engine::{
        diagnostic::{Diagnostic, code},
        dispatch::{Address, Outcome, OutcomeReason},
        text,
        yaml::{SecretRef, Section},
    },
    tls,
    web::{SecretSource, basic_auth},
};

/// Bytes of an answer that are read: 64 KiB. What follows is left.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How long the body of an answer is waited for when its status says all: 2 seconds.
const BODY_WAIT: Duration = Duration::from_secs(2);

/// Characters of an answer that are quoted in an outcome's detail.
const QUOTE_CHARACTERS_MAX: usize = 200;

const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// Headers that no setting may change: those with which HTTP says where a message ends and how it travels, and
/// those with which Tripline names and signs it.
const OWNED: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "idempotency-key",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// Settings that all notifiers over HTTP share.
#[derive(Clone)]
pub(super) struct HttpConfig {
    timeout: Duration,
    ca_file: Option<String>,
    proxy_url: Option<SecretRef>,
    proxy_from_environment: bool,
    basic: Option<(String, SecretRef)>,
    bearer: Option<SecretRef>,
    headers: Vec<(String, String)>,
}

/// A client with what goes along with each request.
#[derive(Clone)]
pub(super) struct HttpClient {
    client: Client,
    headers: HeaderMap,
}

/// What a receiver answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    /// At most [`ANSWER_BYTES_MAX`].
    pub(super) body: Vec<u8>,
}

impl HttpConfig {
    /// Reads the shared keys of a section.
    pub(super) fn parse(section: &Section<'_>) -> HttpConfig {
        let timeout = section.duration("timeout").unwrap_or(TIMEOUT_DEFAULT);
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            let title =
                format!("{} must be more than 0 and at most 1m", section.path_of("timeout"));
            section.invalid("timeout", title, "leave it out for 10s");
        }
        let basic = basic_auth(section);
        let bearer = section.secret("bearer_token");
        if basic.is_some() && bearer.is_some() {
            let title = format!("{} has both basic_auth and bearer_token", section.path());
            section.report(
                Diagnostic::error(code::SETTING_TWICE, section.place(), title).help("keep one"),
            );
        }
        let headers = parse_headers(section, basic.is_some() || bearer.is_some());
        let proxy_url = section.secret("proxy_url");
        let proxy_from_environment = section.boolean("proxy_from_environment").unwrap_or(false);
        let ca_file = section.string("ca_file");
        HttpConfig { timeout, ca_file, proxy_url, proxy_from_environment, basic, bearer, headers }
    }

    /// How long one request may take.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn secrets(&self) -> Vec<SecretRef> {
        let ca_file = self.ca_file.clone().map(SecretRef::File);
        let password = self.basic.as_ref().map(|(_, password)| password.clone());
        [ca_file, password, self.bearer.clone(), self.proxy_url.clone()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Reads secrets and certificates.
    pub(super) fn build(&self, secrets: &SecretSource) -> Result<HttpClient, Box<Diagnostic>> {
        let mut builder = self
            .trusting(secrets)?
            .timeout(self.timeout)
            .connect_timeout(self.timeout)
            .redirect(Policy::none())
            .user_agent(concat!("tripline/", env!("CARGO_PKG_VERSION")));
        if !self.proxy_from_environment {
            builder = builder.no_proxy();
        }
        if let Some(url) = &self.proxy_url {
            let url = read(secrets, url, "proxy_url")?;
            let proxy = reqwest::Proxy::all(url)
                .map_err(|_| cannot_build("proxy_url", "it is not the URL of a proxy"))?;
            builder = builder.proxy(proxy);
        }
        let headers = self.build_headers(secrets)?;
        let client = builder.build().map_err(|error| {
            cannot_build("http", &format!("no client can be made: {}", error.without_url()))
        })?;
        Ok(HttpClient { client, headers })
    }

    /// A builder of clients that trust the authorities of `ca_file` too.
    fn trusting(&self, secrets: &SecretSource) -> Result<ClientBuilder, Box<Diagnostic>> {
        let refuse = |why: String| cannot_build("ca_file", &why);
        let authorities = match &self.ca_file {
            None => Vec::new(),
            Some(path) => {
                let pem = read(secrets, &SecretRef::File(path.clone()), "ca_file")?;
                tls::certificates(pem.as_bytes()).map_err(refuse)?
            }
        };
        tls::http(authorities).map_err(refuse)
    }

    fn build_headers(&self, secrets: &SecretSource) -> Result<HeaderMap, Box<Diagnostic>> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value))
            {
                headers.insert(name, value);
            }
        }
        let authorization = if let Some((user, password)) = &self.basic {
            use base64::Engine as _;
            let password = read(secrets, password, "basic_auth.password")?;
            let encoded =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            Some(format!("Basic {encoded}"))
        } else if let Some(token) = &self.bearer {
            Some(format!("Bearer {}", read(secrets, token, "bearer_token")?))
        } else {
            None
        };
        if let Some(text) = authorization {
            let mut value = HeaderValue::from_str(&text).map_err(|_| {
                cannot_build("bearer_token", "it has characters that no header may have")
            })?;
            value.set_sensitive(true);
            headers.insert(reqwest::header::AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

/// Reads `headers`; `is_authorized` if another setting says who asks.
fn parse_headers(section: &Section<'_>, is_authorized: bool) -> Vec<(String, String)> {
    let headers = section.string_map("headers").unwrap_or_default();
    let Some(places) = (!headers.is_empty()).then(|| section.section("headers")).flatten() else {
        return headers;
    };
    let report = |code, name: &str, title: String, help: &str| {
        section.report(Diagnostic::error(code, places.place_of_key(name), title).help(help));
    };
    for (name, value) in &headers {
        let path = places.path_of(name);
        let lower = name.to_ascii_lowercase();
        let is_valid =
            HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok();
        if !is_valid {
            let title = format!("`{name}` is not a header that can be sent");
            let help = "header names and values are one line of ASCII";
            report(code::INVALID_SETTING, name, title, help);
        } else if OWNED.contains(&lower.as_str()) {
            let title = format!("{path} is set by Tripline itself, or by HTTP");
            let help = "leave it out: with another one messages would be cut, dropped or refused";
            report(code::INVALID_SETTING, name, title, help);
        } else if lower == "authorization" && is_authorized {
            let title = format!("{path} stands beside basic_auth or bearer_token");
            report(code::SETTING_TWICE, name, title, "keep one");
        }
    }
    headers
}

impl HttpClient {
    /// A POST with a JSON body.
    pub(super) fn post_json(&self, url: &reqwest::Url, body: Vec<u8>) -> RequestBuilder {
        self.client
            .post(url.clone())
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .headers(self.headers.clone())
            .body(body)
    }
}

/// Sends. `Err` is an outcome: nothing came back. The status stands once it is there, whatever becomes of
/// the body, which is only quoted: it is read as far as it comes soon.
pub(super) async fn send(request: RequestBuilder) -> Result<Answer, Outcome> {
    let mut response = request.send().await.map_err(failed)?;
    let mut answer = Answer::of(&response);
    let read = read_body(&mut response, &mut answer.body);
    if !matches!(tokio::time::timeout(BODY_WAIT, read).await, Ok(Ok(()))) {
        tracing::debug!(status = answer.status.as_u16(), "the body of an answer did not come");
    }
    Ok(answer)
}

/// Like [`send`], for receivers that say in the body of a 2xx what the answer is: without the body nothing
/// came back.
pub(super) async fn ask(request: RequestBuilder) -> Result<Answer, Outcome> {
    let mut response = request.send().await.map_err(failed)?;
    let mut answer = Answer::of(&response);
    let read = read_body(&mut response, &mut answer.body).await;
    if answer.status.is_success() {
        read.map_err(failed)?;
    }
    Ok(answer)
}

async fn read_body(response: &mut Response, body: &mut Vec<u8>) -> Result<(), reqwest::Error> {
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
        if body.len() >= ANSWER_BYTES_MAX {
            break;
        }
    }
    Ok(())
}

fn failed(error: reqwest::Error) -> Outcome {
    let reason =
        if error.is_timeout() { OutcomeReason::Timeout } else { OutcomeReason::Connection };
    // The URL may hold secrets; the innermost cause says best what happened.
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let detail = if reason == OutcomeReason::Timeout {
        "no answer in time".to_owned()
    } else {
        text::one_line(&cause.to_string(), QUOTE_CHARACTERS_MAX)
    };
    Outcome::Retry { reason, detail, after: None }
}

/// `Retry-After` in seconds or as a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    let now = jiff::Timestamp::now();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
}

impl Answer {
    fn of(response: &Response) -> Answer {
        let (status, retry_after) = (response.status(), retry_after(response));
        Answer { status, retry_after, body: Vec::new() }
    }

    /// What the status means: 2xx delivered, 408, 425, 429 and 5xx again soon, anything else refused.
    pub(super) fn outcome(&self) -> Outcome {
        let code = self.status.as_u16();
        if self.status.is_success() {
            return Outcome::Delivered { receipt: None };
        }
        let detail = self.describe();
        let after = self.retry_after;
        match code {
            429 => Outcome::Retry { reason: OutcomeReason::RateLimited, detail, after },
            408 => Outcome::Retry { reason: OutcomeReason::Timeout, detail, after },
            425 | 500.. => Outcome::Retry { reason: OutcomeReason::ServerError, detail, after },
            401 | 403 | 407 => Outcome::Rejected { reason: OutcomeReason::AuthError, detail },
            413 => Outcome::Rejected { reason: OutcomeReason::TooLarge, detail },
            _ => Outcome::Rejected { reason: OutcomeReason::ClientError, detail },
        }
    }

    /// The status and the beginning of the body.
    pub(super) fn describe(&self) -> String {
        let quote =
            text::one_line(String::from_utf8_lossy(&self.body).trim(), QUOTE_CHARACTERS_MAX);
        let note = if self.status.is_redirection() { "; redirects are not followed" } else { "" };
        if quote.is_empty() {
            format!("HTTP {}{note}", self.status.as_u16())
        } else {
            format!("HTTP {}{note}: {quote}", self.status.as_u16())
        }
    }
}

/// A URL that is a secret, or may hold one.
pub(super) struct UrlConfig {
    key: &'static str,
    secret: SecretRef,
}

impl UrlConfig {
    /// Reads `key`, `key_file` or `key_env`; checks it if it stands in the file itself.
    pub(super) fn parse(section: &Section<'_>, key: &'static str) -> Option<UrlConfig> {
        let secret = section.secret(key)?;
        if let SecretRef::Inline(text) = &secret
            && let Err(why) = parse_url(text)
        {
            let title = format!("{} {why}", section.path_of(key));
            section.invalid(key, title, "write all of it: `https://host/path`");
        }
        Some(UrlConfig { key, secret })
    }

    pub(super) fn secret(&self) -> SecretRef {
        self.secret.clone()
    }

    pub(super) fn build(&self, context: &BuildContext) -> Result<reqwest::Url, Box<Diagnostic>> {
        let text = context.read(&self.secret, self.key)?;
        parse_url(text.trim()).map_err(|why| cannot_build(self.key, why))
    }
}

/// Where requests to a URL go: a user and a password in it only say who asks.
pub(super) fn address_of(url: &reqwest::Url) -> Address {
    let mut place = url.clone();
    // They fail only for URLs without a host.
    let _ = (place.set_username(""), place.set_password(None));
    place.set_fragment(None);
    Address::of([place.as_str()])
}

/// An absolute http or https URL, or what is wrong with it, without quoting it.
pub(super) fn parse_url(text: &str) -> Result<reqwest::Url, &'static str> {
    let url = reqwest::Url::parse(text).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://");
    }
    if !url.has_host() {
        return Err("has no host");
    }
    Ok(url)
}
