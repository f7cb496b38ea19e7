//! `webhook`: a JSON body to a URL.
//!
//! The body is documented in `json`. Requests follow the Standard Webhooks conventions, so that
//! receivers verify them with a library: `webhook-id` and `webhook-timestamp` (Unix seconds), and, with
//! a `signing_secret`, `webhook-signature: v1,<base64 of HMAC-SHA256 over "id.timestamp.body">`. A
//! secret that begins with `whsec_` is base64 after it, any other is used as it is. `Idempotency-Key`
//! is the id again: the same for every attempt of one notification.

use std::{sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{
    BuildContext, Notifier, NotifierConfig, NotifierKind, NotifyFuture, Terms, cannot_build,
    form::in_form,
    http::{self, HttpClient, HttpConfig, UrlConfig},
    json::{self, NotificationJson},
};
use crate::engine::{
    diagnostic::Diagnostic,
    dispatch::{Address, Notification},
    yaml::{SecretRef, Section},
};

/// The kind.
pub(super) struct Webhook;

struct WebhookConfig {
    url: UrlConfig,
    http: HttpConfig,
    signing_secret: Option<SecretRef>,
}

struct WebhookNotifier {
    url: reqwest::Url,
    client: HttpClient,
    key: Option<Vec<u8>>,
    external_url: Option<String>,
}

impl NotifierKind for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn summary(&self) -> &'static str {
        "Posts each change as JSON to a URL, signed if you like."
    }

    fn example(&self) -> &'static str {
        "url: https://hooks.example.com/tripline\nsigning_secret: ${TRIPLINE_WEBHOOK_SECRET}\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn NotifierConfig>> {
        let url = UrlConfig::parse(section, "url");
        if url.is_none() {
            section.missing("url", "write `url: https://host/path`, or `url_file: PATH`");
        }
        let http = HttpConfig::parse(section);
        let signing_secret = section.secret("signing_secret");
        Some(Box::new(WebhookConfig { url: url?, http, signing_secret }))
    }
}

impl NotifierConfig for WebhookConfig {
    fn terms(&self) -> Terms {
        Terms::machine()
    }

    fn secrets(&self) -> Vec<SecretRef> {
        let mut secrets = self.http.secrets();
        secrets.push(self.url.secret());
        secrets.extend(self.signing_secret.clone());
        secrets
    }

    fn make(&self, context: &BuildContext) -> Result<Arc<dyn Notifier>, Box<Diagnostic>> {
        let key = match &self.signing_secret {
            Some(secret) => Some(signing_key(&context.read(secret, "signing_secret")?)?),
            None => None,
        };
        Ok(Arc::new(WebhookNotifier {
            url: self.url.build(context)?,
            client: self.http.build(&context.secret)?,
            key,
            external_url: context.external_url.clone(),
        }))
    }
}

fn signing_key(secret: &str) -> Result<Vec<u8>, Box<Diagnostic>> {
    match secret.strip_prefix("whsec_") {
        Some(encoded) => STANDARD
            .decode(encoded)
            .map_err(|_| cannot_build("signing_secret", "what follows `whsec_` is not base64")),
        None => Ok(secret.as_bytes().to_vec()),
    }
}

/// The value of `webhook-signature`.
fn signature(key: &[u8], id: &str, timestamp: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

impl Notifier for WebhookNotifier {
    fn address(&self) -> Address {
        http::address_of(&self.url)
    }

    fn notify<'a>(&'a self, notification: &'a Notification) -> NotifyFuture<'a> {
        Box::pin(async move {
            let said = in_form(notification);
            let body = json::to_bytes(&NotificationJson::new(&said, self.external_url.as_deref()));
            let id = notification.id.to_string();
            let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let timestamp = since_epoch.map_or(0, |since| since.as_secs());
            let signature = self.key.as_ref().map(|key| signature(key, &id, timestamp, &body));
            let mut request = self
                .client
                .post_json(&self.url, body)
                .header("idempotency-key", &id)
                .header("webhook-id", &id)
                .header("webhook-timestamp", timestamp);
            if let Some(signature) = signature {
                request = request.header("webhook-signature", signature);
            }
            match http::send(request).await {
                Ok(answer) => answer.outcome(),
                Err(outcome) => outcome,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn the_signature_is_that_of_standard_webhooks() {
        let key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(
            &key,
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
