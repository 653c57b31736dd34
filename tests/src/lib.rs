//! What the tests of the whole stand on: a real control plane in a network of its own, clients, and a runner.
//!
//! Nothing here is a mock of the API server. Setting the stage panics with what is missing; tests may do that.

pub mod wait;

pub mod dns;
pub mod http;
pub mod namespace;
pub mod process;
pub mod programs;
pub mod runner;

pub mod api;
pub mod backend;
pub mod credentials;
pub mod relay;
pub mod upstream;
pub mod web;

pub mod control_plane;

pub mod stage;
