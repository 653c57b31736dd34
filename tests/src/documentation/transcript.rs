//! Transcripts: commands after `$ ` with their output, and the comparison of that output with the real one.

use std::sync::LazyLock;

use regex::Regex;

/// A command of a transcript with the output that the page shows.
#[derive(Debug, PartialEq)]
pub(super) struct Command {
    pub(super) text: String,
    /// Empty if the page shows none; then any output matches.
    pub(super) output: Vec<String>,
}

/// A line that stands for any number of lines.
const ELLIPSES: [&str; 2] = ["…", "..."];

/// Parts of an output that differ from run to run, and what stands for them in a comparison.
static VOLATILE: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\b", "<time>"),
        (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*", "<time>"),
        (r"\b[0-9a-f]{32}\b", "<id>"),
        (r"\b\d+(\.\d+)? ?(ns|µs|ms|s|m|h|d)\b", "<duration>"),
        (r"-[0-9a-f]{6,10}-[0-9a-z]{5}\b", "-<pod>"),
        (r"\b\d+(\.\d+)? ?(KiB|MiB|kB|MB)\b", "<size>"),
        // What is asked again and again; a number of one digit is one of questions.
        (r"\b\d{2,} (answers|right)\b", "<count> $1"),
        (r"\b\d+ of them at the second attempt\b", "<count> of them at the second attempt"),
        // A ClusterIP that the API server has chosen.
        (r"\b10\.96\.[1-9]\d*\.\d+\b", "<address>"),
        (r"\s+", " "),
    ]
    .map(|(pattern, name)| (Regex::new(pattern).expect("a valid pattern"), name))
    .into()
});

/// The commands of a transcript. A line that ends with a backslash continues on the next one.
pub(super) fn commands(text: &str) -> Result<Vec<Command>, String> {
    let mut commands: Vec<Command> = Vec::new();
    let mut continues = false;
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (_, Some(last)) if continues => {
                last.text.push('\n');
                last.text += line;
            }
            (Some(command), _) => commands.push(Command { text: command.to_owned(), output: Vec::new() }),
            (None, Some(last)) => {
                last.output.push(line.to_owned());
                continue;
            }
            (None, None) => return Err(format!("the transcript does not begin with `$ `: {line}")),
        }
        continues = line.ends_with('\\');
    }
    if commands.is_empty() { Err("the transcript has no command".to_owned()) } else { Ok(commands) }
}

/// Whether an output is the one that the page shows, except for volatile parts, spaces and blank lines.
pub(super) fn matches(shown: &[String], output: &str) -> bool {
    let wanted: Vec<String> = shown.iter().map(|line| stable(line)).filter(|line| !line.is_empty()).collect();
    let found: Vec<String> = output.lines().map(stable).filter(|line| !line.is_empty()).collect();
    wanted.is_empty() || lines_match(&wanted, &found)
}

fn lines_match(wanted: &[String], found: &[String]) -> bool {
    match wanted.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if ELLIPSES.contains(&first.as_str()) => {
            (0..=found.len()).any(|skipped| lines_match(rest, &found[skipped..]))
        }
        Some((first, rest)) => found.first() == Some(first) && lines_match(rest, &found[1..]),
    }
}

fn stable(line: &str) -> String {
    VOLATILE
        .iter()
        .fold(line.trim().to_owned(), |line, (pattern, name)| pattern.replace_all(&line, *name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transcript_has_commands_with_their_output() {
        let command = |text: &str, output: &[&str]| Command {
            text: text.to_owned(),
            output: output.iter().map(|&line| line.to_owned()).collect(),
        };
        assert_eq!(
            commands("$ one \\\n    --flag\nout\nput\n$ two\n").unwrap(),
            [command("one \\\n    --flag", &["out", "put"]), command("two", &[])]
        );
        assert!(commands("output\n").is_err());
        assert!(commands("").is_err());
    }

    #[test]
    fn an_output_matches_except_for_its_volatile_parts() {
        for (shown, output, wanted) in [
            ("Date: Sun, 29 Nov 2026 17:04:21 GMT", "Date: Mon, 30 Nov 2026 00:00:00 GMT", true),
            ("ready in 0.17 s", "ready in 2.4 s", true),
            ("x: af42f83d4d511dac5e3d395b49057905", "x: 00000000000000000000000000000000", true),
            ("web-5d4f8c9b7-x2x4z 1/1 5m", "web-779f8c9b44-abcde  1/1   12s", true),
            ("Done: 106 answers, 0 wrong", "Done: 99 answers, 0 wrong", true),
            ("Done: 106 answers, 0 wrong", "Done: 99 answers, 1 wrong", false),
            ("6 answers", "7 answers", false),
            ("a 30\tIN A 10.0.0.1", "a 30 IN A 10.0.0.2", false),
            ("one\n…\nthree", "one\ntwo\ntwo\nthree", true),
            ("one\n…", "one", true),
            ("one\n…\nfour", "one\ntwo\nthree", false),
            ("one", "one\ntwo", false),
            ("", "anything", true),
        ] {
            let shown: Vec<String> = shown.lines().map(str::to_owned).collect();
            assert_eq!(matches(&shown, output), wanted, "{shown:?} and {output:?}");
        }
    }
}
