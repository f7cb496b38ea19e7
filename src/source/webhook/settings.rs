//! What `sources: - webhook:` may say.

use std::{net::IpAddr, sync::Arc};

use super::WebhookSource;
use crate::{
    engine::{
        diagnostic::{Diagnostic, code},
        limits::RECORD_BYTES_MAX,
        yaml::{SecretRef, Section},
    },
    source::{Source, SourceConfig, SourceKind},
    web::{AccessConfig, SecretSource, WebConfig},
};

/// Where it listens unless `listen` says otherwise: only to this host.
const LISTEN_DEFAULT: &str = "127.0.0.1:9465";

/// Requests a second and route unless `requests_per_second` says otherwise: 200. An API server sends 10.
const REQUESTS_PER_SECOND_DEFAULT: u32 = 200;

/// A webhook source as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Where it listens, and with which certificate.
    pub web: WebConfig,
    /// Who may post what where; at least one.
    pub routes: Vec<Route>,
    /// Bytes of a body; a larger one is refused.
    pub body_bytes_max: usize,
    /// Requests a second and route; further ones are told to come back.
    pub requests_per_second: u32,
}

/// One cluster that posts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Path of the URL.
    pub path: String,
    /// Name of the cluster that all events come from.
    pub cluster: Option<Arc<str>>,
    /// Who may post.
    pub access: AccessConfig,
}

impl Route {
    /// What its partition is called.
    pub(super) fn topic(&self) -> &str {
        self.cluster.as_deref().unwrap_or(&self.path)
    }
}

/// The line of [`crate::source::SOURCES`].
#[derive(Debug)]
pub struct Webhook;

impl SourceKind for Webhook {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn summary(&self) -> &'static str {
        "API servers push their events here; 200 means that what they caused is durable."
    }

    fn example(&self) -> &'static str {
        "listen: 127.0.0.1:9465\ncluster: prod\n"
    }

    fn parse(&self, section: &Section<'_>) -> Option<Box<dyn SourceConfig>> {
        let web = WebConfig::parse(section, LISTEN_DEFAULT);
        let most = i64::try_from(RECORD_BYTES_MAX).unwrap_or(i64::MAX);
        let body = section.integer("body_bytes_max", 1_024..=most);
        let rate = section.integer("requests_per_second", 1..=100_000);
        let routes = parse_routes(section, &web)?;
        Some(Box::new(WebhookSettings {
            web,
            routes,
            body_bytes_max: body
                .and_then(|bytes| usize::try_from(bytes).ok())
                .unwrap_or(RECORD_BYTES_MAX),
            requests_per_second: rate
                .and_then(|rate| u32::try_from(rate).ok())
                .unwrap_or(REQUESTS_PER_SECOND_DEFAULT),
        }))
    }
}

fn parse_routes(section: &Section<'_>, web: &WebConfig) -> Option<Vec<Route>> {
    let sections = section.sections("clusters");
    let mut routes: Vec<Route> = Vec::new();
    if sections.is_empty() {
        routes.push(parse_route(section, web.access.clone())?);
    } else {
        for key in ["cluster", "path"] {
            if section.has(key) {
                let title = format!("{} is said of each of `clusters`", section.path_of(key));
                section.invalid(key, title, "move it into the entries of `clusters`");
            }
        }
    }
    for entry in sections {
        let own = AccessConfig::parse(&entry);
        let access = if own.is_open() { web.access.clone() } else { own };
        if let Some(route) = parse_route(&entry, access) {
            if routes.iter().any(|known| known.topic() == route.topic()) {
                let title = format!("two entries of `clusters` are called `{}`", route.topic());
                entry.invalid("cluster", title, "give each a name of its own");
            }
            let twin = routes.iter().find(|known| known.path == route.path);
            if twin.is_some_and(|twin| twin.access == route.access) {
                let title = format!("nothing tells who posts to `{}`", route.path);
                let help = "give each cluster a path, or a token, of its own";
                entry.invalid("path", title, help);
            }
            routes.push(route);
        }
        entry.finish();
    }
    let is_open = routes.iter().any(|route| route.access.is_open());
    if is_open && !is_local(&web.listen) && !web.is_insecure && !web.asks_for_certificates() {
        let title = format!("{}: anybody could post events", section.path());
        let help = "add `bearer_token_file`, or `client_ca_file` to `tls`; or say `insecure: true` if \
                    the network lets nobody else through";
        section.invalid("listen", title, help);
    }
    Some(routes)
}

/// Reads path and cluster.
fn parse_route(section: &Section<'_>, access: AccessConfig) -> Option<Route> {
    let path = section.string("path").unwrap_or_else(|| "/".to_owned());
    let is_path =
        path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || "?#".contains(c));
    if !is_path {
        let title = format!("{} is no path of a URL", section.path_of("path"));
        section.invalid("path", title, "it begins with a slash: `/prod`");
        return None;
    }
    let cluster = section.string("cluster").filter(|name| !name.is_empty()).map(Arc::from);
    Some(Route { path, cluster, access })
}

/// Whether only this host reaches an address.
fn is_local(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl SourceConfig for WebhookSettings {
    fn secrets(&self) -> Vec<SecretRef> {
        let of_routes = self.routes.iter().flat_map(|route| route.access.secrets());
        self.web.secrets().into_iter().chain(of_routes).collect()
    }

    fn listen(&self) -> Option<&str> {
        Some(&self.web.listen)
    }

    fn build(&self, secret: &SecretSource) -> Result<Box<dyn Source>, Box<Diagnostic>> {
        let built = WebhookSource::new(self.clone(), secret).map_err(|why| {
            let title = format!("the webhook source cannot be built: {why}");
            Box::new(Diagnostic::error_nowhere(code::SERVER_IMPOSSIBLE, title))
        })?;
        Ok(Box::new(built))
    }
}
