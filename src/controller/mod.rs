//! Effects: everything that talks to the API server.

pub mod client;
