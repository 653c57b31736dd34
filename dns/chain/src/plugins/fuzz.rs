//! The entry points of single plugins.

pub use super::etcd::etcd_record;
pub use super::file::zone_file;
