//! A control group with a memory limit, as a container has one.

use std::fs;
use std::path::{Path, PathBuf};

/// Goes with this value, when no process is left in it.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    is_v1: bool,
}

impl MemoryGroup {
    /// Without a limit.
    pub fn new(name: &str) -> Self {
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let is_v1 = v1.join("memory.limit_in_bytes").exists();
        let root = if is_v1 { v1 } else { Path::new("/sys/fs/cgroup") };
        let folder = root.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        Self { folder, is_v1 }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, v1: &str, v2: &str) -> PathBuf {
        self.folder.join(if self.is_v1 { v1 } else { v2 })
    }

    /// What its processes have taken for themselves, in bytes.
    pub fn taken(&self) -> u64 {
        let line = if self.is_v1 { "total_rss " } else { "anon " };
        let stat = fs::read_to_string(self.folder.join("memory.stat")).unwrap();
        stat.lines().find_map(|text| text.strip_prefix(line)?.parse().ok()).unwrap()
    }

    /// Beyond this many bytes the kernel kills a process of it. Nothing is swapped out instead.
    pub fn limit(&self, bytes: u64) {
        fs::write(self.file("memory.limit_in_bytes", "memory.max"), bytes.to_string()).unwrap();
        // Not every kernel counts what is swapped out.
        let _ = fs::write(self.file("memory.swappiness", "memory.swap.max"), "0");
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Processes that the test has left end with it, and the empty group takes nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}
