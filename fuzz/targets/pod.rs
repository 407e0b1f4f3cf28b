//! Any status of a task and of its Pods: what the operator makes of them.
#![no_main]

#[path = "../src/life.rs"]
mod life;
#[path = "../src/mutate.rs"]
mod mutate;
#[path = "../src/pod.rs"]
mod pod;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    pod::pod(data);
});
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::mutate(data, size, max_size, seed)
});
