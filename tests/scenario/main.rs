//! Scripts that say what the engine makes of events over time: `tests/data/scenarios/*.txt`, each a
//! test of its own.
//!
//! A script is a list of blocks: comment lines with `#`, a command, its input indented by two spaces,
//! `----`, and what must be printed; an empty line ends the block. `UPDATE=1` writes what is printed
//! into the scripts; look at the difference before you keep it.
//!
//! | command | input | does |
//! |---|---|---|
//! | `rules [grace=30s] [idle_after=1m] [max_skew=5m] [resolve_after=5m] [memory=16MiB]` | rule documents | starts the engine, which knows nothing |
//! | `replace rules` | rule documents | puts other rules in force, as a reload does |
//! | `restart rules` | rule documents | ends the process; another one with other rules takes its state |
//! | `list NAME`, `schedules`, `risk` | YAML | for the next `rules` and what replaces them |
//! | `feed [quietly]` | events, one a line | each is a record, and a batch of its own; what is printed is only counted |
//! | `timeout TIME [quietly]` | | lets the operator's clock go on to this time |
//! | `clock TIME` | | sets the operator's clock; nothing looks at it before the next command |
//! | `alerts [evidence] [annotations]` | | shows what fires, with its latest numbers |
//! | `watermark`, `keys` | | shows how far event time has come; how many keys are held |
//! | `unavailable`, `ready [PARTITION,…]` | | sources go away, and come back |
//! | `away PARTITION,…` | | these cannot be read, while others can |
//! | `flush` | | ends the stream |
//!
//! In rule documents a line `event NAME: {field: value}` stands for a detection rule of that name.
//! An event is its time, `@TIME` of the operator's clock if that is another, and `key=value` pairs:
//! the short names of [`event`], dotted paths, `partition=`, `written=` (when its record was), and `times=`, `every=` for a series in
//! which `{n}` is the number. Times without a date are of Monday, 2026-01-05, in UTC.
//!
//! Scripts in `tests/data/dispatch` are for the half that tells people; see [`dispatch`].
//!
//! Each script is played in several ways that must all print the same (see [`ways`]). One that is not
//! meaningful for a script is left out by a comment `# leave out WAY: reason`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may fail"
)]

mod dispatch;
mod event;
mod print;
mod script;
mod store;
mod ways;
mod world;

use std::{fs, path::Path};

use script::{ReadCommand, Script};
use ways::{Failure, Way, differences};

/// Plays a script in a way; what each block prints.
type Play<C> = fn(&Script<C>, Way) -> Vec<Vec<String>>;

fn check<C>(
    path: &Path,
    text: &str,
    command: ReadCommand<C>,
    play: Play<C>,
    others: &[Way],
) -> datatest_stable::Result<()> {
    let script = Script::parse(text, command).map_err(Failure)?;
    let printed = play(&script, Way::Straight);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, script.with_output(&printed))?;
    } else {
        let expected: Vec<Vec<String>> =
            script.blocks.iter().map(|block| block.expected.clone()).collect();
        differences(&script, &expected, &printed, "the script says", "the engine prints")?;
    }
    for way in others.iter().copied().filter(|way| !script.leaves_out(*way)) {
        let other = play(&script, way);
        let (straight, other) = if way.keeps_order() {
            (printed.clone(), other)
        } else {
            (sorted(&printed), sorted(&other))
        };
        differences(&script, &straight, &other, "straight", way.name())?;
    }
    Ok(())
}

/// The lines of each block without regard to their order.
fn sorted(printed: &[Vec<String>]) -> Vec<Vec<String>> {
    printed
        .iter()
        .map(|lines| {
            let mut lines = lines.clone();
            lines.sort();
            lines
        })
        .collect()
}

fn engine(path: &Path, text: String) -> datatest_stable::Result<()> {
    check(path, &text, script::command, ways::play, &Way::OTHERS)
}

fn dispatcher(path: &Path, text: String) -> datatest_stable::Result<()> {
    check(path, &text, dispatch::command, dispatch::play, &dispatch::OTHERS)
}

datatest_stable::harness! {
    { test = engine, root = "tests/data/scenarios", pattern = r"\.txt$" },
    { test = dispatcher, root = "tests/data/dispatch", pattern = r"\.txt$" },
}
