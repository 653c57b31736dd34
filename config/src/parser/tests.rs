//! Tables of texts and the tree or the errors that they produce.

use std::collections::BTreeMap;
use std::fmt::Write;

use proptest::prelude::*;

use super::*;

/// Files that the tables import.
fn files() -> BTreeMap<String, String> {
    [
        ("errors.inc", "errors\nlog . {\n class denial\n}\n"),
        ("props.inc", "success 10\ndenial 20\n"),
        ("block.inc", "imported.org {\n whoami\n}\n"),
        ("site1.conf", "one.org {\n whoami\n}\n"),
        ("site2.conf", "two.org {\n whoami\n}\n"),
        ("snippet.inc", "(shared) {\n cache 5\n}\n"),
        ("uses.inc", "uses.org {\n import common\n}\n"),
        ("circle.inc", "import circle.inc\n"),
        ("sub/outer.inc", "import inner.inc\n"),
        ("sub/inner.inc", "inner.org {\n log\n}\n"),
        ("empty.inc", "# nothing\n"),
    ]
    .map(|(path, text)| (format!("/etc/coredns/{path}"), text.to_owned()))
    .into()
}

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "ZONE" => "env.example",
        "PORT" => "5353",
        "WORDS" => "a b",
        _ => return None,
    };
    Some(value.to_owned())
}

fn parse(text: &str, directives: &[&str]) -> Result<Corefile, ConfigErrors> {
    let options = ParseOptions { dns_port: 53, directives, env: &environment };
    Corefile::parse("/etc/coredns/Corefile", text, &files(), &options)
}

/// Formats a tree on one line: `keys: name args [ lines ]; name`.
fn shown(corefile: &Corefile) -> String {
    let blocks = corefile.blocks.iter().map(|block| {
        let keys: Vec<_> = block.keys.iter().map(ToString::to_string).collect();
        format!("{}: {}", keys.join(" "), lines(&block.directives))
    });
    blocks.collect::<Vec<_>>().join(" | ")
}

fn lines(lines: &[Directive]) -> String {
    let lines = lines.iter().map(|line| {
        let mut text = line.name.text.clone();
        line.args.iter().for_each(|arg| write!(text, " {arg}").unwrap());
        if !line.block.is_empty() {
            write!(text, " [{}]", self::lines(&line.block)).unwrap();
        }
        text
    });
    lines.collect::<Vec<_>>().join("; ")
}

