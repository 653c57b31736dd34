//! The error of a command: a message and an exit code.

/// Why a command failed.
#[derive(Debug)]
pub struct CommandError {
    /// The message to print; empty if it has been printed already.
    pub message: String,
    /// 0 after help, 1 after a failure of the environment, 2 if the command line or a configuration file is invalid.
    pub code: u8,
}

impl CommandError {
    /// The command line or a configuration file is invalid.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// The environment failed: a port is in use, a file cannot be read.
    pub fn outside(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }
}

impl From<clap::Error> for CommandError {
    /// Prints help or the error through clap, in colour on a terminal.
    fn from(error: clap::Error) -> Self {
        let code = if error.use_stderr() { 2 } else { 0 };
        // Fails only if the output is closed.
        let _ = error.print();
        Self { message: String::new(), code }
    }
}
