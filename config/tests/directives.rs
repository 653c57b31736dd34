//! Checks of directives that plugin set-up uses.

use std::collections::BTreeMap;

use config::{Corefile, ParseOptions, ServerBlock, Word, default_text, zones_or_keys};

fn block(text: &str) -> ServerBlock {
    let files = BTreeMap::<String, String>::new();
    let text = format!("a.org b.org {{\n{text}\n}}");
    Corefile::parse("Corefile", &text, &files, &ParseOptions::default())
        .expect("the block parses")
        .blocks
        .remove(0)
}

#[test]
fn argument_counts_are_checked_with_their_line() {
    let block = block("none\none 1\ntwo 1 2");
    let line = |name| block.once(name).unwrap().unwrap();
    assert_eq!(line("none").no_args(), Ok(()));
    assert_eq!(line("none").optional_arg("[TTL]"), Ok(None));
    assert_eq!(line("one").arg("TTL").map(|arg| arg.text.as_str()), Ok("1"));
    assert_eq!(line("two").args::<2>("FROM TO").map(|args| args.len()), Ok(2));
    assert_eq!(line("two").args_between(1, 3, "TO…").map(<[Word]>::len), Ok(2));
    for (error, wanted) in [
        (
            line("none").arg("TTL").err(),
            "2 Wrong argument count or unexpected line ending after 'none'; none TTL",
        ),
        (
            line("one").no_args().err(),
            "3 Wrong argument count or unexpected line ending after '1'; one without arguments",
        ),
        (line("two").arg("TTL").err(), "4 Wrong argument count or unexpected line ending after '2'; two TTL"),
        (
            line("two").optional_arg("[TTL]").err(),
            "4 Wrong argument count or unexpected line ending after '2'; two [TTL]",
        ),
        (
            line("two").args_from(3, "A B C…").err(),
            "4 Wrong argument count or unexpected line ending after '2'; two A B C…",
        ),
        (
            line("two").args_between(0, 1, "[A]").err(),
            "4 Wrong argument count or unexpected line ending after '2'; two [A]",
        ),
    ] {
        let error = error.expect(wanted);
        assert_eq!(format!("{} {}; {}", error.at.line(), error.what, error.wanted), wanted);
    }
}

#[test]
fn repeated_directives_and_unexpected_blocks_are_errors() {
    let block = block("cache\ncache\nlog {\n klass all\n}");
    let error = block.once("cache").unwrap_err();
    let what = "plugin/cache: this plugin can only be used once per Server Block";
    assert_eq!((error.at.line(), error.what.as_str()), (3, what));
    assert_eq!(block.all("cache").count(), 2);
    assert_eq!(block.once("loop"), Ok(None));
    let log = block.once("log").unwrap().unwrap();
    assert_eq!(log.no_block().unwrap_err().at.line(), 5);
    let error = log.block[0].unknown(&["class"]);
    assert_eq!(
        (error.what.as_str(), error.wanted.as_str()),
        ("unknown property 'klass'", "class? (one of class)")
    );
}

#[test]
fn zones_come_from_the_arguments_or_the_keys() {
    let block = block("cache 30 c.org 10.0.0.0/15");
    let args = &block.directives[0].args[1..];
    assert_eq!(zones_or_keys(args, &block).unwrap(), ["c.org.", "0.10.in-addr.arpa.", "1.10.in-addr.arpa."]);
    assert_eq!(zones_or_keys(&[], &block).unwrap(), ["a.org.", "b.org."]);
}

#[test]
fn the_default_configuration_is_that_of_coredns() {
    let files = BTreeMap::<String, String>::new();
    let corefile =
        Corefile::parse("Corefile", &default_text(1053), &files, &ParseOptions::default()).unwrap();
    assert_eq!(corefile.blocks[0].keys[0].to_string(), "dns://.:1053");
    assert_eq!(corefile.blocks[0].directives.len(), 2);
}
