//! What a section says about listening: where, with which certificate, and who may ask.

use std::net::IpAddr;

use super::{AccessConfig, CertificateConfig};
use crate::engine::yaml::{SecretRef, Section};

/// The keys `listen`, `tls`, `bearer_token`, `basic_auth` and `insecure` of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfig {
    /// `host:port`; the host may be a name.
    pub listen: String,
    /// TLS, if the section is there.
    pub certificate: Option<CertificateConfig>,
    /// Who may ask.
    pub access: AccessConfig,
    /// Anybody may, from anywhere.
    pub is_insecure: bool,
    /// Whoever uses it asks by itself who they are.
    pub is_guarded: bool,
}

impl WebConfig {
    /// Reads the keys and reports every mistake, an address among them that others could reach without
    /// being asked who they are. `default` is where it listens if the section does not say.
    pub fn parse(section: &Section<'_>, default: &str) -> WebConfig {
        WebConfig::parse_guarded(section, default, false)
    }

    /// The same; `is_guarded` if what is served asks by itself who they are.
    pub fn parse_guarded(section: &Section<'_>, default: &str, is_guarded: bool) -> WebConfig {
        let mut config = WebConfig { is_guarded, ..WebConfig::local(default) };
        config.certificate = section.section("tls").and_then(CertificateConfig::parse);
        let has_tls = section.has("tls");
        config.access = AccessConfig::parse(section);
        config.is_insecure = section.boolean("insecure").unwrap_or(false);
        let Some(listen) = section.string("listen") else { return config };
        match listen_address(&listen) {
            Some(address) => config.listen = address,
            None => section.invalid(
                "listen",
                format!("{} is not an address", section.path_of("listen")),
                "write host and port, such as `127.0.0.1:9464`, or `:9464` for all interfaces",
            ),
        }
        if is_open(&config.listen) && !config.may_be_reached() && !has_tls {
            section.invalid(
                "listen",
                format!(
                    "others can reach {}, and nobody would be asked who they are",
                    section.path_of("listen")
                ),
                format!(
                    "add `tls`, `bearer_token_file` or `basic_auth` to `{path}`, or say `{path}.insecure: true` if the network lets nobody else through",
                    path = section.path()
                ),
            );
        }
        config
    }

    /// Listens there and asks nobody.
    pub fn local(listen: &str) -> WebConfig {
        WebConfig {
            listen: listen.to_owned(),
            certificate: None,
            access: AccessConfig::default(),
            is_insecure: false,
            is_guarded: false,
        }
    }

    /// Whether it may listen where others can reach it.
    pub const fn may_be_reached(&self) -> bool {
        self.certificate.is_some() || !self.access.is_open() || self.is_insecure || self.is_guarded
    }

    /// Whether others can reach it, as far as its address shows.
    pub fn is_reachable(&self) -> bool {
        is_open(&self.listen)
    }

    /// Whether every client must show a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.certificate.as_ref().is_some_and(|config| config.client_ca_file.is_some())
    }

    /// The secrets and files that will be read.
    pub fn secrets(&self) -> Vec<SecretRef> {
        let files = self.certificate.iter().flat_map(CertificateConfig::secrets);
        files.chain(self.access.secrets()).collect()
    }
}

/// `host:port` with the host filled in, if it is an address.
fn listen_address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let bare_ipv6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
    if bare_ipv6 || host.contains(|c: char| c.is_whitespace() || c == '/') {
        return None;
    }
    Some(if host.is_empty() { format!("0.0.0.0:{port}") } else { text.to_owned() })
}

/// Whether others can reach an address. What a name stands for shows only when it is listened on.
fn is_open(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<IpAddr>().is_ok_and(|address| !address.to_canonical().is_loopback())
}
