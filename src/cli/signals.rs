//! Ctrl-C for commands that loop: the first asks them to end in good order, the second ends at once.

use std::sync::{Arc, atomic::AtomicBool};

use anyhow::Context as _;

/// A flag that the first SIGINT or SIGTERM sets; the second of them ends the process with 130.
pub(super) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot handle signals")?;
    }
    Ok(stop)
}
