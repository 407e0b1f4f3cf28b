//! Queues that start the attempts of tasks which share an external service.
//!
//! [`ledger`] keeps who holds a slot and who waits, and says who may start; [`line`](mod@line) is the order of those who wait, [`rate`] how
//! fast they start, [`circuit`] and [`votes`] whether the service is up. [`facts`] is what of a task's stored status counts.
//! [`view`] is what a task and its queue tell each other, and [`place`] is for people: where a task is in the line.

pub mod circuit;
pub mod facts;
pub mod failures;
pub mod ledger;
pub mod line;
pub mod place;
pub mod rate;
pub mod settings;
pub mod view;
pub mod votes;
