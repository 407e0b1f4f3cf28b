//! Queues that start the attempts of tasks which share an external service.

pub mod view;
