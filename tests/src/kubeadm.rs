//! What kubeadm installs.

/// The Corefile of kubeadm 1.35.
pub const COREFILE: &str = include_str!("../kubeadm/Corefile");
