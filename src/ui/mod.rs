//! The page: what the tasks, queues and schedules of a cluster do, in a browser. It changes nothing.
//!
//! - [`record`], [`interner`], [`store`]: what is kept of each object, which is little: 10,000 tasks must fit well.
//! - [`cache`]: keeps the store by watches, as long as somebody looks.
//! - [`views`]: what each page shows, from the store, the query and the time. Pure.
//! - [`query`]: the query of a URL. [`text`]: times and counts as people read them. [`redact`]: an object as YAML without
//!   the values of its environment.
//! - [`auth`]: who may see, and what: a [`sight`]. [`server`]: the routes and their headers. [`live`]: the browser hears of changes.
//!
//! URLs are relative and one level deep, so that the page works behind any prefix, such as that of `kubectl proxy`.

pub mod auth;
pub mod cache;
pub mod interner;
pub mod live;
pub mod lookups;
pub mod query;
pub mod record;
pub mod redact;

pub mod server;
pub mod sight;
pub mod store;
pub mod text;
pub mod views;

#[cfg(test)]
pub(crate) mod testing;
