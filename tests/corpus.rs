//! What the fuzzer has found worth keeping (`fuzz/corpus`), once more, without it.

// The targets are the fuzzer's.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../fuzz/src/life.rs"]
mod life;
#[path = "../fuzz/src/pod.rs"]
mod pod;
#[path = "../fuzz/src/spec.rs"]
mod spec;

use std::fs;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 20, "a corpus of {} files", files.len());
    for file in files {
        // A test that fails prints the last.
        println!("{}", file.display());
        run(&fs::read(&file).unwrap());
    }
}

#[test]
fn any_manifest_is_judged_and_what_is_admitted_is_run() {
    replay("spec", spec::spec);
}

#[test]
fn any_status_of_a_task_and_of_its_pods_is_decided() {
    replay("pod", pod::pod);
}
