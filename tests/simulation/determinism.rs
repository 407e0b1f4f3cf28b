//! The same seed gives the same run: replaces the process's sources of randomness and its wall clock.
//!
//! A world runs in a thread of its own, because std's hash keys, `fastrand`'s generator and tokio's `select!` are seeded
//! once per thread. Whatever that thread reads of random bytes or the time of day comes from the world.
#![allow(unsafe_code)] // this file redefines two functions of libc, and one of them calls the original

use crate::random::Random;
use std::{
    cell::RefCell,
    future::Future,
    sync::{
        Once,
        atomic::{AtomicPtr, Ordering},
    },
};

thread_local! {
    static RANDOM: RefCell<Option<Random>> = const { RefCell::new(None) };
    static NOW: RefCell<Option<Box<dyn Fn() -> jiff::Timestamp>>> = const { RefCell::new(None) };
}

/// Random bytes for std, `getrandom` and `rand`: the world's in a world, constant elsewhere.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes, as for the function of this name in libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    let next = || RANDOM.try_with(|random| random.borrow_mut().as_mut().map_or(0x5a, Random::next));
    for i in 0..length {
        #[allow(clippy::cast_possible_truncation)] // one byte is wanted
        let byte = next().unwrap_or(0x5a) as u8;
        // SAFETY: i < length, and the caller vouches for the buffer.
        unsafe { *buffer.add(i) = byte };
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// The time of day: the world's in a world. Every other clock is the system's.
///
/// # Safety
/// `time` must be valid for a write, as for the function of this name in libc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    let world = || NOW.try_with(|now| now.borrow().as_ref().map(|now| now())).ok().flatten();
    if clock == libc::CLOCK_REALTIME
        && let Some(now) = world()
    {
        let now = libc::timespec { tv_sec: now.as_second(), tv_nsec: now.subsec_nanosecond().into() };
        // SAFETY: the caller vouches for the pointer.
        unsafe { *time = now };
        return 0;
    }
    // SAFETY: the arguments are the caller's own.
    unsafe { system_clock()(clock, time) }
}

type ClockGettime = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

/// libc's own definition, which ours hides. It needs no system call.
fn system_clock() -> ClockGettime {
    static SYSTEM: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());
    let mut address = SYSTEM.load(Ordering::Relaxed);
    if address.is_null() {
        // SAFETY: the name is a C string.
        address = unsafe { libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr()) };
        assert!(!address.is_null(), "libc has no clock_gettime");
        SYSTEM.store(address, Ordering::Relaxed);
    }
    // SAFETY: that is the type of the function of this name.
    unsafe { std::mem::transmute::<*mut libc::c_void, ClockGettime>(address) }
}

/// Sets the wall clock of this thread.
pub fn set_time_of_day(now: impl Fn() -> jiff::Timestamp + 'static) {
    NOW.with(|slot| *slot.borrow_mut() = Some(Box::new(now)));
}

struct FixedHash;

impl ahash::random_state::RandomSource for FixedHash {
    fn gen_hasher_seed(&self) -> usize {
        42
    }
}

/// Runs the scenario in a thread and a runtime of its own, with tokio's clock paused and everything random drawn from
/// the seed.
///
/// # Panics
/// When the scenario panics.
pub fn isolated<T, F>(seed: u64, scenario: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    static HASH: Once = Once::new();
    HASH.call_once(|| assert!(ahash::random_state::set_random_source(FixedHash).is_ok(), "a hasher was made before"));
    let world = move || {
        RANDOM.with(|slot| *slot.borrow_mut() = Some(Random::fork(seed, "system")));
        fastrand::seed(seed);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async move { scenario().await })
    };
    match std::thread::spawn(world).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
