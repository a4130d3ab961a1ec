//! What the system says of this process. Linux tells it in files; elsewhere nothing is known.

/// Memory and files.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    /// In bytes.
    pub(super) resident_memory: Option<u64>,
    /// Sockets are files.
    pub(super) open_files: Option<u64>,
    /// None, where there is no limit.
    pub(super) open_files_limit: Option<u64>,
}

impl Process {
    /// Three small files of `/proc`, which take some 50 microseconds.
    pub(super) fn now() -> Self {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).ok();
        Self {
            resident_memory: read("status").and_then(|text| resident_memory(&text)),
            // One of them is the folder itself, which is being read.
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as u64),
            open_files_limit: read("limits").and_then(|text| open_files_limit(&text)),
        }
    }
}

/// `VmRSS:     12345 kB` (proc_pid_status(5)); its kB has 1,024 bytes.
fn resident_memory(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// `Max open files            1024                 1048576              files`: the first number, the soft limit, holds
/// (proc_pid_limits(5)).
fn open_files_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        assert_eq!(resident_memory("Name:\ttieline\nVmRSS:\t   12345 kB\nThreads:\t3\n"), Some(12_641_280));
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
            Max processes             63704                63704                processes \n\
            Max open files            1024                 1048576              files     \n";
        assert_eq!(open_files_limit(limits), Some(1024));
        assert_eq!(open_files_limit("Max open files            unlimited            unlimited            files"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_files() {
        let before = Process::now();
        let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/proc/self/status").unwrap()).collect();
        let after = Process::now();
        assert!(before.resident_memory.is_some_and(|bytes| (1 << 20..1 << 36).contains(&bytes)), "{before:?}");
        // Other tests of this process open and close files as well.
        assert!(after.open_files >= Some(20), "{after:?}");
        drop(files);
    }
}
