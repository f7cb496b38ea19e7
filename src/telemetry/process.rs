//! What the operating system knows about this process, for the usual `process_…` metrics.

use std::fs;

/// Clock ticks in a second in `/proc`. Linux has shown 100 to user space on every machine for
/// decades, whatever the kernel's own tick.
const TICKS_PER_SECOND: f64 = 100.0;

/// One look at the process. On systems without `/proc` there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ProcessStats {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) threads: u64,
    pub(super) open_fds: u64,
    /// Since the Unix epoch.
    pub(super) start_seconds: f64,
}

/// Looks at the process. Cost: four small files, some 50 µs.
pub(super) fn read() -> Option<ProcessStats> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let open_fds = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let status = fs::read_to_string("/proc/self/status").ok()?;
    parse(&stat, &boot, &status, open_fds)
}

fn parse(stat: &str, boot: &str, status: &str, open_fds: u64) -> Option<ProcessStats> {
    // The second field is the command in brackets and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let boot_seconds: f64 =
        boot.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let seconds = |ticks: u64| ticks_to_seconds(ticks);
    Some(ProcessStats {
        cpu_seconds: seconds(field(11)?) + seconds(field(12)?),
        threads: field(17)?,
        start_seconds: boot_seconds + seconds(field(19)?),
        virtual_bytes: field(20)?,
        resident_bytes: kilobytes("VmRSS:")? * 1_024,
        open_fds,
    })
}

#[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
fn ticks_to_seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_and_spaces_does_not_confuse() {
        let stat =
            "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 1000 8192 3 0";
        let stats = parse(stat, "cpu 1\nbtime 1000000\n", "VmRSS:\t  12 kB\n", 5).unwrap();
        assert_eq!(
            stats,
            ProcessStats {
                cpu_seconds: 3.0,
                resident_bytes: 12 * 1_024,
                virtual_bytes: 8_192,
                threads: 7,
                open_fds: 5,
                start_seconds: 1_000_010.0,
            }
        );
    }

    #[test]
    fn this_process_can_be_seen() {
        if cfg!(target_os = "linux") {
            let stats = read().unwrap();
            assert!(stats.resident_bytes > 1 << 20 && stats.threads >= 1 && stats.open_fds >= 3);
        }
    }
}
