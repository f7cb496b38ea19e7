//! The section `http.auth`: who is who, what they may, and how they are known.

use ipnet::IpNet;

use crate::engine::{
    diagnostic::{Diagnostic, code},
    ledger::{Hash, parse_hex},
    words::words,
    yaml::{SecretRef, Section},
};

/// Bytes that a token must have at least: 32, so that nobody guesses it.
pub const TOKEN_BYTES_MIN: usize = 32;

/// The header in which a proxy says who asks, unless the configuration names another.
const USER_HEADER: &str = "X-Forwarded-User";

/// The header in which a proxy says in which groups they are.
const GROUPS_HEADER: &str = "X-Forwarded-Groups";

/// The header in which a proxy shows its secret.
const SECRET_HEADER: &str = "X-Tripline-Secret";

words! {
    /// What somebody is to Tripline. Somebody may be several.
    pub enum Role {
        /// Sees alerts, rules, health and deliveries.
        Viewer = "viewer",
        /// Also sees what people did, and acts.
        Responder = "responder",
        /// Reads everything, reports and exports among it; acts on nothing.
        Auditor = "auditor",
    }
}

/// A bearer token, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// Whose it is.
    pub name: String,
    /// The token, or only its SHA-256.
    pub token: TokenSecret,
    /// What its owner is.
    pub roles: Vec<Role>,
}

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSecret {
    /// Where it is.
    Secret(SecretRef),
    /// Its SHA-256; the token itself is with its owner alone.
    Hash(Hash),
}

/// A user with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserConfig {
    /// The name.
    pub username: String,
    /// The password.
    pub password: SecretRef,
    /// What they are.
    pub roles: Vec<Role>,
}

/// Somebody who acts by buttons in Slack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackUserConfig {
    /// Slack's id of the user: `U012AB3CD`.
    pub id: String,
    /// The name, as entries of the ledger have it.
    pub name: String,
    /// What they are.
    pub roles: Vec<Role>,
}

/// A proxy that knows who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// From where it connects.
    pub from: Vec<IpNet>,
    /// The header with the user.
    pub user_header: String,
    /// The header with their groups, separated by commas.
    pub groups_header: String,
    /// The header with its secret.
    pub secret_header: String,
    /// The secret, which only it and we know.
    pub secret: SecretRef,
}

/// What to do if nobody can come in.
pub const WAYS_IN: &str = "add `tokens`, `basic`, `proxy` or `certificates`";

/// The section `http.auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthConfig {
    /// Bearer tokens.
    pub tokens: Vec<TokenConfig>,
    /// Users with passwords.
    pub users: Vec<UserConfig>,
    /// Users of Slack.
    pub slack: Vec<SlackUserConfig>,
    /// A proxy that is trusted.
    pub proxy: Option<ProxyConfig>,
    /// Client certificates say who asks: the name is their common name, groups are their organizations.
    pub has_certificates: bool,
    /// What the members of groups are, of those whom a proxy or a certificate names.
    pub groups: Vec<(String, Vec<Role>)>,
}

impl AuthConfig {
    /// Reads the section, and reports every mistake and what is weak. `has_client_ca`: clients show
    /// certificates; `is_exposed`: others can reach the server, and it speaks no TLS.
    pub fn parse(section: Section<'_>, has_client_ca: bool, is_exposed: bool) -> AuthConfig {
        let config = AuthConfig {
            tokens: section.sections("tokens").into_iter().filter_map(token).collect(),
            users: section.sections("basic").into_iter().filter_map(user).collect(),
            slack: section.sections("slack").into_iter().filter_map(slack_user).collect(),
            proxy: section.section("proxy").and_then(proxy),
            has_certificates: section.boolean("certificates").unwrap_or(false),
            groups: section.section("groups").map(groups).unwrap_or_default(),
        };
        if config.has_certificates && !has_client_ca {
            section.invalid(
                "certificates",
                "clients show no certificates",
                "add `http.tls.client_ca_file`, which names the authorities that sign them",
            );
        }
        let knows_groups = config.proxy.is_some() || config.has_certificates;
        if knows_groups && config.groups.is_empty() {
            section.missing("groups", "say what the members of groups are: `{sre: [responder]}`");
        }
        if !config.has_way_in() && config.slack.is_empty() {
            section.invalid("tokens", format!("{} lets nobody in", section.path()), WAYS_IN);
        }
        if let Some(name) = first_twice(config.names()) {
            let title = format!("two have the name `{name}`");
            section.invalid("tokens", title, "entries of the ledger tell people apart by it");
        }
        let ids = config.slack.iter().map(|user| user.id.as_str());
        if let Some(id) = first_twice(ids) {
            let title = format!("the user `{id}` of Slack is there twice");
            section.invalid("slack", title, "keep one, with all of its roles");
        }
        config.weaknesses(&section, is_exposed);
        section.finish();
        config
    }

