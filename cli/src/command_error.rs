//! How a command ends when it cannot go on: one clear message and an exit code.

/// Why a command ended.
#[derive(Debug)]
pub struct CommandError {
    /// What to tell; empty when everything has been said.
    pub message: String,
    /// 0 after help, 1 when something outside failed, 2 when the command line or a configuration file is wrong.
    pub code: u8,
}

impl CommandError {
    /// The command line or a configuration file is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// Something outside failed: a port in use, a file that cannot be read.
    pub fn outside(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }
}

impl From<clap::Error> for CommandError {
    /// clap prints help and errors itself, in colour where there is a terminal.
    fn from(error: clap::Error) -> Self {
        let code = if error.use_stderr() { 2 } else { 0 };
        // It fails where nobody reads: there is nobody to tell.
        let _ = error.print();
        Self { message: String::new(), code }
    }
}
