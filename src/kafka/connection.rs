//! How to reach a Kafka cluster: brokers, TLS, credentials, and any property of the library.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

use super::{Callbacks, OAuth, ReadSecret, oauth::TokenSource, property::name_of};
use crate::{
    engine::yaml::{SecretRef, Section},
    file,
    web::{SecretSource, hash_of},
};

/// A connection as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// `host:port` of some brokers; the others are found through them.
    pub brokers: Vec<String>,
    /// TLS, if the section is there.
    pub tls: Option<Tls>,
    /// Credentials, if the section is there.
    pub sasl: Option<Sasl>,
    /// Properties of librdkafka, passed through. They win over our defaults, never over what has a
    /// setting of its own.
    pub properties: BTreeMap<String, String>,
}

/// TLS, in the words of Prometheus' `tls_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities that may sign the brokers' certificates; else the system's.
    pub ca_file: Option<String>,
    /// PEM file of the client's certificate.
    pub cert_file: Option<String>,
    /// PEM file of the client's key.
    pub key_file: Option<String>,
    /// Password of the key.
    pub key_password: Option<SecretRef>,
    /// Takes any certificate. For trying things out only.
    pub insecure_skip_verify: bool,
}

/// Credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sasl {
    /// PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
    Password {
        /// As Kafka spells it.
        mechanism: &'static str,
        /// The user.
        username: String,
        /// The password.
        password: SecretRef,
    },
    /// OAUTHBEARER with tokens from an OAuth 2.0 endpoint.
    OAuthBearer(OAuth),
}

/// Mechanisms that the build supports. Kerberos would need system libraries.
const MECHANISMS: [(&str, &str); 4] = [
    ("PLAIN", "PLAIN"),
    ("SCRAM-SHA-256", "SCRAM-SHA-256"),
    ("SCRAM-SHA-512", "SCRAM-SHA-512"),
    ("OAUTHBEARER", "OAUTHBEARER"),
];

/// Properties with a setting of their own, and which.
const OWN_SETTINGS: [(&str, &str); 17] = [
    ("bootstrap.servers", "write `brokers`"),
    ("security.protocol", "write a `tls:` section, a `sasl:` section, or both"),
    ("ssl.ca.location", "write `tls: {ca_file: PATH}`"),
    ("ssl.certificate.location", "write `tls: {cert_file: PATH}`"),
    ("ssl.key.location", "write `tls: {key_file: PATH}`"),
    ("ssl.key.password", "write `tls: {key_password_file: PATH}`"),
    ("enable.ssl.certificate.verification", "write `tls: {insecure_skip_verify: true}`"),
    ("sasl.mechanism", "write `sasl: {mechanism: …}`"),
    ("sasl.username", "write `sasl: {username: …}`"),
    ("sasl.password", "write `sasl: {password_file: PATH}`"),
    ("sasl.oauthbearer.method", "write `sasl: {mechanism: OAUTHBEARER, oauth: …}`"),
    ("sasl.oauthbearer.config", "write `sasl: {mechanism: OAUTHBEARER, oauth: …}`"),
    ("sasl.oauthbearer.client.id", "write `sasl: {oauth: {client_id: …}}`"),
    ("sasl.oauthbearer.client.secret", "write `sasl: {oauth: {client_secret_file: PATH}}`"),
    ("sasl.oauthbearer.token.endpoint.url", "write `sasl: {oauth: {token_url: …}}`"),
    ("sasl.oauthbearer.scope", "write `sasl: {oauth: {scopes: […]}}`"),
    ("log.queue", "Tripline forwards the library's log to its own"),
];

impl Connection {
    /// A plain connection to some brokers.
    pub fn new(brokers: Vec<String>) -> Connection {
        Connection { brokers, ..Connection::default() }
    }

    /// Reads the keys `brokers`, `tls`, `sasl` and `properties` of a section, and reports every
    /// mistake. `owned` are further properties that the caller decides, each with a hint.
    pub fn parse(section: &Section<'_>, owned: &[(&str, &str)]) -> Option<Connection> {
        let brokers = parse_brokers(section);
        let tls = section.section("tls").map(parse_tls);
        let sasl = section.section("sasl").map(parse_sasl);
        let properties = parse_properties(section, owned);
        let sasl = match sasl {
            Some(None) => return None,
            Some(sasl) => sasl,
            None => None,
        };
        Some(Connection { brokers: brokers?, tls, sasl, properties: properties? })
    }

