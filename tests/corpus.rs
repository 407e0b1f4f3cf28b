//! What the fuzzer has found worth keeping (`fuzz/corpus`), once more, without it.

// The targets are the fuzzer's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "../fuzz/src/life.rs"]
mod life;
#[path = "../fuzz/src/pod.rs"]
mod pod;
#[path = "../fuzz/src/spec.rs"]
mod spec;

use std::fs;
use std::path::Path;

/// Runs each file of the corpus; at least `least` of them must lead to a Pod, or nothing was looked at.
fn replay(target: &str, run: fn(&[u8]) -> bool, least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let lived = files.filter(|file| {
        // A test that fails prints which was the last.
        println!("{}", file.display());
        run(&fs::read(file).unwrap())
    });
    let lived = lived.count();
    assert!(lived >= least, "{lived} lives");
}

#[test]
fn any_manifest_is_judged_and_what_is_admitted_is_run() {
    replay("spec", spec::spec, 20);
}

#[test]
fn any_status_of_a_task_and_of_its_pods_is_decided() {
    replay("pod", pod::pod, 20);
}
