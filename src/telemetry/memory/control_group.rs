//! The control group that limits the process's memory, version 2 or 1.

use std::fs;
use std::path::{Path, PathBuf};

/// What is in use of a memory limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// What the kernel cannot take back: without the files that it can read again, as the kubelet counts it.
    pub used: u64,
    /// Where the kernel kills the process.
    pub limit: u64,
}

impl MemoryUse {
    /// From 0 to 1 at the limit.
    #[allow(clippy::cast_precision_loss)] // below 8 PiB there is none
    pub fn share(self) -> f64 {
        self.used as f64 / self.limit.max(1) as f64
    }

    /// From 0 to 100 at the limit.
    pub fn percent(self) -> u64 {
        self.used.saturating_mul(100) / self.limit.max(1)
    }
}

/// The group of a process and those above it that it can see.
#[derive(Clone, Debug, Default)]
pub struct ControlGroup {
    levels: Vec<Level>,
}

#[derive(Clone, Debug)]
struct Level {
    folder: PathBuf,
    names: Names,
}

/// What the files of a version are called.
#[derive(Clone, Copy, Debug)]
struct Names {
    limit: &'static str,
    usage: &'static str,
    /// The line of `memory.stat` with what can be read again, of the group and those below it.
    inactive_file: &'static str,
}

const V2: Names = Names { limit: "memory.max", usage: "memory.current", inactive_file: "inactive_file " };
const V1: Names =
    Names { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", inactive_file: "total_inactive_file " };
/// Version 1 has a large number for «no limit», which depends on the size of a page.
const NO_LIMIT: u64 = 1 << 62;

impl ControlGroup {
    /// The group of this process. Without a readable one there is no limit.
    pub fn of_this_process() -> Self {
        Self::under(Path::new("/"))
    }

    fn under(root: &Path) -> Self {
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let line = |wanted: fn(&str) -> bool| {
            groups.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                wanted(controllers).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let mounted = root.join("sys/fs/cgroup");
        let (mounted, path, names) = match line(|controllers| controllers.split(',').any(|one| one == "memory")) {
            Some(path) => (mounted.join("memory"), path, V1),
            None => (mounted, line(str::is_empty).unwrap_or_default(), V2),
        };
        // In a namespace of its own the process sees its group as the root, wherever its path leads.
        let path = if path.split('/').any(|part| part == "..") { PathBuf::new() } else { PathBuf::from(path) };
        let folders = path.ancestors().map(|path| mounted.join(path));
        let levels = folders.filter(|folder| folder.join(names.limit).exists()).map(|folder| Level { folder, names });
        Self { levels: levels.collect() }
    }

    /// What is in use of the limit that is nearest. A limit can change while the process runs.
    pub fn in_use(&self) -> Option<MemoryUse> {
        let limited = self.levels.iter().filter_map(Level::in_use);
        limited.max_by(|a, b| a.share().total_cmp(&b.share()))
    }
}

impl Level {
    fn in_use(&self) -> Option<MemoryUse> {
        let Self { folder, names: Names { limit, usage, inactive_file } } = self;
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let limit = number(limit).filter(|limit| *limit < NO_LIMIT)?;
        let usage = number(usage)?;
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let inactive = stat.lines().find_map(|line| line.strip_prefix(inactive_file)?.trim().parse::<u64>().ok());
        Some(MemoryUse { used: usage.saturating_sub(inactive.unwrap_or_default()), limit })
    }
}

#[cfg(test)]
mod tests;
