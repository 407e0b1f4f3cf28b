#![allow(clippy::needless_pass_by_value)] // json! makes values

mod complaints;
mod decisions;
mod requests;
mod simulation;
mod world;
mod zones;