    /// Whether both lead to one cluster, as far as can be seen: some address is named in both.
    pub fn meets(&self, other: &Connection) -> bool {
        let is_theirs = |one: &String| other.brokers.iter().any(|it| it.eq_ignore_ascii_case(one));
        self.brokers.iter().any(is_theirs)
    }

    /// The secrets that [`Connection::open`] will ask for.
    pub fn secrets(&self) -> Vec<SecretRef> {
        let key_password = self.tls.as_ref().and_then(|tls| tls.key_password.clone());
        let sasl = self.sasl.as_ref().map(|sasl| match sasl {
            Sasl::Password { password, .. } => password.clone(),
            Sasl::OAuthBearer(oauth) => oauth.client_secret.clone(),
        });
        key_password.into_iter().chain(sasl).collect()
    }

    /// Certificates and keys that the library reads itself when a client is made.
    pub fn files(&self) -> Vec<String> {
        let tls = self.tls.iter();
        tls.flat_map(|tls| [&tls.ca_file, &tls.cert_file, &tls.key_file])
            .filter_map(Clone::clone)
            .collect()
    }

    /// Reads secrets and makes what clients are created from. Nothing is connected yet.
    ///
    /// # Errors
    /// What is wrong, for people: a secret that cannot be read, a certificate that is none.
    pub fn open(&self, secret: ReadSecret<'_>) -> Result<OpenConnection, String> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("client.id", "tripline");
        config.set("socket.keepalive.enable", "true");
        // At most 5 s pass until a broker that came back is tried again; the default is 10 s.
        config.set("reconnect.backoff.max.ms", "5000");
        config.set("bootstrap.servers", self.brokers.join(","));
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            set_tls(&mut config, tls, secret)?;
        }
        let tokens = match &self.sasl {
            None => None,
            Some(Sasl::Password { mechanism, username, password }) => {
                config.set("sasl.mechanisms", *mechanism).set("sasl.username", username);
                config.set("sasl.password", secret(password)?);
                None
            }
            Some(Sasl::OAuthBearer(oauth)) => {
                config.set("sasl.mechanisms", "OAUTHBEARER");
                Some(TokenSource::new(oauth.clone(), secret(&oauth.client_secret)?)?)
            }
        };
        Ok(OpenConnection { config, properties: self.properties.clone(), tokens, origin: None })
    }

    /// As [`Connection::open`], for a connection that goes on when secrets and certificates change on disk:
    /// [`OpenConnection::renewed`].
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn open_to_renew(&self, secret: SecretSource) -> Result<OpenConnection, String> {
        // What changes in between is seen at the next look.
        let content = self.content(&secret);
        let open = self.open(&*secret)?;
        let connection = self.clone();
        let origin = Origin { connection, secret, content, unusable: Mutex::new(None) };
        Ok(OpenConnection { origin: Some(Arc::new(origin)), ..open })
    }

    fn content(&self, secret: &SecretSource) -> [u8; 32] {
        hash_of(secret, &self.secrets(), &self.files())
    }
}

/// What clients are created from. It holds secrets and must not be printed.
#[derive(Clone)]
pub struct OpenConnection {
    config: ClientConfig,
    properties: BTreeMap<String, String>,
    tokens: Option<TokenSource>,
    /// What it was made from, if that is looked at again.
    origin: Option<Arc<Origin>>,
}

/// Where secrets and certificates of an open connection come from.
struct Origin {
    connection: Connection,
    secret: SecretSource,
    /// A hash of what they held.
    content: [u8; 32],
    /// A hash of what nothing could be made from, so that it is said once.
    unusable: Mutex<Option<[u8; 32]>>,
}

impl OpenConnection {
    /// The connection with what secrets and certificates hold now, if that is something else than before,
    /// and can be used. What cannot be is said once in the log. Blocks the thread for the disk.
    pub fn renewed(&self) -> Option<OpenConnection> {
        let origin = self.origin.as_ref()?;
        let found = origin.connection.content(&origin.secret);
        let mut unusable = origin.unusable.lock().unwrap_or_else(PoisonError::into_inner);
        if found == origin.content || *unusable == Some(found) {
            return None;
        }
        match origin.connection.open_to_renew(Arc::clone(&origin.secret)) {
            Ok(open) => Some(open),
            Err(why) => {
                tracing::error!("Kafka: {why}; going on with what was there before");
                *unusable = Some(found);
                None
            }
        }
    }

