//! Evidence of an alert to hand over: one file that others can check, and replay, on a machine of their own.
//!
//! It has the alert's whole life, the rules and lists as they were, the events, what happened around it, whom
//! it was told, and the parts of the ledger's chain that prove it. [`collect()`] makes it, [`verify()`] checks it,
//! and [`replay()`] runs the rule over its events. What could not be had is named in it.
#![allow(clippy::disallowed_methods, reason = "the shell touches the world")]

mod around;
mod collect;
mod events;
mod package;
mod proof;
mod replay;
mod rules;
mod snapshot;
mod tar;
mod told;
mod verify;

pub use collect::{Asked, EvidenceError, collect};
pub use events::{FetchEvent, NextBatch, OpenHistory, Period};
pub use package::{EventFile, Manifest, Package, RuleFile, Segment};
pub use replay::{Replayed, replay};
pub use verify::{Checked, verify};
