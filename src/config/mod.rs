//! The configuration: one YAML file < environment < command line, and everything wrong with it at once.
//!
//! [`ConfigDocument`] reads the file and lays the overrides over it; [`General`] reads the sections that
//! belong to no other module. Sources, receivers and routes are read by the modules that own them,
//! from the same [`Section`](crate::engine::yaml::Section), so that their mistakes are shown together
//! with all others. Secrets are references until [`SecretReader`] follows them; no diagnostic shows
//! one.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod document;
mod environment;
mod general;
mod overlay;
pub mod rules_dir;
mod secret;

pub use document::{ConfigDocument, Input};
pub use environment::variables;
pub use general::{
    DeadLetterSettings, EngineTuning, General, HttpSettings, LISTEN_DEFAULT, LedgerSettings,
    Public, SETTINGS, Setting,
};
pub use secret::SecretReader;
