//! Parses Corefiles into a tree in which every word has its file and line, and hosts files into lines.
//!
//! Contains the Corefile grammar and the types of values; it has no knowledge of plugins. Opens no socket, starts no task,
//! reads no clock and writes no log. Files are read through [`Loader`], implemented for the file system by [`Disk`].

mod address;
mod env;
pub mod hosts_file;
mod loader;
mod near;
mod location;
pub mod value;

mod disk;
mod error;
mod lexer;
mod zone;

mod fingerprint;
mod input;
mod word;

mod corefile;

mod overlap;

mod parser;

pub use address::HostPort;
pub use corefile::{Corefile, Directive, ServerBlock, default_text, zones_or_keys};
pub use disk::Disk;
pub use error::{ConfigError, ConfigErrors, ConfigWarning};
pub use fingerprint::Fingerprint;
pub use loader::Loader;
pub use location::SourceLocation;
pub use near::nearest;
pub use overlap::overlaps;
pub use parser::ParseOptions;
pub use word::Word;
pub use zone::{Scheme, ServerKey};
