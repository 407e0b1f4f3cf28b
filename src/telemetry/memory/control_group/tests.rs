use super::*;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that looks like the root of a file system, and goes with this value.
struct Root(PathBuf);

impl Root {
    fn with(files: &[(&str, &str)]) -> Self {
        let name = format!("control-group-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = Self(std::env::temp_dir().join(name));
        for (path, text) in files {
            root.write(path, text);
        }
        root
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn in_use(&self) -> Option<(u64, u64)> {
        ControlGroup::under(&self.0).in_use().map(|MemoryUse { used, limit }| (used, limit))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn version_2_in_a_container() {
    let root = Root::with(&[
        ("proc/self/cgroup", "0::/\n"),
        ("sys/fs/cgroup/memory.max", "268435456\n"),
        ("sys/fs/cgroup/memory.current", "100000000\n"),
        ("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 20000000\nactive_file 5\n"),
    ]);
    assert_eq!(root.in_use(), Some((80_000_000, 268_435_456)));
    root.write("sys/fs/cgroup/memory.max", "max\n");
    assert_eq!(root.in_use(), None, "no limit");
}

#[test]
fn version_1_in_a_container_that_sees_the_path_of_the_host() {
    let root = Root::with(&[
        ("proc/self/cgroup", "5:cpu:/kubepods/pod1/c1\n4:hugetlb,memory:/kubepods/pod1/c1\n0::/\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
        ("sys/fs/cgroup/memory/memory.usage_in_bytes", "950\n"),
        ("sys/fs/cgroup/memory/memory.stat", "inactive_file 900\ntotal_inactive_file 150\n"),
    ]);
    assert_eq!(root.in_use(), Some((800, 1000)));
    root.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_eq!(root.in_use(), None, "no limit");
}

/// A Pod's limit holds for all its containers together.
#[test]
fn the_limit_that_is_nearest_counts_wherever_it_is() {
    let group = |path: &str, name: &str| format!("sys/fs/cgroup/{path}/{name}");
    let root = Root::with(&[("proc/self/cgroup", "0::/pod/container\n")]);
    for (path, limit, usage) in [("pod/container", "max", "100"), ("pod", "1000", "900"), (".", "2000", "1000")] {
        root.write(&group(path, "memory.max"), limit);
        root.write(&group(path, "memory.current"), usage);
    }
    assert_eq!(root.in_use(), Some((900, 1000)));
    root.write(&group("pod/container", "memory.max"), "105");
    assert_eq!(root.in_use(), Some((100, 105)));
}

#[test]
fn a_path_outside_of_the_namespace_is_the_root() {
    let root = Root::with(&[
        ("proc/self/cgroup", "0::/../../elsewhere\n"),
        ("sys/fs/cgroup/memory.max", "10\n"),
        ("sys/fs/cgroup/memory.current", "7\n"),
    ]);
    assert_eq!(root.in_use(), Some((7, 10)));
}

#[test]
fn without_a_group_there_is_no_limit() {
    assert_eq!(Root::with(&[]).in_use(), None);
    let odd = [("proc/self/cgroup", "nonsense\n"), ("sys/fs/cgroup/memory.max", "12 apples\n")];
    assert_eq!(Root::with(&odd).in_use(), None);
    assert_eq!((MemoryUse { used: 5, limit: 0 }.percent(), MemoryUse { used: 3, limit: 4 }.percent()), (500, 75));
}
