//! Standard output and standard error, which may be pipes that nobody reads any more.

use std::io::Write;

/// Prints text. Who has closed the other end misses it, and that is all: `print!` would end the process.
pub fn print(text: impl AsRef<str>) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_ref().as_bytes()).and_then(|()| output.flush());
}

/// The same for a line that says what is wrong, or what is waited for: `eprintln!` would end the process, too.
pub fn tell(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", line.as_ref());
}
