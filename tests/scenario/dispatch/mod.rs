//! Scripts that say who is told what, and when: `tests/data/dispatch/*.txt`.
//!
//! | command | input | does |
//! |---|---|---|
//! | `plan` | receivers and routes | starts a dispatcher, which knows nothing |
//! | `replace plan`, `restart plan` | receivers and routes | another configuration, in this process or the next one |
//! | `alert` | changes of alerts, one a line | each reaches the dispatcher at its time |
//! | `late restart plan`, `late alert` | as above | the process was away: it looks at what was due meanwhile only after this input and the next one |
//! | `act` | what people do, one a line | each is carried out at its time |
//! | `late act` | as above | the process was away, as with `late alert` |
//! | `acts` | | silences, what people did about alerts, and what was written down of it since the last look |
//! | `timeout TIME` | | lets the operator's clock go on to this time |
//! | `clock TIME` | | sets the operator's clock |
//! | `answer` | `WHO ANSWER` | what a receiver answers from now on; at first everybody takes everything |
//! | `outcome` | `TIME WHO ANSWER` | the answer to the oldest attempt that a receiver holds |
//! | `retry now` | | somebody may have fixed receivers |
//! | `groups` | | how many groups there are, with how many alerts, and how many of them are owed something |
//! | `ledger` | | what was written down for auditors since the last look |
//!
//! A receiver is `receiver NAME: AUDIENCE [by=LABEL,…|each] [wait=] [interval=] [repeat=] [spacing=]
//! [resolved=no] [to=RECIPIENT,…] [attempt=] [failing=] [at=ADDRESS]`; what it does not say is what the kinds of
//! this audience usually have. Several lines of one name are several notifiers, `NAME#2` and so on; a
//! recipient is `NAME/RECIPIENT`. A route is `route NAME [MATCHER…] [continue] [by=…] [wait=] …`,
//! further in than the one above it; `mute=10:00-11:00` and `active=` say when it is quiet. What hides what is
//! `inhibit from MATCHER… to MATCHER… [equal=LABEL,…]`.
//!
//! What people do is `TIME WHO silences NAME for=SPAN [from=TIME] MATCHER…`, `TIME WHO ends [WHO/]NAME`, or `TIME WHO
//! acknowledges|assigns|judges|says ALERT [LABEL=VALUE…] [to=WHOM] [as=VERDICT] [id=ID]`. Printed is what came of it.
//!
//! A change of an alert is `TIME fires|grows|ends NAME [LABEL=VALUE…] [severity=medium] [times=N]`,
//! where `{n}` is the number in a series. An answer is `delivered [RECEIPT]`, `retry REASON
//! [after=SPAN]`, `rejected REASON`; `hold` answers later, by `outcome`, and `lose` never.
//!
//! Printed is each attempt: when, to whom, why, which notification (`again` if it was tried before),
//! and of which alerts it tells; `shortly` or `plainly` if it had to be made smaller, and `no longer`
//! the labels that an alert had before. Then what was counted.

mod act;
mod script;
mod world;

use crate::{script::Script, ways::Way};

pub(crate) use script::{Command, command};

/// The ways that make sense here. A restart leaves out what is under way: that is sent again, which
/// scripts cannot say.
pub(crate) const OTHERS: [Way; 2] = [Way::Restored, Way::Ticking];

/// What each block prints.
pub(crate) fn play(script: &Script<Command>, way: Way) -> Vec<Vec<String>> {
    let mut world = world::World::new(way);
    script.blocks.iter().map(|block| world.run(&block.command)).collect()
}
