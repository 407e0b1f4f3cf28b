//! The operator's process in a container. The node is this machine, so its processes can be seen, stopped and killed.

use crate::support::eventually;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A process in a container.
#[derive(Debug)]
pub struct Process {
    id: u32,
}

impl Process {
    /// The first process of the Pod's only container.
    pub async fn of(pod: &Pod) -> Self {
        let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let [only] = &statuses.expect("the container has a status")[..] else { panic!("not one container: {pod:#?}") };
        let container = only.container_id.as_deref().and_then(|id| id.split_once("://")).expect("it was made").1;
        eventually("the container's process", async || {
            let name = pod.name_any();
            in_container(container).ok_or_else(|| format!("no process is in the control group of {name}'s container"))
        })
        .await
    }

    /// Sends it a signal, such as KILL or STOP.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id.to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name} {}: {status}", self.id);
    }

    /// The words after `key:` in its status.
    pub fn status(&self, key: &str) -> Vec<String> {
        let status = fs::read_to_string(self.file("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        let words = line.unwrap_or_else(|| panic!("no {key} in\n{status}")).split_whitespace();
        words.map(str::to_owned).collect()
    }

    /// How the file system at `path` is mounted for it, such as `ro` and `relatime`.
    pub fn mount_options(&self, path: &str) -> Vec<String> {
        let mounts = fs::read_to_string(self.file("mounts")).unwrap();
        let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).rfind(|words| words[1] == path);
        mount.unwrap_or_else(|| panic!("nothing is mounted at {path}:\n{mounts}"))[3]
            .split(',')
            .map(Into::into)
            .collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        ["/proc", &self.id.to_string(), name].iter().collect()
    }
}

fn in_container(container: &str) -> Option<Process> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    // One that ends meanwhile has no control group any more.
    let is_in = |id: &u32| fs::read_to_string(format!("/proc/{id}/cgroup")).is_ok_and(|text| text.contains(container));
    ids.filter(is_in).min().map(|id| Process { id })
}
