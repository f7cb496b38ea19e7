//! An app of Slack that hears what people click in its messages: how its requests are known, and the two
//! calls that answer one. Who clicked, and what comes of it, is not known here.

use std::net::IpAddr;

use reqwest::Url;
use serde_json::{Value, json};

use super::http::{self, HttpConfig};
use crate::{
    engine::{dispatch::Outcome, text, yaml::SecretRef},
    web::SecretSource,
};

/// Characters of an answer.
const ANSWER_CHARACTERS_MAX: usize = 2_900;

/// An app, as its receiver is configured.
#[derive(Clone)]
pub struct SlackApp {
    pub(super) signing_secret: SecretRef,
    pub(super) token: SecretRef,
    pub(super) api_url: String,
    pub(super) http: HttpConfig,
}

impl SlackApp {
    /// What Slack signs requests of this app with.
    pub fn signing_secret(&self) -> SecretRef {
        self.signing_secret.clone()
    }

    /// Shows a form to whoever clicked; the trigger came with the click.
    ///
    /// # Errors
    /// Why not, without secrets.
    pub async fn open(
        &self,
        read: &SecretSource,
        trigger: &str,
        view: &Value,
    ) -> Result<(), String> {
        let url = format!("{}/views.open", self.api_url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|_| "api_url is not a URL".to_owned())?;
        let body = json!({"trigger_id": trigger, "view": view});
        let token = read(&self.token)?;
        let answer = self.post(read, &url, &body, Some(&token)).await?;
        let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.get("ok") == Some(&json!(true)) {
            return Ok(());
        }
        let word = answer.get("error").and_then(Value::as_str).unwrap_or("no error named");
        Err(format!("Slack says {}", text::one_line(word, 80)))
    }

    /// Says something to whoever clicked, and to nobody else. The URL came with the click; it must be one of
    /// the Slack that is configured, whoever signed it.
    ///
    /// # Errors
    /// Why not, without secrets.
    pub async fn answer(&self, read: &SecretSource, url: &str, words: &str) -> Result<(), String> {
        let api = Url::parse(&self.api_url).map_err(|_| "api_url is not a URL".to_owned())?;
        let url = Url::parse(url).ok().filter(|url| is_of(url, &api));
        let url = url.ok_or_else(|| "the URL for answers is not one of `api_url`".to_owned())?;
        let words = text::cut(words, ANSWER_CHARACTERS_MAX);
        let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let body = json!({"response_type": "ephemeral", "replace_original": false, "text": words});
        self.post(read, &url, &body, None).await.map(drop)
    }

    async fn post(
        &self,
        read: &SecretSource,
        url: &Url,
        body: &Value,
        token: Option<&str>,
    ) -> Result<http::Answer, String> {
        let client = self.http.build(read).map_err(|problem| problem.title)?;
        let body = serde_json::to_vec(body).expect("JSON is plain text");
        let mut request = client.post_json(url, body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let failed = |outcome| match outcome {
            Outcome::Retry { detail, .. } | Outcome::Rejected { detail, .. } => detail,
            Outcome::Delivered { .. } => String::new(),
        };
        let answer = http::ask(request).await.map_err(failed)?;
        // What it quotes of an answer may be what we sent.
        let secrets = text::Secrets::of([url.as_str(), token.unwrap_or_default()]);
        if answer.status.is_success() {
            Ok(answer)
        } else {
            Err(secrets.cut_from(&answer.describe()))
        }
    }
}

/// Whether a URL belongs to the Slack of an API: the same host, or `hooks.` before it, over the same port in the
/// same way.
fn is_of(url: &Url, api: &Url) -> bool {
    let (Some(host), Some(api_host)) = (url.host_str(), api.host_str()) else { return false };
    let is_host = host == api_host || host.strip_prefix("hooks.") == Some(api_host);
    let has_user = !url.username().is_empty() || url.password().is_some();
    let port = Url::port_or_known_default;
    is_host && !has_user && url.scheme() == api.scheme() && port(url) == port(api)
}

/// Whether Slack could reach this URL: it is not one of this machine alone.
pub fn could_reach(external_url: &str) -> bool {
    let Ok(url) = Url::parse(external_url) else { return false };
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) => !address.is_loopback() && !address.is_unspecified(),
        Err(_) => host != "localhost" && !host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_the_slack_that_is_configured() {
        let is_of =
            |url: &str, api: &str| is_of(&Url::parse(url).unwrap(), &Url::parse(api).unwrap());
        let slack = "https://slack.com/api";
        assert!(is_of("https://hooks.slack.com/actions/T1/2/3", slack));
        assert!(is_of("https://slack.com/x", slack));
        assert!(is_of("https://hooks.slack.com:443/x", slack));
        for url in [
            "http://hooks.slack.com/actions/T1/2/3",
            "https://hooks.slack.com:8443/x",
            "https://slack.com.evil.example/x",
            "https://hooks.slack.com.evil.example/x",
            "https://evil-slack.com/x",
            "https://hooks.hooks.slack.com/x",
            "https://slack.com@evil.example/x",
            "https://a:b@slack.com/x",
            "https://169.254.169.254/latest",
            "file:///etc/passwd",
        ] {
            assert!(!is_of(url, slack), "{url}");
        }
        assert!(!is_of("http://127.0.0.1:81/x", "http://127.0.0.1:80/api"));
    }

    #[test]
    fn slack_cannot_reach_what_is_this_machine() {
        for url in
            ["https://tripline.example.org", "http://10.1.2.3:9464/x", "https://[2001:db8::1]"]
        {
            assert!(could_reach(url), "{url}");
        }
        for url in [
            "http://localhost:9464",
            "http://a.localhost",
            "http://127.0.0.1:9464",
            "http://127.1",
            "http://[::1]:9464",
            "http://[::ffff:127.0.0.1]/",
            "http://0.0.0.0:9464",
            "nonsense",
        ] {
            assert!(!could_reach(url), "{url}");
        }
    }
}
