//! Support for end-to-end tests: a real control plane in a separate network namespace, clients, and a test runner.
//!
//! The API server is never mocked. Functions that set up the test environment panic when something is missing.

pub mod wait;

pub mod differential;
pub mod dns;
pub mod http;
pub mod namespace;
pub mod process;
pub mod programs;
pub mod runner;

pub mod api;
pub mod backend;
pub mod credentials;
pub mod kubeadm;
pub mod relay;
pub mod upstream;
pub mod web;

pub mod manifests;

pub mod control_plane;

pub mod stage;

pub mod canary;
pub mod pod_runner;

pub mod browser;

pub mod documentation;

pub mod promql;

pub mod monitoring;
pub mod prometheus;

pub mod cgroups;
pub mod images;
pub mod isolation;
pub mod pod_images;

mod node_config;

pub mod node;

pub mod conformance;

pub mod meter;
