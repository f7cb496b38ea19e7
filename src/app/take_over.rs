//! What earlier versions kept in a list beside the state becomes rows of the ledger, some at a time.

use crate::{
    engine::{
        coordinator::Coordinator,
        ledger::{Entry, EntryKind},
        member::LedgerInput,
        recorder::TakenOver,
    },
    store::{LedgerRow, Store, StoreError},
};

/// Rows that are taken at once: 2,000.
const ROWS_AT_ONCE: usize = 2_000;

/// Rows that may wait for the archive meanwhile: 10,000, so that there is room for what happens now.
const WAITING_MAX: usize = 10_000;

/// What there is to take over, when a process begins: all that the list has, if there is no ledger yet. Later
/// versions wrote both. `None` if that is known.
pub(super) fn begin(
    coordinator: &Coordinator,
    store: &mut dyn Store,
    has_ledger: bool,
) -> Option<LedgerInput> {
    let recorder = coordinator.member().recorder();
    if recorder.taken_over().is_some() {
        return None;
    }
    let until = if has_ledger { Ok(0) } else { store.old_ledger_end() };
    match until {
        Ok(until) => {
            if until > 0 {
                tracing::info!(rows = until, "the ledger of an earlier version is taken over");
            }
            let taken = TakenOver { through: 0, until };
            Some(LedgerInput::TakeOver { entries: Vec::new(), taken })
        }
        Err(error) => {
            tracing::warn!("the ledger of an earlier version cannot be read: {error}");
            None
        }
    }
}

/// The next rows, if some are left and there is room for them.
///
/// # Errors
/// They cannot be read.
pub(super) fn next(
    coordinator: &Coordinator,
    store: &mut dyn Store,
) -> Result<Option<LedgerInput>, StoreError> {
    let recorder = coordinator.member().recorder();
    let Some(taken) = recorder.taken_over().filter(|taken| !taken.is_done()) else {
        return Ok(None);
    };
    if recorder.spool_rows() >= WAITING_MAX {
        return Ok(None);
    }
    let rows = store.old_ledger(taken.through, ROWS_AT_ONCE)?;
    // Rows that were deleted by age may have been the last ones.
    let last = rows.last().map_or(taken.until, |(number, _)| *number);
    let rows = rows.into_iter().filter(|(number, _)| *number <= taken.until);
    let entries = rows.map(|(_, row)| entry_of(&row)).collect();
    let through = last.min(taken.until);
    Ok(Some(LedgerInput::TakeOver { entries, taken: TakenOver { through, ..taken } }))
}

fn entry_of(row: &LedgerRow) -> Entry {
    let kind = if row.kind == "alert" { EntryKind::Alert } else { EntryKind::Delivery };
    Entry::new(kind, &row.subject, &row.what)
        .by(&row.party)
        .at(row.at.as_event())
        .detail(&row.detail)
        .fact("from", "an earlier version")
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        engine::{
            coordinator::{CoordinatorSettings, Input},
            dispatch::DispatchPlan,
            settings::EngineSettings,
            time::WallTime,
        },
        store::{Checkpoint, Loaded},
    };

    /// A store with so many rows of an earlier version, of which the first hundred were deleted by age.
    struct Old(i64);

    impl Store for Old {
        fn load(&mut self) -> Result<Loaded, StoreError> {
            Ok(Loaded::default())
        }

        fn commit(&mut self, _: &Checkpoint) -> Result<(), StoreError> {
            Ok(())
        }

        fn old_ledger(
            &mut self,
            after: i64,
            limit: usize,
        ) -> Result<Vec<(i64, LedgerRow)>, StoreError> {
            let row = |number: i64| LedgerRow {
                at: WallTime::from_micros(number),
                kind: "alert",
                subject: number.to_string(),
                party: "rule".to_owned(),
                what: "firing".to_owned(),
                detail: String::new(),
            };
            let numbers = (after.max(100) + 1)..=self.0;
            Ok(numbers.take(limit).map(|number| (number, row(number))).collect())
        }

        fn old_ledger_end(&mut self) -> Result<i64, StoreError> {
            Ok(self.0)
        }
    }

    fn coordinator() -> Coordinator {
        let settings = CoordinatorSettings {
            sources: 1,
            checkpoint_interval: Duration::from_secs(1),
            drain: Duration::ZERO,
        };
        let plan = DispatchPlan::default();
        let now = WallTime::from_micros(0);
        Coordinator::new(now, Arc::default(), EngineSettings::default(), &plan, settings)
    }

    #[test]
    fn every_row_is_taken_over_once_and_only_as_fast_as_the_archive_goes() {
        let now = WallTime::from_micros(1);
        let (mut coordinator, mut store) = (coordinator(), Old(25_000));
        let input = begin(&coordinator, &mut store, false).unwrap();
        coordinator.handle(now, Input::Ledger(input));
        assert!(begin(&coordinator, &mut store, false).is_none(), "that is known");
        // Rows that this process writes meanwhile are not taken over.
        store.0 += 50;
        let mut taken = Vec::new();
        let mut waits = 0;
        while !coordinator.member().recorder().taken_over().unwrap().is_done() {
            if let Some(input) = next(&coordinator, &mut store).unwrap() {
                if let LedgerInput::TakeOver { entries, .. } = &input {
                    taken.extend(entries.iter().map(|entry| entry.subject.clone()));
                }
                coordinator.handle(now, Input::Ledger(input));
            } else {
                waits += 1;
                let through = coordinator.member().recorder().chain().id;
                coordinator.handle(now, Input::Archived { through });
            }
        }
        let all: Vec<String> = (101..=25_000).map(|number: i64| number.to_string()).collect();
        assert_eq!(taken, all);
        assert!(waits >= 2, "it waits for the archive");
        assert!(next(&coordinator, &mut store).unwrap().is_none());
    }

    #[test]
    fn a_process_that_has_a_ledger_takes_nothing_over() {
        let (mut coordinator, mut store) = (coordinator(), Old(500));
        let input = begin(&coordinator, &mut store, true).unwrap();
        coordinator.handle(WallTime::from_micros(1), Input::Ledger(input));
        assert!(next(&coordinator, &mut store).unwrap().is_none());
    }
}