    /// The configuration of one client: `defaults`, over them what the user passed through, over
    /// that what is `fixed`; and the callbacks that go with it.
    pub(crate) fn into_client(
        self,
        defaults: &[(&str, &str)],
        fixed: &[(&str, &str)],
    ) -> (ClientConfig, Callbacks) {
        let mut config = self.config;
        for (key, value) in defaults {
            config.set(name_of(key), *value);
        }
        for (key, value) in self.properties {
            config.set(name_of(&key), value);
        }
        for (key, value) in fixed {
            config.set(name_of(key), *value);
        }
        (config, Callbacks { tokens: self.tokens })
    }
}

/// pitfall: OpenSSL that is built into a binary looks for the system's authorities where it would have
/// been installed itself, which is nowhere, and then trusts nobody. At this word the library looks where
/// distributions keep them.
const SYSTEM_AUTHORITIES: &str = "probe";

/// Variables by which people tell OpenSSL where authorities are.
const OPENSSL_VARIABLES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

fn set_tls(config: &mut ClientConfig, tls: &Tls, secret: ReadSecret<'_>) -> Result<(), String> {
    let files = [
        ("ssl.ca.location", &tls.ca_file),
        ("ssl.certificate.location", &tls.cert_file),
        ("ssl.key.location", &tls.key_file),
    ];
    for (property, path) in files {
        if let Some(path) = path {
            // The library's own message for a missing file is OpenSSL's, which names none.
            // And it would wait for whoever writes a pipe.
            file::open(path.as_ref()).map_err(|error| format!("{path}: {error}"))?;
            config.set(property, path);
        }
    }
    let is_named = |name: &str| std::env::var_os(name).is_some();
    if tls.ca_file.is_none() && !OPENSSL_VARIABLES.iter().any(|name| is_named(name)) {
        config.set("ssl.ca.location", SYSTEM_AUTHORITIES);
    }
    if let Some(password) = &tls.key_password {
        config.set("ssl.key.password", secret(password)?);
    }
    if tls.insecure_skip_verify {
        config.set("enable.ssl.certificate.verification", "false");
    }
    Ok(())
}

fn parse_brokers(section: &Section<'_>) -> Option<Vec<String>> {
    const HELP: &str = "write `brokers: [host:9092, …]`";
    if section.node("brokers").is_none() {
        section.missing("brokers", HELP);
        return None;
    }
    let texts = section.strings("brokers")?;
    let brokers: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split(','))
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect();
    if brokers.is_empty() {
        section.invalid("brokers", format!("{} is empty", section.path_of("brokers")), HELP);
        return None;
    }
    let mut good = true;
    for broker in &brokers {
        let port = broker.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        if broker.contains("://") || !matches!(port, Some((host, Ok(1..))) if !host.is_empty()) {
            let title = format!("`{broker}` is not a broker's address");
            section.invalid("brokers", title, "write `host:port`, such as `kafka-1:9092`");
            good = false;
        }
    }
    good.then_some(brokers)
}

fn parse_tls(section: Section<'_>) -> Tls {
    let tls = Tls {
        ca_file: section.string("ca_file"),
        cert_file: section.string("cert_file"),
        key_file: section.string("key_file"),
        key_password: section.secret("key_password"),
        insecure_skip_verify: section.boolean("insecure_skip_verify").unwrap_or(false),
    };
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        let (there, missing) = if tls.cert_file.is_some() {
            ("cert_file", "key_file")
        } else {
            ("key_file", "cert_file")
        };
        section.missing(missing, format!("`{there}` needs it"));
    }
    section.finish();
    tls
}

