//! Formats an error with its causes as one line of a log.

/// Start of rustls's message about a connection that was closed without `close_notify`. A link to its manual for programmers
/// follows.
const UNEXPECTED_EOF: &str = "peer closed connection without sending TLS close_notify";

/// Returns the error and all its causes, separated by colons.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = plain(error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = plain(error.to_string());
        // Some error types repeat the text of their cause.
        if !text.ends_with(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = error.source();
    }
    text
}

fn plain(mut text: String) -> String {
    if let Some(at) = text.find(UNEXPECTED_EOF) {
        text.truncate(at);
        text.push_str("the peer closed the connection");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "reading a list")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn causes_are_joined_and_not_repeated() {
        let cut = format!(
            "{UNEXPECTED_EOF}: https://docs.rs/rustls/latest/rustls/manual/_03_howto/index.html#unexpected-eof"
        );
        for (cause, line) in [
            ("refused", "reading a list: refused"),
            (&cut, "reading a list: the peer closed the connection"),
            ("reading a list", "reading a list"),
        ] {
            assert_eq!(causes(&Outer(io::Error::other(cause))), line);
        }
    }
}
