//! Configuration text to a tree in which every word knows its file and line.
//!
//! Holds the grammar of the Corefile and the values its words stand for. Knows no plugin. Must never open a
//! socket, start a task, read a clock or write a log; files are read through [`Loader`] only, whose one
//! implementation over the file system is [`Disk`].

mod address;
mod env;
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
pub use parser::ParseOptions;
pub use word::Word;
pub use zone::{Scheme, ServerKey};
