//! Standard output, which may be a pipe that nobody reads any more.

use std::io::Write;

/// Prints text. Who has closed the other end misses it, and that is all: `print!` would end the process.
pub fn print(text: impl AsRef<str>) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_ref().as_bytes()).and_then(|()| output.flush());
}
