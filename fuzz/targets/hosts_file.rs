//! Arbitrary text as a hosts file: each line is read or reported, and a line that is written anew is read as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut last = 0;
    for line in config::hosts_file::lines(&text) {
        let number = match &line {
            Ok(line) => line.number,
            Err(error) => {
                assert!(error.to_string().len() < 1024, "the message is bounded");
                error.number
            }
        };
        assert!(number > last && number <= text.split('\n').count(), "lines are in order");
        last = number;
        let Ok(line) = line else { continue };
        assert!(!line.names.iter().any(|name| name.is_empty() || name.contains('#')), "{line:?}");
        let written = format!("{} {}", line.address, line.names.join(" "));
        let mut again = config::hosts_file::lines(&written);
        let again = again.next().and_then(Result::ok).expect("a written line is read");
        assert_eq!((again.address, &again.names), (line.address, &line.names));
    }
});
