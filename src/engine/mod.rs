//! The engine: everything Tripline decides, and nothing else.
//!
//! It has no clock, no I/O, no threads, no async, no logging, no environment and no randomness. It
//! is told the time and hands back effects, so that tests and the simulator can run it a million
//! times, crash it anywhere, and get the same answer. Modules in the order in which data flows.

pub(crate) mod digest;
pub mod duration;
mod encode;
pub mod limits;
pub mod text;
mod text_table;
pub mod time;
pub(crate) mod words;

pub mod event_ref;

pub mod settings;
pub mod value;

pub mod kubernetes;

pub mod diagnostic;
pub mod yaml;

pub mod syntax;

pub mod kind;

pub mod state;

pub mod horizon;

pub mod record;

pub mod dead_letter;

pub mod event;

pub mod decode;

pub mod rule;

pub mod access;

pub mod detect;
pub mod policy;

pub mod alert;

pub mod dispatch;

pub mod act;

pub mod ledger;

pub mod framework;

pub mod permissions;

pub mod seen;

pub mod detector;
pub mod shard;

pub mod recorder;

pub mod dispatcher;

pub mod member;

pub mod coordinator;
