//! Tokens for SASL OAUTHBEARER by the OAuth 2.0 client-credentials grant.
//!
//! The client library could do this itself only with curl, which the build does without. It asks for
//! a token from the thread that polls it, some time before the last one expires.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::client::OAuthToken;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use crate::{
    engine::{
        text::Secrets,
        yaml::{SecretRef, Section},
    },
    file, tls,
};

/// How long a token endpoint may take: 10 s. The poll loop waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The lifetime assumed when the endpoint does not say: 5 minutes.
const LIFETIME_DEFAULT_SECONDS: u64 = 300;

/// Where tokens come from, as configured under `sasl.oauth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// The token endpoint, `https://…`.
    pub token_url: String,
    /// The client's name; also the Kafka principal that is claimed.
    pub client_id: String,
    /// The client's secret.
    pub client_secret: SecretRef,
    /// Space-separated scopes to ask for.
    pub scopes: Vec<String>,
    /// PEM file of the authority that signed the endpoint's certificate, if it is not a public one.
    pub ca_file: Option<String>,
}

impl OAuth {
    /// Reads `sasl.oauth`; every mistake is reported.
    pub(super) fn parse(section: Section<'_>) -> Option<OAuth> {
        let token_url = section.required_string("token_url", "write the token endpoint's address");
        if let Some(url) = &token_url
            && !url.starts_with("https://")
            && !url.starts_with("http://")
        {
            let title = format!("{} is not a URL", section.path_of("token_url"));
            section.invalid("token_url", title, "it begins with `https://`");
        }
        let client_id = section.required_string("client_id", "write the client's name");
        let client_secret = section.secret("client_secret");
        if client_secret.is_none() {
            section.missing("client_secret", "write `client_secret_file: PATH`");
        }
        let scopes = section.strings("scopes").unwrap_or_default();
        let ca_file = section.string("ca_file");
        section.finish();
        Some(OAuth {
            token_url: token_url?,
            client_id: client_id?,
            client_secret: client_secret?,
            scopes,
            ca_file,
        })
    }
}

/// An [`OAuth`] whose secret has been read.
#[derive(Clone)]
pub(crate) struct TokenSource {
    settings: OAuth,
    client_secret: String,
    client: reqwest::Client,
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource").field("settings", &self.settings).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    expires_in: Option<u64>,
}

impl TokenSource {
    /// Reads the certificate.
    pub(super) fn new(settings: OAuth, client_secret: String) -> Result<TokenSource, String> {
        let client = match &settings.ca_file {
            None => client(Vec::new()),
            Some(path) => file::read(path.as_ref(), file::PEM_BYTES_MAX)
                .map_err(|error| error.to_string())
                .and_then(|pem| client(tls::certificates(&pem)?))
                .map_err(|error| format!("{path}: {error}")),
        };
        Ok(TokenSource { client: client?, settings, client_secret })
    }

    /// Asks the endpoint. The error never holds the secret or a token.
    pub(super) fn fetch(&self) -> Result<OAuthToken, String> {
        // A thread of its own: the caller may be inside an async runtime, where blocking panics.
        std::thread::scope(|scope| scope.spawn(|| self.fetch_blocking()).join())
            .unwrap_or_else(|_| Err("the token request panicked".to_owned()))
            // The endpoint may repeat what it was sent, and the error quote it.
            .map_err(|error| Secrets::of([&self.client_secret]).cut_from(&error))
    }

    fn fetch_blocking(&self) -> Result<OAuthToken, String> {
        let url = &self.settings.token_url;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let answer = runtime.block_on(self.request()).map_err(|error| {
            format!("token endpoint {url}: {}", innermost(&error.without_url()))
        })?;
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(LIFETIME_DEFAULT_SECONDS));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(OAuthToken {
            token: answer.access_token,
            principal_name: self.settings.client_id.clone(),
            lifetime_ms: i64::try_from((now + lifetime).as_millis()).unwrap_or(i64::MAX),
        })
    }

    async fn request(&self) -> Result<TokenAnswer, reqwest::Error> {
        let scope = self.settings.scopes.join(" ");
        let mut form = vec![("grant_type", "client_credentials")];
        if !scope.is_empty() {
            form.push(("scope", scope.as_str()));
        }
        let answer = self
            .client
            .post(&self.settings.token_url)
            .basic_auth(&self.settings.client_id, Some(&self.client_secret))
            .form(&form)
            .send()
            .await?;
        answer.error_for_status()?.json().await
    }
}

fn client(authorities: Vec<CertificateDer<'static>>) -> Result<reqwest::Client, String> {
    tls::http(authorities)?.timeout(TIMEOUT).build().map_err(|error| innermost(&error))
}

/// The error with the cause that people can act on, such as "connection refused".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut text = error.to_string();
    while let Some(next) = cause {
        cause = next.source();
        if cause.is_none() {
            text = format!("{text}: {next}");
        }
    }
    text
}
