//! Who asks, and what they may.

use std::net::IpAddr;

use crate::engine::words::words;

pub use crate::web::Role;

/// What a route needs of who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Alerts, rules, health, deliveries.
    SeeAlerts,
    /// What people did: timelines, visits, sessions.
    SeeAccesses,
    /// Silence, acknowledge, judge, end, reload.
    Act,
    /// Reports and exports.
    Report,
}

words! {
    /// By which way somebody was known.
    pub enum Way {
        /// Nobody is asked who they are: only this machine can reach the server.
        Local = "local",
        /// A bearer token.
        Token = "token",
        /// A user and a password.
        Basic = "basic",
        /// A proxy that is trusted said it.
        Proxy = "proxy",
        /// A TLS client certificate.
        Certificate = "certificate",
        /// A browser that logged in.
        Session = "session",
        /// A button in Slack, which says who clicked, and signs it.
        Slack = "slack",
    }
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name, as entries of the ledger have it.
    pub name: String,
    /// What they are.
    pub roles: Vec<Role>,
    /// From where, as the connection shows it.
    pub address: IpAddr,
    /// How they were known.
    pub way: Way,
    /// What a form of theirs must have in its hidden field `token`.
    pub(super) form_token: String,
}

impl Right {
    /// What a role lets somebody do.
    pub const fn of(role: Role) -> &'static [Right] {
        match role {
            Role::Viewer => &[Right::SeeAlerts],
            Role::Responder => &[Right::SeeAlerts, Right::SeeAccesses, Right::Act],
            Role::Auditor => &[Right::SeeAlerts, Right::SeeAccesses, Right::Report],
        }
    }
}

impl Caller {
    /// Whether they may.
    pub fn may(&self, right: Right) -> bool {
        self.roles.iter().any(|role| Right::of(*role).contains(&right))
    }

    /// What a form of theirs must have in its hidden field `token`, so that no other site can send it.
    pub fn form_token(&self) -> &str {
        &self.form_token
    }

    /// Whether they logged in with a browser, and so can log out.
    pub fn has_session(&self) -> bool {
        self.way == Way::Session
    }

    /// Their roles as text: `responder, auditor`.
    pub fn roles_text(&self) -> String {
        let words: Vec<&str> = self.roles.iter().map(|role| role.as_str()).collect();
        words.join(", ")
    }
}