#[test]
fn texts_parse_to_trees() {
    for (text, tree) in [
        ("", ""),
        ("# only a comment", ""),
        ("\"\"", ""),
        (".", "dns://.:53: "),
        (".:1053 {\n}", "dns://.:1053: "),
        (".\nwhoami\nlog . combined", "dns://.:53: whoami; log . combined"),
        ("localhost\n{\n whoami\n}", "dns://localhost.:53: whoami"),
        (". {\n whoami\n}\nExample.ORG { \n log\n}", "dns://.:53: whoami | dns://example.org.:53: log"),
        (". {\n whoami\n} b. {\n}", "dns://.:53: whoami | dns://b.:53: "),
        ("a, b c,\nd:54 {\n}", "dns://a.:53 dns://b.:53 dns://c.:53 dns://d.:54: "),
        (
            "tls://a https://a https3://b quic://a grpc://a dns://a {\n}",
            "tls://a.:853 https://a.:443 https3://b.:443 quic://a.:853 grpc://a.:443 dns://a.:53: ",
        ),
        ("tls://a:8853 {\n}", "tls://a.:8853: "),
        (
            "10.0.0.0/23:54 2001:db8::/32 {\n}",
            "dns://0.0.10.in-addr.arpa.:54 dns://1.0.10.in-addr.arpa.:54 dns://8.b.d.0.1.0.0.2.ip6.arpa.:53: ",
        ),
        (". {\n cache {\n  success 10 }\n log\n}", "dns://.:53: cache [success 10]; log"),
        (". {\n cache { keepttl }\n log\n}", "dns://.:53: cache [keepttl]; log"),
        (
            ". {\n cache 30 {\n  success 10\n  denial 5 6\n }\n loop\n}",
            "dns://.:53: cache 30 [success 10; denial 5 6]; loop",
        ),
        (". {\n cache { }\n loop\n}", "dns://.:53: cache; loop"),
        (". {\n cache { success 10\n }\n}", "dns://.:53: cache [success 10]"),
        (". {\n tls {\n  a {\n   b c\n  }\n  d\n }\n}", "dns://.:53: tls [a [b c]; d]"),
        (". {\n cache {}\n}", "dns://.:53: cache {}"),
        (". { whoami\n}", "dns://.:53: whoami"),
        (". {\n log \"a b\" \"c \\\"d\\\"\" \"\" \"x\ny\" z\n}", "dns://.:53: log a b c \"d\"  x\ny z"),
        (". {\n log#glued\n errors # far\n}", "dns://.:53: log; errors"),
        ("\u{feff}. {\r\n log\r\n}\r\n", "dns://.:53: log"),
        // Variables; a value with blanks stays one word.
        ("{$ZONE}:{%PORT%} {\n log {$WORDS} x{$NONE}y\n}", "dns://env.example.:5353: log a b xy"),
        (". {\n {$ZONE} x\n}", "dns://.:53: env.example x"),
        // Snippets.
        (
            "(a) {\n log\n cache {\n  success 1\n }\n}\n. {\n import a\n loop\n}",
            "dns://.:53: log; cache [success 1]; loop",
        ),
        (
            "(a) {\n success 1\n}\n. {\n cache {\n  import a\n  import a\n }\n}",
            "dns://.:53: cache [success 1; success 1]",
        ),
        ("(a) {\n log\n}\n(b) {\n import a\n loop\n}\n. {\n import b\n}", "dns://.:53: log; loop"),
        ("(a) {\n}\n. {\n import a\n log\n}", "dns://.:53: log"),
        ("(a) {\n x.org {\n  log\n }\n}\nimport a", "dns://x.org.:53: log"),
        ("(a) { log {$WORDS} }\n. {\n import a\n}", "dns://.:53: log a b"),
        // Files: in a block, in braces, at the top, by pattern, relative to the file that names them.
        (". {\n import errors.inc\n loop\n}", "dns://.:53: errors; log . [class denial]; loop"),
        (
            ". {\n cache {\n  import props.inc\n  keepttl\n }\n}",
            "dns://.:53: cache [success 10; denial 20; keepttl]",
        ),
        ("import block.inc\n. {\n}", "dns://imported.org.:53: whoami | dns://.:53: "),
        ("import site*.conf", "dns://one.org.:53: whoami | dns://two.org.:53: whoami"),
        ("import /etc/coredns/site?.conf", "dns://one.org.:53: whoami | dns://two.org.:53: whoami"),
        ("import sub/outer.inc", "dns://inner.org.:53: log"),
        ("import snippet.inc\n. {\n import shared\n}", "dns://.:53: cache 5"),
        ("(common) {\n log\n}\nimport uses.inc", "dns://uses.org.:53: log"),
        ("import empty.inc\n. {\n import empty.inc\n log\n}", "dns://.:53: log"),
        (". {\n basic / import password\n}", "dns://.:53: basic / import password"),
        // The same zone in several blocks that differ in scheme, port, address or view.
        (". {\n bind 127.0.0.1\n}\n. {\n bind ::1\n}", "dns://.:53: bind 127.0.0.1 | dns://.:53: bind ::1"),
        (". {\n view x\n}\n. {\n log\n}", "dns://.:53: view x | dns://.:53: log"),
        (". {\n}\ntls://. {\n}\n.:54 {\n}", "dns://.:53:  | tls://.:853:  | dns://.:54: "),
    ] {
        match parse(text, &[]) {
            Ok(corefile) => assert_eq!(shown(&corefile), tree, "{text}"),
            Err(errors) => panic!("{text}\n{errors}"),
        }
    }
}