    /// Whether anybody can open the console or ask the API by it. Users of Slack only click.
    pub const fn has_way_in(&self) -> bool {
        let is_anybody_named = !self.tokens.is_empty() || !self.users.is_empty();
        is_anybody_named || self.proxy.is_some() || self.has_certificates
    }

    /// Names that are given here. Who is known by Slack may be known by another way, too.
    fn names(&self) -> impl Iterator<Item = &str> {
        let tokens = self.tokens.iter().map(|token| token.name.as_str());
        tokens.chain(self.users.iter().map(|user| user.username.as_str()))
    }

    /// The secrets that will be read.
    pub fn secrets(&self) -> Vec<SecretRef> {
        let tokens = self.tokens.iter().filter_map(|token| match &token.token {
            TokenSecret::Secret(secret) => Some(secret.clone()),
            TokenSecret::Hash(_) => None,
        });
        let users = self.users.iter().map(|user| user.password.clone());
        tokens.chain(users).chain(self.proxy.iter().map(|proxy| proxy.secret.clone())).collect()
    }

    /// Warns of what is weak in it.
    fn weaknesses(&self, section: &Section<'_>, is_exposed: bool) {
        let warn = |key: &str, title: &str, help: &str| {
            let warning = Diagnostic::warning(code::WEAK_DOOR, section.place_of(key), title);
            section.report(warning.help(help));
        };
        if is_exposed && !self.users.is_empty() {
            warn(
                "basic",
                "passwords pass the network as they are",
                "add `http.tls`, or listen on this machine alone, behind what speaks TLS",
            );
        }
        if is_exposed && !self.tokens.is_empty() {
            warn(
                "tokens",
                "tokens pass the network as they are",
                "add `http.tls`, or listen on this machine alone, behind what speaks TLS",
            );
        }
        let is_all = |net: &&IpNet| net.prefix_len() == 0;
        if let Some(net) = self.proxy.iter().flat_map(|proxy| &proxy.from).find(is_all) {
            warn(
                "proxy",
                &format!("{net} is every address: whoever has the secret may be anybody"),
                "name the addresses of the proxy alone",
            );
        }
    }

    /// What members of these groups are.
    pub fn roles_of<'a>(&self, groups: impl Iterator<Item = &'a str>) -> Vec<Role> {
        let groups: Vec<&str> = groups.collect();
        let known = self.groups.iter().filter(|(group, _)| groups.contains(&group.as_str()));
        let mut roles: Vec<Role> = known.flat_map(|(_, roles)| roles.iter().copied()).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

/// The first in order that is there twice.
fn first_twice<'a>(texts: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut texts: Vec<&str> = texts.collect();
    texts.sort_unstable();
    texts.windows(2).find_map(|pair| match pair {
        [one, other] if one == other => Some(*one),
        _ => None,
    })
}

/// Reads a list of roles; without one, somebody could do nothing at all.
fn roles(section: &Section<'_>, key: &str) -> Vec<Role> {
    let words: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
    let help = format!("it is a list of: {}", words.join(", "));
    let Some(given) = section.strings(key) else {
        section.missing(key, help);
        return Vec::new();
    };
    if given.is_empty() {
        section.invalid(key, format!("{} is empty", section.path_of(key)), help.as_str());
    }
    let known = given.iter().filter_map(|word| {
        let role = Role::parse(word);
        if role.is_none() {
            section.invalid(key, format!("there is no role `{word}`"), help.as_str());
        }
        role
    });
    known.collect()
}

