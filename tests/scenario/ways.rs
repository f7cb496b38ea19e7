//! The ways in which a script is played, all of which must print the same.
//!
//! | way | what is different | what it shows |
//! |---|---|---|
//! | `restored` | behind every line the process ends, and another one takes over what was stored | nothing that matters lives only in memory |
//! | `interleaved` | records of different users come in another order, none of them late by it | order of arrival within `grace` does not count |
//! | `batched` | all records of a `feed` come at once | where sources cut their batches does not count |
//! | `ticking` | timers ring behind every line although nothing is due | spurious wake-ups are harmless |

use std::{fmt, time::Duration};

use tripline::engine::time::EventTime;

use crate::{
    event::Record,
    script::{Command, Script},
    world::World,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Straight,
    Restored,
    Interleaved,
    Batched,
    Ticking,
}

impl Way {
    pub(crate) const OTHERS: [Way; 4] =
        [Way::Restored, Way::Interleaved, Way::Batched, Way::Ticking];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Way::Straight => "straight",
            Way::Restored => "restored",
            Way::Interleaved => "interleaved",
            Way::Batched => "batched",
            Way::Ticking => "ticking",
        }
    }

    /// Whether lines of one block come in the same order.
    pub(crate) const fn keeps_order(self) -> bool {
        !matches!(self, Way::Interleaved | Way::Batched)
    }

    /// The batches that records of one `feed` come in, behind others up to `latest`.
    pub(crate) fn batches(
        self,
        records: Vec<Record>,
        latest: EventTime,
        grace: Duration,
    ) -> Vec<Vec<Record>> {
        match self {
            Way::Straight | Way::Restored | Way::Ticking => {
                records.into_iter().map(|record| vec![record]).collect()
            }
            Way::Batched => stretches(records, latest, grace),
            Way::Interleaved => stretches(records, latest, grace)
                .into_iter()
                .flat_map(|stretch| interleave(stretch, grace))
                .map(|record| vec![record])
                .collect(),
        }
    }
}

/// Records between those that are late or that say when they arrive: these stay where they are.
fn stretches(records: Vec<Record>, mut latest: EventTime, grace: Duration) -> Vec<Vec<Record>> {
    let mut stretches: Vec<Vec<Record>> = vec![Vec::new()];
    for record in records {
        let stays = record.wall.is_some() || record.time < latest.minus(grace);
        latest = latest.max(record.time);
        if stays {
            stretches.push(vec![record]);
            stretches.push(Vec::new());
        } else if let Some(last) = stretches.last_mut() {
            last.push(record);
        }
    }
    stretches.retain(|stretch| !stretch.is_empty());
    stretches
}

/// Users take turns from the last to the first, each with as many records as do not make another's
/// record late. Records of one user stay in their order.
fn interleave(records: Vec<Record>, grace: Duration) -> Vec<Record> {
    let mut users: Vec<(String, Vec<Record>)> = Vec::new();
    for record in records {
        match users.iter_mut().find(|(user, _)| *user == record.user) {
            Some((_, own)) => own.push(record),
            None => users.push((record.user.clone(), vec![record])),
        }
    }
    users.reverse();
    let mut order = Vec::new();
    while users.iter().any(|(_, own)| !own.is_empty()) {
        // The earliest record that is left bounds how far the others may go ahead.
        let earliest =
            users.iter().flat_map(|(_, own)| own).map(|record| record.time).min().unwrap();
        let may = |record: &Record| record.time <= earliest.plus(grace);
        for (_, own) in &mut users {
            let count = own.iter().take_while(|record| may(record)).count();
            order.extend(own.drain(..count));
        }
    }
    order
}

/// What people are told when a script fails. The harness prints it by `Debug`.
#[derive(thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What each block prints.
pub(crate) fn play(script: &Script<Command>, way: Way) -> Vec<Vec<String>> {
    let mut world = World::new(way);
    script.blocks.iter().map(|block| world.run(&block.command)).collect()
}

/// The first block that differs, with both sides.
pub(crate) fn differences<C>(
    script: &Script<C>,
    left: &[Vec<String>],
    right: &[Vec<String>],
    left_name: &str,
    right_name: &str,
) -> Result<(), Failure> {
    let mut text = String::new();
    for ((block, left), right) in script.blocks.iter().zip(left).zip(right) {
        if left == right {
            continue;
        }
        text += &format!("\nline {}, {left_name} (-), {right_name} (+):\n", block.number);
        for line in left.iter().filter(|line| !right.contains(line)) {
            text += &format!("  - {line}\n");
        }
        for line in right {
            let sign = if left.contains(line) { ' ' } else { '+' };
            text += &format!("  {sign} {line}\n");
        }
    }
    if text.is_empty() { Ok(()) } else { Err(Failure(text)) }
}
