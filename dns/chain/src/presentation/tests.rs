use super::*;

/// Owner, TTL, class, type and data in hexadecimal.
fn shown(record: &TextRecord) -> String {
    let TextRecord { owner, rtype, class, ttl, rdata } = record;
    format!("{owner} {ttl} {} {} {}", Class(*class), Type(*rtype), hex::encode(rdata))
}

#[test]
fn a_record_is_read_from_text() {
    for (text, wanted) in [
        ("a.test. 60 IN A 10.0.0.1", "a.test. 60 IN A 0a000001"),
        ("a.test IN 60 A 10.0.0.1", "a.test. 60 IN A 0a000001"),
        ("a.test. A 10.0.0.1 ; comment", "a.test. 3600 IN A 0a000001"),
        ("a. 1h30m CH TXT \"x y\" z", "a. 5400 CH TXT 03782079017a"),
        ("a. TXT \"\"", "a. 3600 IN TXT 00"),
        (r#"a. TXT "\"\065;""#, "a. 3600 IN TXT 0322413b"),
        ("a. MX 10 b", "a. 3600 IN MX 000a016200"),
        ("a. SRV 1 2 3 b.c.", "a. 3600 IN SRV 0001000200030162016300"),
        ("a. AAAA fd00::1", "a. 3600 IN AAAA fd000000000000000000000000000001"),
        (
            "a. SOA n. h. (1 1h 2\n 3 4)",
            "a. 3600 IN SOA 016e0001680000000001 00000e10 00000002 00000003 00000004",
        ),
        ("a. CAA 0 issue \"x\"", "a. 3600 IN CAA 0005697373756578"),
        ("a. HINFO cpu \"os 1\"", "a. 3600 IN HINFO 03637075046f732031"),
        ("a. NAPTR 1 2 \"S\" \"\" \"!\" b.", "a. 3600 IN NAPTR 000100020153000121016200"),
        (r"a. TYPE65280 \# 3 0a 0b0c", "a. 3600 IN TYPE65280 0a0b0c"),
        (r"a. CLASS7 A \# 4 0a000001", "a. 3600 CLASS7 A 0a000001"),
        (r"a. IN MX \# 5 000a016200", "a. 3600 IN MX 000a016200"),
        (r"a. IN HTTPS \# 9 000100000300020050", "a. 3600 IN HTTPS 000100000300020050"),
        (
            "a. NSEC b. A MX RRSIG TYPE1234",
            "a. 3600 IN NSEC 016200 0006400100000002 041b000000000000000000000000000000000000000000000000000020",
        ),
        ("a. DS 1 RSASHA256 2 ab cd", "a. 3600 IN DS 00010802abcd"),
        (
            "a. HTTPS 1 . port=8443 alpn=\"h2,h3\"",
            "a. 3600 IN HTTPS 000100 00010006026832026833 0003000220fb",
        ),
        (
            "a. RRSIG A 8 2 60 20240101000000 1704067200 7 b. AQ==",
            "a. 3600 IN RRSIG 000108020000003c 6592008065920080 0007016200 01",
        ),
        ("a. NSEC3PARAM 1 0 5 -", "a. 3600 IN NSEC3PARAM 0100000500"),
        ("a. DNAME b.", "a. 3600 IN DNAME 016200"),
        // The data is that of CoreDNS for the same text.
        (
            "a. LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m",
            "a. 3600 IN LOC 00001613 8b3cf018 810cbce0 009895b8",
        ),
        ("a. LOC 42 N 71 W 10m", "a. 3600 IN LOC 00121613 89032100 70c3da80 00989a68"),
        ("a. LOC 42 21 54 s 71 06 18.5 e 24 30 .5m 1", "a. 3600 IN LOC 00335112 76e8d230 8f41ec04 00989fe0"),
        ("a. APL 1:192.168.32.0/21 !1:192.168.38.0/28", "a. 3600 IN APL 00011503c0a820 00011c83c0a826"),
        ("a. APL 2:ff00::/8 1:0.0.0.0/0", "a. 3600 IN APL 00020801ff 00010000"),
        ("a. APL", "a. 3600 IN APL "),
        ("a. IPSECKEY 10 1 2 192.0.2.38 AQNR U3mG", "a. 3600 IN IPSECKEY 0a0102 c0000226 010351537986"),
        ("a. IPSECKEY 10 3 2 b. AQ==", "a. 3600 IN IPSECKEY 0a0302 016200 01"),
        ("a. IPSECKEY 10 0 0 .", "a. 3600 IN IPSECKEY 0a0000"),
        ("a. AMTRELAY 10 0 1 203.0.113.15", "a. 3600 IN AMTRELAY 0a01 cb00710f"),
        ("a. AMTRELAY 10 1 2 fd00::1", "a. 3600 IN AMTRELAY 0a82 fd000000000000000000000000000001"),
        ("a. AMTRELAY 10 0 3 b.", "a. 3600 IN AMTRELAY 0a03 016200"),
        ("a. HIP 2 200100107B AwEAAQ== b. c.", "a. 3600 IN HIP 05 02 0004 200100107b 03010001 016200 016300"),
        ("a. NID 10 0014:4fff:ff20:ee64", "a. 3600 IN NID 000a 00144fffff20ee64"),
        ("a. L64 10 2001:DB8:1140:1000", "a. 3600 IN L64 000a 20010db811401000"),
        ("a. L32 10 10.1.2.0", "a. 3600 IN L32 000a 0a010200"),
        ("a. CERT PKIX 1 RSASHA256 AQID", "a. 3600 IN CERT 0001 0001 08 010203"),
        (
            "a. GPOS -32.6882 116.8652 10.0",
            "a. 3600 IN GPOS 082d33322e36383832 083131362e38363532 0431302e30",
        ),
        ("a. ISDN 150 004", "a. 3600 IN ISDN 03313530 03303034"),
        ("a. ISDN 150", "a. 3600 IN ISDN 03313530 00"),
        ("a. EID 01 23", "a. 3600 IN EID 0123"),
        ("a. NIMLOC 0123", "a. 3600 IN NIMLOC 0123"),
        ("a. NXT b. A", "a. 3600 IN NXT 016200 00 01 40"),
        ("a. RESINFO qnamemin", "a. 3600 IN RESINFO 08716e616d656d696e"),
        ("a. SVCB 1 . ohttp", "a. 3600 IN SVCB 000100 00080000"),
        // CoreDNS sends no data, which is not valid.
        ("a. TXT", "a. 3600 IN TXT 00"),
    ] {
        let wanted = wanted.split_once(" IN ").map_or(wanted.to_owned(), |(head, rest)| {
            let (kind, data) = rest.split_once(' ').unwrap();
            format!("{head} IN {kind} {}", data.replace(' ', ""))
        });
        match record(text) {
            Ok(Some(record)) => assert_eq!(shown(&record), wanted, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(record(" ; nothing\n"), Ok(None));
}

#[test]
fn a_text_that_is_no_record_is_an_error_that_says_what_is_wrong() {
    for (text, what) in [
        ("a.", "has no type"),
        ("a. 60 IN A 10.0.0", "not an IPv4 address"),
        ("a. A 10.0.0.1 10.0.0.2", "unexpected \"10.0.0.2\""),
        ("a. MX b.", "not a number"),
        ("a. MX 1", "fewer fields"),
        ("a. TXT \"x", "quote is not closed"),
        ("a. SOA (", "'(' is not closed"),
        ("a. A )", "')' without '('"),
        ("a. NULL x", r"write \# LENGTH HEX"),
        ("a. LOC 1 2 3", "no latitude such as"),
        ("a. LOC 91 N 1 E 0m", "no latitude"),
        ("a. LOC 90 0 0.001 N 1 E 0m", "no latitude"),
        ("a. LOC 1 60 N 1 E 0m", "no latitude"),
        ("a. LOC 1 1.5 N 1 E 0m", "no latitude"),
        ("a. LOC 1 N 180 59 60 W 0m", "no longitude"),
        ("a. LOC 1 N 1 E", "no altitude"),
        ("a. LOC 1 N 1 E 42849672.96", "no altitude"),
        ("a. LOC 1 N 1 E 0 90000000.01m", "\"90000000.01m\" is not a size"),
        ("a. LOC 1 N 1 E 0 1 1 1 1", "unexpected \"1\""),
        ("a. APL 1:10.0.0.0", "is not a prefix such as"),
        ("a. APL 1:10.0.0.1/24", "is not a prefix"),
        ("a. APL 2:10.0.0.0/24", "is not a prefix"),
        ("a. APL 1:10.0.0.0/33", "is not a prefix"),
        ("a. IPSECKEY 10 1 2 ::1", "\"::1\" is not an IPv4 address, which gateway type 1 has"),
        ("a. IPSECKEY 10 0 2 10.0.0.1", "is not \".\""),
        ("a. IPSECKEY 10 4 2 .", "4 is not a gateway type"),
        ("a. AMTRELAY 10 2 1 10.0.0.1", "\"2\" is not 0 or 1"),
        ("a. AMTRELAY 10 0 1", "fewer fields"),
        ("a. HIP 2 xyz AQID", "is not hexadecimal"),
        ("a. NID 10 14:4fff:ff20", "is not four hexadecimal numbers"),
        ("a. L64 10 2001:0DB8:1140:+100", "is not four hexadecimal numbers"),
        ("a. CERT PKI 1 8 AQID", "is not a kind of certificate"),
        ("a. SVCB 1 . ohttp=1", "parameter \"ohttp=1\""),
        (r"a. A \# 4 0a", "1 bytes, not 4"),
        // The data of a known type has its form (RFC 3597 §5): a reply with it would be no DNS message.
        (r"a. A \# 3 0a0000", "3 bytes that are not those of the type"),
        (r"a. NS \# 3 056100", "not those of the type"),
        (r"a. NS \# 2 c00c", "not those of the type"),
        (r"a. MX \# 3 000a01", "not those of the type"),
        (r"a. CNAME \# 4 01610000", "not those of the type"),
        (r"a. TXT \# 0", "not those of the type"),
        (r"a. TXT \# 2 0561", "not those of the type"),
        (r"a. NSEC \# 4 00002100", "not those of the type"),
        (r"a. LOC \# 15 000016138b3cf018810cbce0009895", "not those of the type"),
        (r"a. APL \# 5 00011502c0", "not those of the type"),
        (r"a. IPSECKEY \# 5 0a01020a00", "not those of the type"),
        (r"a. AMTRELAY \# 2 0a04", "not those of the type"),
        (r"a. HIP \# 5 0102000101", "not those of the type"),
        (r"a. HTTPS \# 7 00010000010004", "not those of the type"),
        (r"a. OPT \# 0", "OPT is not a type of records"),
        (r"a. AXFR \# 0", "AXFR is not a type of records"),
        ("a. WIBBLE x", "\"WIBBLE\" is not a type, a class or a TTL"),
        ("a..b A 10.0.0.1", "is not a domain name"),
        (" A 10.0.0.1", "no record before this one"),
        ("$INCLUDE x", "not possible here"),
    ] {
        let error = record(text).expect_err(text).to_string();
        assert!(error.contains(what), "{text}: {error}");
    }
}

#[test]
fn a_zone_file_has_directives_and_lines_that_refer_to_others() {
    let text = "$TTL 5
@ SOA ns hostmaster 1 2 3 4 5
  NS ns ; the owner of the line before
ns 7 A 10.0.0.1
$ORIGIN sub.example.org.
www A 10.0.0.2
$GENERATE 1-2 host-${0,2} A 10.0.1.$
$INCLUDE more other.test.
";
    let include = |file: &str| match file {
        "more" => Ok("x A 10.0.0.3\n".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    let mut lines = Vec::new();
    let mut push = |record: TextRecord| {
        lines.push(shown(&record));
        Ok(())
    };
    zone(text, &"example.org.".parse().unwrap(), &include, &mut push).unwrap();
    let lines: Vec<String> =
        lines.iter().map(|line| line.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "example.org. 5 IN SOA",
            "example.org. 5 IN NS",
            "ns.example.org. 7 IN A",
            "www.sub.example.org. 5 IN A",
            "host-01.sub.example.org. 5 IN A",
            "host-02.sub.example.org. 5 IN A",
            "x.other.test. 5 IN A",
        ]
    );
    let error = zone("\n$INCLUDE none", &Name::ROOT, &include, &mut |_| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), r#"line 2: none: no such file: "$INCLUDE none""#);
    let offset = "$GENERATE 1-1 ${9223372036854775807} A 10.0.0.1";
    let error = zone(offset, &Name::ROOT, &include, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().starts_with("line 1: modifier of $GENERATE: "), "{error}");
    let error =
        zone("$GENERATE 0-4294967295 a A 10.0.0.1", &Name::ROOT, &include, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("range"), "{error}");
    let own = |_: &str| Ok("$INCLUDE self".to_owned());
    let error = zone("$INCLUDE self", &Name::ROOT, &own, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("more than 7 times"), "{error}");
}

#[test]
fn a_record_without_a_ttl_has_that_of_the_last_record_or_directive() {
    let text = "a A 10.0.0.1\na 60 A 10.0.0.1\na A 10.0.0.1\na 70 A 10.0.0.1\na A 10.0.0.1\n$TTL 5\na A 10.0.0.1\na 80 A 10.0.0.1\na A 10.0.0.1\n";
    let mut ttls = Vec::new();
    let mut push = |record: TextRecord| {
        ttls.push(record.ttl);
        Ok(())
    };
    zone(text, &Name::ROOT, &|_| Err(String::new()), &mut push).unwrap();
    assert_eq!(ttls, [3600, 60, 60, 70, 70, 5, 80, 5]);
}

/// A few short lines cannot make a zone file that takes minutes to read.
#[test]
fn the_included_files_of_a_zone_file_are_limited_in_all() {
    let reads = std::cell::Cell::new(0);
    let include = |file: &str| {
        reads.set(reads.get() + 1);
        let depth: usize = file.parse().map_err(|_| String::new())?;
        Ok(format!("$INCLUDE {}\n", depth + 1).repeat(if depth < 6 { 10 } else { 0 }))
    };
    let error = zone("$INCLUDE 0", &Name::ROOT, &include, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("more than 256 files"), "{error}");
    assert_eq!(reads.get(), 256);
}

#[test]
fn reading_ends_with_the_first_record_that_is_refused() {
    let mut records = 0;
    let mut each = |_| {
        records += 1;
        if records < 3 { Ok(()) } else { Err(Refusal::Limit("too many".to_owned())) }
    };
    let text = "a A 10.0.0.1\n$GENERATE 1-65000 h$ A 10.0.0.1\nb is never read\n";
    let error = zone(text, &Name::ROOT, &|_| Err(String::new()), &mut each).unwrap_err();
    let wanted = r#"line 2: too many: "$GENERATE 1-65000 h$ A 10.0.0.1""#;
    assert_eq!((error.to_string().as_str(), records), (wanted, 3));
}

/// Reading a text that was changed at random ends, with a result or an error.
#[test]
fn a_damaged_zone_file_is_never_a_panic() {
    let text = "$TTL 5\n@ SOA ns (1 2h\n 3 4 5) ; x\n\tTXT \"a\\\"b\" \\065c é\n*.a 60 IN HTTPS 1 . alpn=\"h2,h3\" port=1\n$GENERATE 1-3/2 h${1,3,x} A 10.0.0.$\nb TYPE9 \\# 2 0a0b\n";
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20_000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len().max(1));
            match random.u8(..3) {
                _ if bytes.is_empty() => break,
                0 => bytes[at] = random.u8(..),
                1 => {
                    bytes.remove(at);
                }
                _ => bytes.truncate(at.max(1)),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let _ = zone(&text, &Name::ROOT, &|_| Err(String::new()), &mut |_| Ok(()));
    }
}

/// Each mistake has its line, the text of the line and what was wanted; those of included files too.
#[test]
fn all_mistakes_of_a_zone_file_are_reported_at_once() {
    let include = |_: &str| Ok("x A 10.0.0.1\ny A 10\n".to_owned());
    let text =
        "@ SOA n h 1 2 3 4 5\na A 10.0.0\nb WIBBLE x\nc A 10.0.0.1\n$INCLUDE more\n$TTL\nd TXT \"open\n";
    let mut taken = 0;
    let mut each = |_| {
        taken += 1;
        Ok(())
    };
    let error = zone(text, &"example.org.".parse().unwrap(), &include, &mut each).unwrap_err().to_string();
    let mistakes: Vec<&str> = error.split("; ").collect();
    assert_eq!(mistakes.len(), 5, "{error}");
    for (mistake, parts) in mistakes.iter().zip([
        ["line 2: data of A", r#": "a A 10.0.0""#],
        ["line 3: \"WIBBLE\" is not a type", r#": "b WIBBLE x""#],
        ["line 5: more: line 2: data of A", r#": "y A 10""#],
        ["line 6: $TTL takes one value", r#": "$TTL""#],
        ["line 7: a quote is not closed", r#": "d TXT \"open""#],
    ]) {
        assert!(parts.iter().all(|part| mistake.contains(part)), "{mistake}");
    }
    assert_eq!(taken, 3, "records without a mistake are read");
    let error = zone(&"x\n".repeat(1000), &Name::ROOT, &include, &mut |_| Ok(())).unwrap_err().to_string();
    assert_eq!(error.split("; ").count(), 21, "{error}");
    assert!(error.ends_with("; what follows was not read"), "{error}");
    let error = zone(&format!("a {}", "x".repeat(1000)), &Name::ROOT, &include, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().len() < 1300, "{error}");
}