fn parse_sasl(section: Section<'_>) -> Option<Sasl> {
    if section.node("mechanism").is_none() {
        section.missing("mechanism", "write PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER");
    }
    let mechanism = section.one_of("mechanism", &MECHANISMS);
    let sasl = if mechanism == Some("OAUTHBEARER") {
        if !section.has("oauth") {
            section.missing("oauth", "write `oauth: {token_url: …, client_id: …}`");
        }
        section.section("oauth").and_then(OAuth::parse).map(Sasl::OAuthBearer)
    } else {
        let username = section.required_string("username", "write the Kafka user's name");
        let password = section.secret("password");
        if password.is_none() {
            section.missing("password", "write `password_file: PATH` or `password_env: NAME`");
        }
        match (mechanism, username, password) {
            (Some(mechanism), Some(username), Some(password)) => {
                Some(Sasl::Password { mechanism, username, password })
            }
            _ => None,
        }
    };
    section.finish();
    sasl
}

/// Each property is tried on the library, so that a typing mistake is found before anything runs.
fn parse_properties(
    section: &Section<'_>,
    owned: &[(&str, &str)],
) -> Option<BTreeMap<String, String>> {
    let (mut properties, mut good) = (BTreeMap::<String, String>::new(), true);
    for (key, value) in section.string_map("properties").unwrap_or_default() {
        let is_it = |(own, _): &&(&str, &str)| name_of(own) == name_of(&key);
        let hint = OWN_SETTINGS.iter().chain(owned).find(is_it);
        if let Some((_, hint)) = hint {
            let title = format!("the property `{key}` cannot be passed through");
            section.invalid("properties", title, *hint);
            good = false;
            continue;
        }
        if let Some(other) = properties.keys().find(|other| name_of(other) == name_of(&key)) {
            let title = format!("`{key}` and `{other}` are two names of one property");
            section.invalid("properties", title, "write one of them");
            good = false;
            continue;
        }
        match ClientConfig::new().set(&key, &value).create_native_config() {
            Ok(_) => {
                properties.insert(key, value);
            }
            Err(error) => {
                let detail = match error {
                    rdkafka::error::KafkaError::ClientConfig(_, detail, _, _) => detail,
                    other => other.to_string(),
                };
                let title = format!("the property `{key}` is not accepted: {detail}");
                section.invalid(
                    "properties",
                    title,
                    "librdkafka's CONFIGURATION.md lists all properties",
                );
                good = false;
            }
        }
    }
    good.then_some(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_renewed_when_its_secret_changes_and_can_be_used() {
        let password = SecretRef::Env("PASSWORD".to_owned());
        let sasl = Sasl::Password { mechanism: "PLAIN", username: "tripline".to_owned(), password };
        let connection =
            Connection { sasl: Some(sasl), ..Connection::new(vec!["host:9092".to_owned()]) };
        let now = Arc::new(Mutex::new(Ok("first".to_owned())));
        let read = Arc::clone(&now);
        let secret: SecretSource = Arc::new(move |_| read.lock().unwrap().clone());
        let set = |what: Result<&str, &str>| {
            *now.lock().unwrap() = what.map(str::to_owned).map_err(str::to_owned);
        };
        let open = connection.open_to_renew(secret).unwrap();
        assert_eq!(open.config.get("sasl.password"), Some("first"));
        assert!(open.renewed().is_none(), "nothing changed");
        set(Err("it is being written"));
        assert!(open.renewed().is_none(), "nothing can be made of it");
        set(Ok("second"));
        let renewed = open.renewed().unwrap();
        assert_eq!(renewed.config.get("sasl.password"), Some("second"));
        assert!(renewed.renewed().is_none());
        // Until somebody uses it, it is offered again.
        assert!(open.renewed().is_some());
        set(Ok("first"));
        assert!(open.renewed().is_none(), "it is as it was");
    }

    #[test]
    fn what_a_user_says_wins_over_a_default_and_never_over_what_is_fixed_by_whichever_name() {
        let mut connection = Connection::new(vec!["host:9092".to_owned()]);
        for (key, value) in [("fetch.message.max.bytes", "1000"), ("request.required.acks", "1")] {
            connection.properties.insert(key.to_owned(), value.to_owned());
        }
        let open = connection.open(&|_| Err("there are none".to_owned())).unwrap();
        let (config, _) =
            open.into_client(&[("max.partition.fetch.bytes", "131072")], &[("acks", "all")]);
        let native = config.create_native_config().unwrap();
        for name in ["max.partition.fetch.bytes", "fetch.message.max.bytes"] {
            assert_eq!(native.get(name).unwrap(), "1000", "{name}");
        }
        assert_eq!(native.get("acks").unwrap(), "-1");
    }
}
