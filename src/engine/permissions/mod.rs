//! Which permissions are granted, which of them are used, and which role would do.
//!
//! Grants are roles and bindings as somebody brought them, with the changes that the log showed since. Uses are
//! rows of the ledger. All of it is computed when it is asked for, from rows in the order of time, and nothing is
//! claimed that was not observed.

mod besides;
mod changes;
mod grants;
mod import;
mod observed;
mod rbac;
mod role;
mod role_yaml;
mod snapshot;
mod subject;
mod uses;
mod verdict;

pub use grants::{Grants, GrantsBuilder};
pub use import::{ImportMistake, Imported, import};
pub use observed::{Observed, ObservedBuilder};
pub use rbac::{Binding, Id, Object, PolicyRule, Role, Subject, SubjectKind};
pub use role::{LeftOut, Scope, SuggestedRule, Suggestion, suggest};
pub use role_yaml::{About, yaml};
pub use snapshot::snapshot_entries;
pub use subject::Who;
pub use uses::{Use, UseKey, Uses};
pub use verdict::{GrantVerdict, Verdict, Wanted, verdicts};
