#![allow(clippy::needless_pass_by_value)] // json! makes values

mod backfill;
mod complaints;
mod decisions;
mod requests;
mod simulation;
mod success_due;
mod world;
mod zones;
