//! Traces: what happened in a world as a text, done again, and made as short as it can be.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{
    action::{Action, Config, Workload},
    checkers::{Checked, Failure},
    verdict,
    world::{Driver, World},
};

/// A world and everything that happened in it.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) config: Config,
    pub(super) actions: Vec<Action>,
}

impl Trace {
    /// One JSON object a line: the world, then each action.
    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string(&self.config).unwrap();
        for action in &self.actions {
            text.push('\n');
            text += &serde_json::to_string(action).unwrap();
        }
        text.push('\n');
        text
    }

    pub(super) fn from_text(text: &str) -> Trace {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let config = serde_json::from_str(lines.next().expect("a world")).expect("a world");
        let actions = lines.map(|line| serde_json::from_str(line).expect(line)).collect();
        Trace { config, actions }
    }

    /// Does it again.
    pub(super) fn run(&self) -> Checked {
        guarded(|| {
            let mut world = World::new(self.config.clone());
            for action in &self.actions {
                world.apply(action)?;
            }
            verdict::finish(&mut world)
        })
    }

    /// Leaves out what is not needed to fail in the same way: delta debugging.
    pub(super) fn minimise(mut self, check: &str) -> Trace {
        let mut size = self.actions.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.actions.len() {
                let mut shorter = self.clone();
                shorter.actions.drain(at..(at + size).min(self.actions.len()));
                if shorter.run().is_err_and(|other| other.check == check) {
                    self = shorter;
                } else {
                    at += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        self
    }
}

/// What a seed came to: the trace, and what does not hold if anything.
pub(super) fn run_seed(seed: u64, driver: Driver) -> (Trace, Checked) {
    let (config, mut workload) = Workload::new(seed, driver);
    let mut trace = Trace { config, actions: Vec::new() };
    let outcome = guarded(|| {
        let mut world = World::new(trace.config.clone());
        while let Some(action) = workload.next(&world) {
            trace.actions.push(action.clone());
            world.apply(&action)?;
        }
        verdict::finish(&mut world)
    });
    (trace, outcome)
}

/// A panic is a failure too.
fn guarded(body: impl FnOnce() -> Checked) -> Checked {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic");
        Err(Failure { check: "nothing panics".to_owned(), detail: text.to_owned() })
    })
}
