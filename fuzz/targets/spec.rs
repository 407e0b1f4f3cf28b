//! Any manifest: admitted or not, and what is admitted is run.
#![no_main]

#[path = "../src/life.rs"]
mod life;
#[path = "../src/mutate.rs"]
mod mutate;
#[path = "../src/spec.rs"]
mod spec;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    spec::spec(data);
});
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::mutate(data, size, max_size, seed)
});
