//! Frameworks: which controls want which evidence of the ledger. Data, checked like rules.
//!
//! ```yaml
//! framework: pci-dss                # what stands before the colon in `controls:` of rules
//! title: PCI DSS
//! version: 4.0.1
//! controls:
//!   - id: 10.2.1.4
//!     title: Refused attempts are logged
//!     classes: [denied]             # accesses of these classes
//!     entries: [gap]                # entries of these kinds
//!     shows: [coverage]             # what a report shows of the ledger as a whole
//!     limits: A request that was refused with 401 has no user.
//! ```
//!
//! Rules that name a control (`controls: ['pci-dss:10.2.1.4']`) serve it as well, with their alerts. A report
//! gives evidence for a control; it never says that one is met.

mod read;

use crate::engine::{ledger::EntryKind, words::words};

pub use read::{framework_schema, read_frameworks};

words! {
    /// What a report shows of the ledger as a whole, or of people and rules, for a control.
    pub enum Show {
        /// Alerts of the rules that serve the control: how many, and what became of them.
        Alerts = "alerts",
        /// Events that claim a time which their record cannot have.
        Clocks = "clocks",
        /// Clusters that were heard of.
        Clusters = "clusters",
        /// Hours by what was seen of them.
        Coverage = "coverage",
        /// How long after an event it was read.
        Delay = "delay",
        /// How many accesses say who, when, from where, on what, by which permission.
        Fields = "fields",
        /// The chain of hashes and its seals.
        Integrity = "integrity",
        /// At which audit levels requests were logged.
        Levels = "levels",
        /// Machines: how many, and what they did.
        Machines = "machines",
        /// Service accounts that people's clients used.
        MachinesByHand = "machines_by_hand",
        /// Alerts of Tripline about itself.
        OwnAlerts = "own_alerts",
        /// People: how many, and what they did.
        People = "people",
        /// Permissions that were granted, against those that were used.
        Permissions = "permissions",
        /// Since when rows are kept, and what was deleted.
        Retention = "retention",
        /// Rules in force that serve the control, and since when.
        Rules = "rules",
    }
}

/// One framework.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Framework {
    /// What stands before the colon in `controls:` of rules: `pci-dss`.
    pub id: String,
    /// Its name, for people.
    pub title: String,
    /// Which version of it, for people.
    pub version: String,
    /// Its controls, in the order of the file.
    pub controls: Vec<Control>,
}

/// One control, and what is evidence for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// `10.2.1.4`.
    pub id: String,
    /// What it wants, in a few words of our own.
    pub title: String,
    /// Accesses of these classes.
    pub classes: Vec<String>,
    /// Entries of these kinds.
    pub entries: Vec<EntryKind>,
    /// What is shown of the ledger as a whole.
    pub shows: Vec<Show>,
    /// What this evidence cannot show; empty if nothing is to be said.
    pub limits: String,
}

impl Framework {
    /// How rules name one of its controls: `pci-dss:10.2.1.4`.
    pub fn name_of(&self, control: &Control) -> String {
        format!("{}:{}", self.id, control.id)
    }
}
