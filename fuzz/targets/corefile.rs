//! Any text as a Corefile: it loads, or every mistake names a line of it.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use config::{ConfigErrors, Corefile, Directive, ParseOptions, Word};
use libfuzzer_sys::fuzz_target;

/// What `import` can find: a fragment, one that imports itself, and one that does not parse.
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
            corefile.blocks.iter().flat_map(|block| &block.directives).for_each(ask);
            let again = read(&text).expect("what loads once loads again");
            assert!(again.fingerprint == corefile.fingerprint, "reading again changed the fingerprint");
        }
        Err(errors) => {
            assert!(!errors.0.is_empty(), "refused without a reason");
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

/// Asks every word for everything a plugin could want it to be.
fn ask(directive: &Directive) {
    directive.args.iter().for_each(ask_word);
    directive.block.iter().for_each(ask);
}

fn ask_word(word: &Word) {
    let _ = (word.duration(), word.integer::<u16>(..), word.cidr(), word.ip());
    word.zones().into_iter().flatten().for_each(|zone| assert_name(&zone));
    let _ = (word.host_port(None), word.host_port(Some(53)), word.socket_addr(53));
}

/// What is taken for a zone is a name to those who answer for it.
fn assert_name(zone: &str) {
    assert!(zone.parse::<dns_wire::Name>().is_ok(), "{zone:?} is no name");
}