#[test]
fn all_errors_are_reported_at_once_in_coredns_wording() {
    let unexpected = "Unexpected '}' because no matching opening brace";
    for (text, wanted) in [
        (". { whoami }", vec![format!("1 {unexpected}")]),
        (". {\n whoami }", vec![format!("2 {unexpected}")]),
        (". {\n cache {\n } }\n}", vec![format!("3 {unexpected}")]),
        (". {\n cache {\n } x\n log y\n}", vec!["3 Unexpected 'x' after '}'".into()]),
        (". {\n cache\n {\n }\n}", vec!["3 Unexpected '{' at the start of a line".into()]),
        (". {\n {\n  x\n }\n log\n}", vec!["2 Unexpected '{'".into()]),
        (". {\n log", vec!["2 Syntax error: Unexpected token 'log', expecting '}'".into()]),
        (". {\n cache {\n success 1", vec!["3 Unexpected EOF".into()]),
        ("a, {\n}", vec!["1 Expected another address but had '{' - check for extra comma".into()]),
        ("a,", vec!["1 Unexpected EOF".into()]),
        ("(a)\nlog", vec!["2 Syntax error: Unexpected token 'log', expecting '{'".into()]),
        ("(a) {\n log", vec!["2 Syntax error: Unexpected token 'log', expecting '}'".into()]),
        ("(a) {\n}\n(a) {\n}", vec!["3 redeclaration of previously declared snippet a".into()]),
        ("(a) {\n import a\n}", vec!["2 maximum snippet import depth (10000) exceeded: a".into()]),
        (
            "(a) {\n import b\n}\n(b) {\n import a\n}\n. {\n import a\n}",
            vec!["5 maximum snippet import depth (10000) exceeded: a".into()],
        ),
        (
            "import circle.inc",
            vec!["1 maximum file import depth (100000) exceeded: /etc/coredns/circle.inc".into()],
        ),
        (". {\n import\n}", vec!["2 Wrong argument count or unexpected line ending after 'import'".into()]),
        (". {\n import a b\n}", vec!["2 Import takes only one argument (glob pattern or file)".into()]),
        (". {\n import {$NONE}\n}", vec!["2 Import requires a non-empty filepath".into()]),
        (". {\n import none.inc\n}", vec!["2 File to import not found: none.inc".into()]),
        (
            "import *.*",
            vec!["1 Glob pattern may only contain one wildcard (*), but has others: /etc/coredns/*.*".into()],
        ),
        (
            "import [ab]",
            vec![
                "1 Glob pattern may only contain one wildcard (*), but has others: /etc/coredns/[ab]".into(),
            ],
        ),
        (". {\n}\n. {\n}", vec!["3 cannot serve dns://.:53 - it is already defined".into()]),
        (". . {\n}", vec!["1 cannot serve dns://.:53 - it is already defined".into()]),
        ("a:70000 {\n}", vec!["1 invalid port 70000 in \"a:70000\"".into()]),
        (
            "a..b {\n flip\n cache {\n  success 1 }\n}\nc: {\n flop\n log x\n}",
            vec![
                "1 zone is not a valid domain name: a..b".into(),
                "2 Unknown directive 'flip'".into(),
                "6 expecting data after last colon: \"c:\"".into(),
                "7 Unknown directive 'flop'".into(),
            ],
        ),
    ] {
        let known = ["bind", "cache", "log", "whoami", "view"];
        let errors = parse(text, &known).expect_err(text);
        let found: Vec<_> =
            errors.0.iter().map(|error| format!("{} {}", error.at.line(), error.what)).collect();
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn an_error_shows_file_line_and_text() {
    let errors =
        parse(". {\n  import errors.inc\n  forwrad . 1.1.1.1\n}", &["errors", "forward"]).unwrap_err();
    let wanted = "\
/etc/coredns/errors.inc:2 - Error during parsing: Unknown directive 'log'; wanted one of errors, forward
    log . {
/etc/coredns/Corefile:3 - Error during parsing: Unknown directive 'forwrad'; wanted forward? (one of errors, forward)
    forwrad . 1.1.1.1";
    assert_eq!(errors.to_string(), wanted);
}

#[test]
fn an_error_names_the_variable_that_the_word_came_from() {
    let corefile = parse(". {\n cache {$NONE} {$NONE}x plain\n}", &[]).unwrap();
    let said: Vec<_> = corefile.blocks[0].directives[0]
        .args
        .iter()
        .map(|word| word.integer::<u8>(..).unwrap_err().what)
        .collect();
    assert_eq!(
        said,
        [
            "invalid number \"\" (written {$NONE})",
            "invalid number \"x\" (written {$NONE}x)",
            "invalid number \"plain\""
        ]
    );
}

#[test]
fn a_pattern_that_matches_no_file_is_not_reported() {
    let corefile = parse("import none*.server\n. {\n log\n import none/*.override\n}\n", &[]).unwrap();
    assert_eq!((corefile.blocks.len(), corefile.warnings), (1, vec![]));
}

#[test]
fn suspicious_statements_are_warnings() {
    for (text, wanted) in [
        ("{\n log\n}", "1 a server block without a key is ignored"),
        (". {\n cache {\n }\n", "1 this server block is never closed"),
        (". {\n log#a b\n}", "2 a comment glued to a word ends at the next blank; write a blank before '#'"),
        (".\n log \"a\n}", "2 this quote is never closed"),
        (". {\n}\n}", "3 '}' is taken for a name as it stands"),
        (
            ". {\n errors {\n stacktrace }\n}",
            "3 '}' at the end of a property closes the block; CoreDNS refuses that for most properties",
        ),
        ("http://a {\n}", "1 'http://a' is taken for a name as it stands"),
    ] {
        let warnings = parse(text, &[]).map(|corefile| corefile.warnings).expect(text);
        let found: Vec<_> =
            warnings.iter().map(|warning| format!("{} {}", warning.at.line(), warning.what)).collect();
        assert_eq!(found, [wanted], "{text}");
    }
}

#[test]
fn exponential_snippets_reach_the_word_limit() {
    let mut text = "(s0) {\n log a b c d e f g h\n}\n".to_owned();
    for level in 1..40 {
        let below = level - 1;
        write!(text, "(s{level}) {{\n import s{below}\n import s{below}\n}}\n").unwrap();
    }
    text.push_str(". {\n import s39\n}\n");
    let errors = parse(&text, &[]).unwrap_err();
    assert!(errors.0[0].what.contains("maximum snippet import depth"), "{errors}");
    let wide = format!("(w) {{\n log{}\n}}\n. {{\n{}}}\n", " x".repeat(20_000), " import w\n".repeat(100));
    let errors = parse(&wide, &[]).unwrap_err();
    assert!(errors.0[0].what.contains("1000000 words"), "{errors}");
}

#[test]
fn the_number_of_words_and_of_errors_and_the_size_of_all_files_are_bounded() {
    let errors = parse(&"{ ".repeat(2_000_000), &[]).unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    assert!(errors.0[0].what.contains("more than 1000000 words"), "{errors}");

    let errors = parse(&format!(". {{\n{}}}", " log { } x\n".repeat(1_000)), &[]).unwrap_err();
    assert!(errors.0.len() <= 101, "{} errors", errors.0.len());
    assert!(errors.0.iter().any(|error| error.what.contains("too many errors")), "{errors}");

    let large = format!("\"{}\"", "x".repeat(15 << 20));
    let files = ["a", "b", "c", "d", "e"].map(|name| (format!("{name}.inc"), large.clone()));
    let loader: BTreeMap<String, String> = files.into();
    let text = ". {\n log\n import a.inc\n import b.inc\n import c.inc\n import d.inc\n import e.inc\n}";
    let errors = Corefile::parse("Corefile", text, &loader, &ParseOptions::default()).unwrap_err();
    assert!(errors.0.iter().any(|error| error.what.contains("64 MiB")), "{}", errors.0.len());
}

#[test]
fn nested_braces_reach_the_depth_limit() {
    let text = format!(". {{\n{}", "a {\n".repeat(100_000));
    assert!(parse(&text, &[]).unwrap_err().0[0].what.contains("nested deeper"));
}

/// Values computed by coredns/caddy's parser from the same texts and files.
#[test]
fn the_fingerprint_equals_that_of_coredns() {
    for (text, wanted) in [
        ("", "04f8ff2682604862"),
        (".:53 10.0.0.0/15 {\n errors \"a<b\"\n log\n}", "40d189f5897c89cf"),
        (". {\n import errors.inc\n log \"x\ny\"\n}", "67df089c7726f5fa"),
        (
            "(a) {\n cache {\n  success 1\n }\n}\na, tls://b {\n import a\n cache 30\n}\n\
             {$NONE}c\nlog \"\\t&\u{2028}\" \u{1}",
            "4c96ec4e3cc5dbb2",
        ),
    ] {
        let corefile = parse(text, &[]).unwrap();
        assert_eq!(corefile.fingerprint.to_string()[..16], *wanted, "{text}");
    }
}

#[test]
fn the_fingerprint_depends_on_words_and_lines_but_not_on_comments() {
    let print = |text: &str| parse(text, &[]).unwrap().fingerprint;
    let base = print(". {\n cache 30\n}");
    assert_eq!(base, print(".   {\n\tcache   30 # half a minute\n}"));
    assert_ne!(base, print(". {\n cache 31\n}"));
    assert_ne!(base, print(". {\n\n cache 30\n}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_panics_or_never_ends(words in proptest::collection::vec(word(), 0..60)) {
        let text = words.concat();
        if let Err(errors) = parse(&text, &["log", "cache", "import"]) {
            prop_assert!(!errors.0.is_empty());
        }
    }

    #[test]
    fn no_bytes_panic(text in "\\PC{0,80}") {
        let _ = parse(&text, &[]);
    }
}

/// Fragments that random Corefiles are assembled from.
fn word() -> impl Strategy<Value = String> {
    let pieces = [
        " ",
        "\n",
        "{",
        "}",
        "\"",
        "\\",
        "#",
        ",",
        "(a)",
        "(b)",
        "import ",
        "import a\n",
        "import b\n",
        "import circle.inc\n",
        "import props.inc\n",
        "import *.inc\n",
        "{$ZONE}",
        "{%PORT%}",
        "{$",
        "%}",
        ".",
        ":53",
        "example.org",
        "10.0.0.0/9",
        "2001:db8::/33",
        "tls://",
        "log",
        "cache",
        " {\n",
        "\n}\n",
        "\r",
        "\u{feff}",
        "é",
    ];
    proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned)
}
