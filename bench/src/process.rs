//! CPU time and memory of processes, from the operating system.

use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The kernel's unit of CPU time (`USER_HZ`): the same on all supported machines.
const TICKS_PER_SECOND: u64 = 100;

/// A process that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// A part of the cluster: etcd, apiserver, controller-manager, kwok.
    pub fn of_cluster(name: &str) -> Result<Self> {
        let folder = PathBuf::from(std::env::var_os("CLUSTER_DIR").context("CLUSTER_DIR is not set")?);
        let path = folder.join("run").join(format!("{name}.pid"));
        let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let pid = text.split_whitespace().next().and_then(|pid| pid.parse().ok());
        Ok(Self(pid.with_context(|| format!("{} names no process", path.display()))?))
    }

    /// The CPU time that all its threads have used.
    pub fn cpu(self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    /// Its resident memory now, in bytes.
    pub fn memory(self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The peak of its resident memory, in bytes.
    pub fn peak_memory(self) -> Result<u64> {
        self.status("VmHWM:")
    }

    fn status(self, key: &str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find(|line| line.starts_with(key)).context("no such figure")?;
        Ok(line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024)
    }

    /// Sends it a signal, such as STOP or CONT.
    pub fn signal(self, name: &str) -> Result<()> {
        let status = std::process::Command::new("kill").args(["-s", name, &self.0.to_string()]).status()?;
        anyhow::ensure!(status.success(), "kill -s {name}: {status}");
        Ok(())
    }
}

/// The CPU time of all processes that take part.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    pub controller: Duration,
    pub apiserver: Duration,
    pub etcd: Duration,
    pub nodes: Duration,
    /// All cores, busy and idle.
    pub machine: (Duration, Duration),
}

impl Cpu {
    /// Reads the current values.
    pub fn now(controller: Process) -> Result<Self> {
        let of = |name| Process::of_cluster(name)?.cpu();
        Ok(Self {
            controller: controller.cpu()?,
            apiserver: of("apiserver")?,
            etcd: of("etcd")?,
            nodes: of("kwok")?,
            machine: machine()?,
        })
    }

    /// The difference to `before`.
    pub fn since(self, before: Self) -> Self {
        let Self { controller, apiserver, etcd, nodes, machine } = self;
        Self {
            controller: controller.saturating_sub(before.controller),
            apiserver: apiserver.saturating_sub(before.apiserver),
            etcd: etcd.saturating_sub(before.etcd),
            nodes: nodes.saturating_sub(before.nodes),
            machine: (machine.0.saturating_sub(before.machine.0), machine.1.saturating_sub(before.machine.1)),
        }
    }

    /// The share of the machine's CPU time that was used, from 0 to 1.
    pub fn busy(self) -> f64 {
        let (busy, idle) = (self.machine.0.as_secs_f64(), self.machine.1.as_secs_f64());
        busy / (busy + idle).max(0.001)
    }
}

fn machine() -> Result<(Duration, Duration)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let ticks: Vec<u64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let at = |index: usize| ticks.get(index).copied().unwrap_or(0);
    let idle = at(3) + at(4);
    let busy = ticks.iter().take(8).sum::<u64>() - idle;
    Ok((Duration::from_millis(busy * 10), Duration::from_millis(idle * 10)))
}
