//! Arbitrary text as a Corefile: either it loads or every error has a line number.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use config::{ConfigErrors, Corefile, Directive, ParseOptions, Word};
use libfuzzer_sys::fuzz_target;

/// Files for `import`: a valid one, one that imports itself, and one with a syntax error.
static FILES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    [
        ("common.conf", "errors\nlog {args[0]}\n"),
        ("again.conf", "import again.conf\n"),
        ("broken.conf", "cache {\n"),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match read(&text) {
        Ok(corefile) => {
            assert!(corefile.blocks.iter().all(|block| !block.keys.is_empty()), "a block without a key");
            let keys = corefile.blocks.iter().flat_map(|block| &block.keys);
            keys.for_each(|key| assert_name(&key.zone));
            corefile.blocks.iter().flat_map(|block| &block.directives).for_each(convert_words);
            let again = read(&text).expect("a Corefile that has loaded loads again");
            assert!(again.fingerprint == corefile.fingerprint, "reading again changed the fingerprint");
        }
        Err(errors) => {
            assert!(!errors.0.is_empty(), "an error without a message");
            for error in &errors.0 {
                assert!(error.at.line() > 0 && !error.what.is_empty(), "{error}");
            }
            let _ = errors.to_string();
        }
    }
});

fn read(text: &str) -> Result<Corefile, ConfigErrors> {
    let env = |name: &str| match name {
        "ZONE" => Some("cluster.local".to_owned()),
        "SELF" => Some("{$SELF}".to_owned()),
        _ => None,
    };
    Corefile::parse("Corefile", text, &*FILES, &ParseOptions { env: &env, ..ParseOptions::default() })
}

/// Converts every word into every type that a plugin may need.
fn convert_words(directive: &Directive) {
    directive.args.iter().for_each(convert_word);
    directive.block.iter().for_each(convert_words);
}

fn convert_word(word: &Word) {
    let _ = (word.duration(), word.integer::<u16>(..), word.cidr(), word.ip());
    word.zones().into_iter().flatten().for_each(|zone| assert_name(&zone));
    let _ = (word.host_port(None), word.host_port(Some(53)), word.socket_addr(53));
}

/// A zone has to be a valid DNS name.
fn assert_name(zone: &str) {
    assert!(zone.parse::<dns_wire::Name>().is_ok(), "{zone:?} is not a DNS name");
}
