//! Errors in the words of a log line.

/// What rustls says of a connection that ends without a goodbye; it adds the address of its manual, which helps
/// nobody who runs a cluster.
const CUT: &str = "peer closed connection without sending TLS close_notify";

/// An error with all its causes in one line.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = plain(error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = plain(error.to_string());
        // Many wrap a cause and repeat its text.
        if !text.ends_with(&line) {
            text.push_str(": ");
            text.push_str(&line);
        }
        cause = error.source();
    }
    text
}

fn plain(mut text: String) -> String {
    if let Some(at) = text.find(CUT) {
        text.truncate(at);
        text.push_str("the connection was cut");
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
    fn causes_stand_in_one_line_and_in_plain_words() {
        let cut =
            format!("{CUT}: https://docs.rs/rustls/latest/rustls/manual/_03_howto/index.html#unexpected-eof");
        for (cause, line) in [
            ("refused", "reading a list: refused"),
            (&cut, "reading a list: the connection was cut"),
            ("reading a list", "reading a list"),
        ] {
            assert_eq!(causes(&Outer(io::Error::other(cause))), line);
        }
    }
}
