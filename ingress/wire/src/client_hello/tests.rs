use super::*;

fn u16(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_be_bytes()
}

fn long(data: &[u8]) -> Vec<u8> {
    [&u16(data.len())[..], data].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &long(data)].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    extension(0, &long(&[&[0][..], &long(name)].concat()))
}

fn alpn_of(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> =
        names.iter().flat_map(|name| [&[u8::try_from(name.len()).unwrap()][..], name].concat()).collect();
    extension(16, &long(&list))
}

/// A handshake message with these extensions.
fn hello_with(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body =
        [&[3, 3][..], &[7; 32], &[0], &long(&[0x13, 1]), &[1, 0], &long(&extensions.concat())].concat();
    message_of(1, &body)
}

fn message_of(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, length[1], length[2], length[3]][..], body].concat()
}

/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &long(part)].concat()).collect()
}

#[test]
fn name_and_protocols_are_read_however_the_message_is_cut() {
    let grease = extension(0x0a0a, &[]);
    let message = hello_with(&[
        grease,
        sni(b"Shop.Example."),
        extension(43, &[2, 3, 4]),
        alpn_of(&[b"\x1a\x1a", b"h2"]),
    ]);
    let wanted = ClientHello {
        server_name: Some("shop.example".to_owned()),
        alpn: vec![b"\x1a\x1a".to_vec(), b"h2".to_vec()],
    };
    for size in [2, 3, 7, 50, 1000] {
        let input = records(&message, size);
        assert_eq!(parse(&input), Ok(Some(wanted.clone())), "records of {size}");
        for cut in 0..input.len() {
            assert_eq!(parse(&input[..cut]), Ok(None), "records of {size}, cut at {cut}");
        }
    }
}

#[test]
fn a_client_may_name_nothing() {
    let none = message_of(1, &[&[3, 1][..], &[7; 32], &[0], &long(&[0, 5]), &[1, 0]].concat());
    for message in [none, hello_with(&[]), hello_with(&[extension(0x2a2a, b"x")])] {
        assert_eq!(parse(&records(&message, 1000)), Ok(Some(ClientHello::default())));
    }
}

#[test]
fn malformed_messages_are_refused() {
    use InvalidClientHello::{Malformed, NotTls, TooLong};
    let two_names = extension(0, &long(&[&[0][..], &long(b"a"), &[0], &long(b"b")].concat()));
    let cases = [
        ("HTTP", b"GET / HTTP/1.1\r\n".to_vec(), NotTls),
        ("an alert", vec![21, 3, 1, 0, 2, 1, 0], NotTls),
        ("SSL 2", vec![22, 2, 0], NotTls),
        ("an empty record", vec![22, 3, 1, 0, 0], Malformed),
        ("a long record", vec![22, 3, 1, 0x40, 1], Malformed),
        ("a ServerHello", records(&message_of(2, b"x"), 1000), Malformed),
        (
            "another record between",
            [records(&hello_with(&[])[..4], 4), vec![20, 3, 1, 0, 1, 1]].concat(),
            Malformed,
        ),
        ("a short body", records(&message_of(1, b"abc"), 1000), Malformed),
        (
            "bytes after the extensions",
            records(&message_of(1, &[&hello_with(&[])[4..], b"x"].concat()), 1000),
            Malformed,
        ),
        ("two names", records(&hello_with(&[two_names]), 1000), Malformed),
        ("SNI twice", records(&hello_with(&[sni(b"a"), sni(b"a")]), 1000), Malformed),
        ("ALPN twice", records(&hello_with(&[alpn_of(&[b"h2"]), alpn_of(&[b"h2"])]), 1000), Malformed),
        ("an empty name", records(&hello_with(&[sni(b"")]), 1000), Malformed),
        ("a NUL in the name", records(&hello_with(&[sni(b"a\0b")]), 1000), Malformed),
        ("an address of IPv6", records(&hello_with(&[sni(b"[::1]")]), 1000), Malformed),
        ("a long name", records(&hello_with(&[sni(&[b'a'; 254])]), 1000), Malformed),
        ("an empty protocol", records(&hello_with(&[alpn_of(&[b""])]), 1000), Malformed),
        ("no protocol", records(&hello_with(&[alpn_of(&[])]), 1000), Malformed),
        ("a cut extension", records(&hello_with(&[vec![0, 0, 0, 9]]), 1000), Malformed),
        ("a long message", vec![22, 3, 1, 0, 4, 1, 0, 0x40, 1], TooLong),
        ("many records", records(&hello_with(&[sni(&[b'a'; 200])]), 1), TooLong),
    ];
    for (what, input, error) in cases {
        assert_eq!(parse(&input), Err(error), "{what}");
    }
}