fn token(section: Section<'_>) -> Option<TokenConfig> {
    let name = section.required_string("name", "whose it is, as entries of the ledger say it");
    let (secret, hash) = (section.secret("token"), section.string("sha256"));
    let token = match (secret, hash) {
        (Some(secret), None) => {
            if let SecretRef::Inline(text) = &secret
                && text.len() < TOKEN_BYTES_MIN
            {
                let title = format!("a token has at least {TOKEN_BYTES_MIN} characters");
                section.invalid("token", title, "make one: `openssl rand -hex 32`");
            }
            Some(TokenSecret::Secret(secret))
        }
        (None, Some(text)) => {
            let hash = parse_hex(&text).map(TokenSecret::Hash);
            if hash.is_none() {
                let title = format!("{} is no SHA-256", section.path_of("sha256"));
                let help = "64 hexadecimal digits: `printf %s TOKEN | sha256sum`";
                section.invalid("sha256", title, help);
            }
            hash
        }
        _ => {
            let help = "write one of `token_file: PATH`, `token_env: NAME`, `sha256: HEX`";
            section.missing("token", help);
            None
        }
    };
    let roles = roles(&section, "roles");
    section.finish();
    Some(TokenConfig { name: name?, token: token?, roles })
}

fn user(section: Section<'_>) -> Option<UserConfig> {
    let username = section.required_string("username", "the name of the user");
    let password = section.secret("password");
    if password.is_none() {
        section.missing("password", "write `password_file: PATH` or `password_env: NAME`");
    }
    if username.as_ref().is_some_and(|name| name.contains(':')) {
        section.invalid("username", "a user name cannot have a colon", "leave it out");
    }
    let roles = roles(&section, "roles");
    section.finish();
    Some(UserConfig { username: username?, password: password?, roles })
}

fn slack_user(section: Section<'_>) -> Option<SlackUserConfig> {
    let help = "Slack's id of the user: it is in their profile, behind the three dots";
    let id = section.required_string("id", help);
    let is_id = |id: &String| {
        id.starts_with(['U', 'W'])
            && id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    if id.as_ref().is_some_and(|id| !is_id(id)) {
        let title = format!("{} is no id of a user", section.path_of("id"));
        section.invalid("id", title, "such as U012AB3CD: Slack shows it in the profile of a user");
    }
    let name = section.required_string("name", "who it is, as entries of the ledger say it");
    let roles = roles(&section, "roles");
    section.finish();
    Some(SlackUserConfig { id: id?, name: name?, roles })
}

fn proxy(section: Section<'_>) -> Option<ProxyConfig> {
    let from = section.strings("from").unwrap_or_default();
    if from.is_empty() {
        section.missing("from", "the addresses of the proxy: `[10.8.0.7/32]`");
    }
    let nets = from.iter().filter_map(|text| {
        let net = text.parse::<IpNet>().ok();
        let net = net.or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()));
        if net.is_none() {
            section.invalid("from", format!("`{text}` is no address"), "write 10.8.0.0/24");
        }
        net
    });
    let from: Vec<IpNet> = nets.collect();
    let secret = section.secret("secret");
    if secret.is_none() {
        let help = "only it and Tripline know it: write `secret_file: PATH` or `secret_env: NAME`";
        section.missing("secret", help);
    }
    let header = |key: &str, default: &str| {
        let name = section.string(key).unwrap_or_else(|| default.to_owned());
        if name.parse::<axum::http::HeaderName>().is_err() {
            section.invalid(key, format!("`{name}` is no header"), format!("such as {default}"));
        }
        name
    };
    let user_header = header("user_header", USER_HEADER);
    let groups_header = header("groups_header", GROUPS_HEADER);
    let secret_header = header("secret_header", SECRET_HEADER);
    section.finish();
    Some(ProxyConfig { from, user_header, groups_header, secret_header, secret: secret? })
}

fn groups(section: Section<'_>) -> Vec<(String, Vec<Role>)> {
    let names: Vec<&str> = section.keys().collect();
    let groups = names.iter().map(|name| ((*name).to_owned(), roles(&section, name))).collect();
    section.finish();
    groups
}
