//! Arbitrary text as a YAML or JSON manifest: every problem has a line number and says what is expected.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sources::manifests::decode;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // A carriage return alone also ends a line (YAML 1.2.2 section 5.4).
    let lines = text.split(['\n', '\r']).count();
    for name in ["cluster.yaml", "cluster.json"] {
        for problem in decode(name, &text).problems {
            let line =
                problem.key.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')?.parse::<usize>().ok());
            let line = line.unwrap_or_else(|| panic!("no line in {:?}", problem.key));
            assert!((1..=lines).contains(&line), "line {line} of {lines}: {problem:?}");
            assert!(!problem.what.is_empty(), "{problem:?}");
            assert!(problem.what != "the YAML parser failed", "{problem:?}");
        }
    }
});
