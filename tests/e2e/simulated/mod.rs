//! Many attempts, on simulated nodes.

mod killed_at_every_write;
mod long_messages;
