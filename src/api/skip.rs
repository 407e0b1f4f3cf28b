//! What is left out of JSON: values that say nothing.
#![allow(clippy::trivially_copy_pass_by_ref)] // serde calls them with a reference

pub(super) fn is_zero(n: &i32) -> bool {
    *n == 0
}

pub(super) fn is_zero_long(n: &i64) -> bool {
    *n == 0
}

pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}
