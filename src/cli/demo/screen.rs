//! What people see of the demo: alerts as they fire, a status line below them, a summary at the end.
//!
//! Alerts go to standard output, everything else to standard error. On a terminal the status line is
//! written over and stays below the alerts; elsewhere a plain line comes every ten seconds.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::super::output;

/// How often the status line is written over.
const REDRAW: Duration = Duration::from_millis(250);

/// How often a plain line comes where there is no terminal.
const PLAIN: Duration = Duration::from_secs(10);

/// Shared by everything that prints, so that lines do not mix.
pub(super) struct Screen {
    is_terminal: bool,
    state: Mutex<State>,
}

struct State {
    status: String,
    drawn_at: Option<Instant>,
    is_drawn: bool,
}

impl Screen {
    pub(super) fn new() -> Screen {
        let state = State { status: String::new(), drawn_at: None, is_drawn: false };
        Screen { is_terminal: io::stderr().is_terminal(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints whole lines to standard output, above the status line.
    ///
    /// # Errors
    /// Standard output cannot be written to.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        let mut state = self.lock();
        clear(&mut state);
        let mut out = io::stdout().lock();
        let result = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        drop(out);
        if self.is_terminal {
            draw(&mut state);
        }
        result
    }

    /// Tells people on standard error, above the status line.
    pub(super) fn tell(&self, text: &str) {
        let mut state = self.lock();
        clear(&mut state);
        output::tell(text);
        if self.is_terminal {
            draw(&mut state);
        }
    }

    /// Whether it is time for [`Screen::set_status`].
    pub(super) fn wants_status(&self) -> bool {
        let pause = if self.is_terminal { REDRAW } else { PLAIN };
        self.lock().drawn_at.is_none_or(|drawn_at| drawn_at.elapsed() >= pause)
    }

    /// Sets the status line; an empty one takes it away.
    pub(super) fn set_status(&self, status: String) {
        let mut state = self.lock();
        clear(&mut state);
        state.drawn_at = Some(Instant::now());
        state.status = status;
        if self.is_terminal {
            draw(&mut state);
        } else if !state.status.is_empty() {
            output::tell(&state.status);
        }
    }
}

fn clear(state: &mut State) {
    if std::mem::take(&mut state.is_drawn) {
        output::show_status("");
    }
}

fn draw(state: &mut State) {
    if !state.status.is_empty() {
        output::show_status(&state.status);
        state.is_drawn = true;
    }
}
