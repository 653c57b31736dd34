//! Writes JSON strings.

/// Appends a string in quotes, escaped as RFC 8259 §7 requires.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_backslashes_and_control_characters_are_escaped() {
        for (text, wanted) in [
            ("", r#""""#),
            ("plain é", "\"plain é\""),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\u{1}\n\t\r\u{1f}", r#""\u0001\n\t\r\u001f""#),
        ] {
            let mut out = Vec::new();
            push_string(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }
}
