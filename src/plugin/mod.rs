//! What `kubectl retryable` shows and asks for. Pure: objects in, rows, sentences and requests out.

pub mod create;
pub mod errors;
pub mod inputs;
pub mod logs;
pub mod progress;
pub mod queues;
pub mod requests;
pub mod schedules;
pub mod table;
pub mod tasks;
pub mod timeline;
pub mod workers;

#[cfg(test)]
mod tests;
