//! Writes to standard output and standard error. A closed pipe is not an error; `print!` and `eprintln!` would panic.

use std::io::Write;

/// Prints text to standard output.
pub fn print(text: impl AsRef<str>) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(text.as_ref().as_bytes()).and_then(|()| output.flush());
}

/// Prints a line to standard error.
pub fn print_error(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", line.as_ref());
}

/// Prints a part of a line to standard error.
pub fn print_error_part(text: impl AsRef<str>) {
    let mut output = std::io::stderr().lock();
    let _ = output.write_all(text.as_ref().as_bytes()).and_then(|()| output.flush());
}
