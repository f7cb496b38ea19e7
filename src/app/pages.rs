//! The threads on which pages and answers of the API are made: a few of their own, which give way to those that detect
//! and tell. Whoever looks while events pour in waits, and alerts do not.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Pages that are made at once: 2. Those that wait for the disk, or for an act to be durable, are not counted.
const PAGES_AT_ONCE: usize = 2;

/// Questions to the ledger, and other work for them that waits for the disk, at once: 16.
const WAITING_AT_ONCE: usize = 16;

/// How nice they are: a third of the weight of other threads, those of other processes included. At a tenth a page took
/// seconds on a machine where others used all there was.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// A runtime on such threads.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(PAGES_AT_ONCE)
        .max_blocking_threads(WAITING_AT_ONCE)
        .thread_name("pages")
        .on_thread_start(give_way)
        .enable_all()
        .build()
}

/// On Linux each thread has a priority of its own. Elsewhere it would be that of the process.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("threads of pages have no lower priority: {error}");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn threads_of_pages_give_way_and_no_others() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let pages = runtime().unwrap();
        let made = pages.block_on(async {
            let page = tokio::spawn(async move { priority() }).await.unwrap();
            (page, tokio::task::spawn_blocking(priority).await.unwrap())
        });
        assert_eq!(made, (NICE, NICE));
        assert_eq!(priority(), before);
    }
}
