//! Many attempts, on simulated nodes.

mod matrix;
mod messages;
