use super::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn tcp(source: &str, destination: &str) -> ProxiedAddresses {
    ProxiedAddresses::Tcp { source: address(source), destination: address(destination) }
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

#[test]
fn lines_of_version_1_give_the_addresses() {
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_V1 - 16));
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let cases = [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", tcp("192.0.2.1:56324", "198.51.100.2:443")),
        ("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", tcp("0.0.0.0:0", "255.255.255.255:65535")),
        ("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", tcp("[2001:db8::1]:1", "[::1]:2")),
        (
            &format!("PROXY TCP6 {full} {full} 65535 65535\r\n"),
            tcp(&format!("[{full}]:65535"), &format!("[{full}]:65535")),
        ),
        ("PROXY UNKNOWN\r\n", ProxiedAddresses::Unknown),
        ("PROXY UNKNOWN whatever is here\r\n", ProxiedAddresses::Unknown),
        (longest.as_str(), ProxiedAddresses::Unknown),
    ];
    for (line, addresses) in cases {
        let input = format!("{line}GET / HTTP/1.1\r\n");
        let header = parse(input.as_bytes()).unwrap_or_else(|error| panic!("{line:?}: {error:?}")).unwrap();
        assert_eq!((&header.addresses, header.length), (&addresses, line.len()), "{line:?}");
        for cut in 0..line.len() {
            assert_eq!(parse(&line.as_bytes()[..cut]), Ok(None), "{line:?} cut at {cut}");
        }
    }
}

#[test]
fn malformed_lines_of_version_1_are_refused() {
    use InvalidProxyHeader::{Malformed, Missing, TooLong};
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_V1 - 15));
    let endless = format!("PROXY TCP4 {}", "1".repeat(MAX_V1));
    let cases = [
        ("GET / HTTP/1.1\r\n", Missing),
        ("proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", Missing),
        ("PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n", Missing),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Malformed),
        ("PROXY \r\n", Malformed),
        ("PROXY UNKNOWNX\r\n", Malformed),
        ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", Malformed),
        ("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", Malformed),
        ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", Malformed),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Malformed),
        (long.as_str(), TooLong),
        (endless.as_str(), TooLong),
    ];
    for (line, error) in cases {
        assert_eq!(parse(line.as_bytes()), Err(error), "{line:?}");
    }
}

#[test]
fn headers_of_version_2_give_addresses_and_tlvs() {
    let four = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb];
    let six = [&[0x20; 16][..], &[0; 16], &[0, 1, 0, 2]].concat();
    let tlvs = [0x01, 0, 2, b'h', b'2', 0x04, 0, 0];
    let mut unix = vec![0; 216];
    unix[..5].copy_from_slice(b"/a\0xy");
    unix[108..216].fill(b'z');
    let cases = [
        (v2(0x21, 0x11, &four), tcp("192.0.2.1:4660", "198.51.100.2:443"), &[][..]),
        (v2(0x21, 0x11, &[&four[..], &tlvs].concat()), tcp("192.0.2.1:4660", "198.51.100.2:443"), &tlvs),
        (v2(0x21, 0x21, &six), tcp("[2020:2020:2020:2020:2020:2020:2020:2020]:1", "[::]:2"), &[]),
        (
            v2(0x21, 0x31, &unix),
            ProxiedAddresses::Unix { source: b"/a".to_vec(), destination: vec![b'z'; 108] },
            &[],
        ),
        (v2(0x20, 0x00, &[]), ProxiedAddresses::Local, &[]),
        (v2(0x20, 0x11, b"anything"), ProxiedAddresses::Local, &[]),
        (v2(0x21, 0x00, b"anything"), ProxiedAddresses::Unknown, &[]),
        (v2(0x21, 0x12, &four), ProxiedAddresses::Unknown, &[]),
    ];
    for (input, addresses, tlvs) in cases {
        let header = parse(&[&input[..], b"GET"].concat()).unwrap().unwrap();
        assert_eq!(header, ProxyHeader { addresses, tlvs: tlvs.to_vec(), length: input.len() }, "{input:?}");
        for cut in 0..input.len() {
            assert_eq!(parse(&input[..cut]), Ok(None), "{input:?} cut at {cut}");
        }
    }
    let header = parse(&v2(0x21, 0x11, &[&four[..], &tlvs].concat())).unwrap().unwrap();
    assert_eq!(header.tlvs().collect::<Vec<_>>(), [(1, &b"h2"[..]), (4, b"")]);
}

#[test]
fn malformed_headers_of_version_2_are_refused() {
    use InvalidProxyHeader::{Malformed, Missing, TooLong};
    let four = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb];
    let cases = [
        (b"\r\n\r\nGET".to_vec(), Missing),
        (v2(0x11, 0x11, &four), Malformed),
        (v2(0x31, 0x11, &four), Malformed),
        (v2(0x22, 0x11, &four), Malformed),
        (v2(0x21, 0x11, &four[..11]), Malformed),
        (v2(0x21, 0x21, &four), Malformed),
        (v2(0x21, 0x31, &four), Malformed),
        (v2(0x21, 0x13, &four), Malformed),
        (v2(0x21, 0x41, &four), Malformed),
        (v2(0x21, 0x11, &[&four[..], &[1, 0]].concat()), Malformed),
        (v2(0x21, 0x11, &[&four[..], &[1, 0, 2, b'h']].concat()), Malformed),
        (v2(0x20, 0x00, &vec![0; MAX_V2 - 15]), TooLong),
    ];
    for (input, error) in cases {
        assert_eq!(parse(&input), Err(error), "{input:?}");
    }
    assert!(parse(&v2(0x20, 0x00, &vec![0; MAX_V2 - 16])).unwrap().is_some());
    // The length alone is enough to refuse it.
    assert_eq!(parse(&v2(0x21, 0x11, &vec![0; MAX_V2])[..16]), Err(TooLong));
}

#[test]
fn written_headers_are_read_back() {
    let cases = [
        ("192.0.2.1:56324", "198.51.100.2:443", true),
        ("[2001:db8::1]:1", "[::ffff:192.0.2.1]:65535", true),
        ("192.0.2.1:1", "[::1]:2", false),
    ];
    for (source, destination, same) in cases {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        write_v1(address(source), address(destination), &mut one);
        write_v2(address(source), address(destination), &mut two);
        let known = tcp(source, destination);
        let read = |bytes: &[u8]| parse(bytes).unwrap().unwrap().addresses;
        assert_eq!(read(&one), if same { known.clone() } else { ProxiedAddresses::Unknown }, "{source}");
        assert_eq!(read(&two), if same { known } else { ProxiedAddresses::Local }, "{source}");
    }
}
