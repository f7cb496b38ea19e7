//! Reports: what the ledger says of a period, with what it cannot say first.
//!
//! A report is folded from the rows of its period while they are verified, and then written as HTML, JSON or CSV. A cell is a
//! number with the command that shows what was counted, or the word for why there is none. Nothing is claimed
//! that was not observed.

mod access;
mod alerts;
mod compliance;
pub mod csv;
mod first;
mod head;
pub mod html;
mod incident;
pub mod json;
mod model;
mod names;
mod order;
mod part;
pub mod sample;
mod scope;
mod shipped;
mod tally;

pub use access::access_report;
pub use alerts::alerts_report;
pub use compliance::{Besides, compliance_report};
pub use head::Attested;
pub use incident::incident_report;
pub use model::{Cell, Report, ReportKind, Section, Sight, Table};
pub use order::{CheckSignature, Made, Order, ReportFormat, Verifies, Wanted, make, write};
pub use part::{exceptions::ExceptionsThen, permissions::permissions_section};
pub use scope::Scope;
pub use shipped::shipped_frameworks;
pub use tally::{Counts, Tally};
