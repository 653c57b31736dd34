//! Texts of system errors as programs in Go write them, which filters of log lines match.

use std::io;

use nix::errno::Errno;

/// The text of an error as in Go. An error of a system call has the same words whatever the C library, in lower case and without its
/// number, such as `connection refused`; the end of a stream is `EOF`; another error has its own text.
pub fn error_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => {
            let mut text = Errno::from_raw(code).desc().to_owned();
            if let Some(first) = text.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            text
        }
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_network_have_the_texts_of_go() {
        for (error, text) in [
            (Errno::ECONNREFUSED.into(), "connection refused"),
            (Errno::ECONNRESET.into(), "connection reset by peer"),
            (Errno::EHOSTUNREACH.into(), "no route to host"),
            (Errno::ENETUNREACH.into(), "network is unreachable"),
            (Errno::ETIMEDOUT.into(), "connection timed out"),
            (Errno::EPIPE.into(), "broken pipe"),
            (Errno::EADDRNOTAVAIL.into(), "cannot assign requested address"),
            (Errno::EMFILE.into(), "too many open files"),
            (Errno::EPERM.into(), "operation not permitted"),
            (io::ErrorKind::UnexpectedEof.into(), "EOF"),
            (io::Error::other("another"), "another"),
        ] {
            assert_eq!(error_text(&error), text);
        }
    }
}
