use proptest::proptest;

use super::*;

fn whole(part: Part<'_>) -> &[u8] {
    match part {
        Part::Whole(bytes) => bytes,
        Part::TooLong(_) => panic!("it is not too long"),
    }
}

/// Feeds a body in pieces of a size.
fn items(body: &str, size: usize) -> (Vec<String>, Option<String>) {
    let mut splitter = ListSplitter::default();
    let mut items = Vec::new();
    for piece in body.as_bytes().chunks(size) {
        splitter.push(piece, |item| items.push(String::from_utf8(whole(item).to_vec()).unwrap())).unwrap();
    }
    (items, splitter.envelope().map(|envelope| String::from_utf8(envelope.to_vec()).unwrap()))
}

const LIST: &str = r#"{"kind":"ServiceList","metadata":{"resourceVersion":"7","continue":"a]}\"{["},"items":[{"a":[{"b":"]}"}]} , {}
,{"c":"\\"}],"more":{"x":1}}"#;

#[test]
fn a_list_is_split_into_its_items_in_pieces_of_any_size() {
    for size in 1..=LIST.len() {
        let (items, envelope) = items(LIST, size);
        assert_eq!(items, [r#"{"a":[{"b":"]}"}]}"#, "{}", r#"{"c":"\\"}"#], "pieces of {size}");
        assert_eq!(
            envelope.as_deref(),
            Some(
                r#"{"kind":"ServiceList","metadata":{"resourceVersion":"7","continue":"a]}\"{["},"items":[],"more":{"x":1}}"#
            ),
            "pieces of {size}"
        );
    }
}

#[test]
fn an_incomplete_list_has_no_envelope() {
    for end in 0..LIST.len() {
        assert_eq!(items(&LIST[..end], 5).1, None, "{}", &LIST[..end]);
    }
}

#[test]
fn an_empty_list_may_be_null() {
    let list = r#"{"metadata":{"resourceVersion":"7"},"items":null}"#;
    assert_eq!(items(list, 3), (vec![], Some(list.to_owned())));
}

#[test]
fn a_watch_is_split_into_lines_in_pieces_of_any_size() {
    let body = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\"";
    for size in 1..=body.len() {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for piece in body.chunks(size) {
            splitter.push(piece, |line| lines.push(whole(line).to_vec()));
        }
        assert_eq!(lines, [&b"{\"a\":1}"[..], b"{\"b\":2}\r"], "pieces of {size}");
    }
}

/// Feeds `count` bytes of padding, a piece at a time.
fn pad(count: usize, mut push: impl FnMut(&[u8])) {
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..count.div_ceil(piece.len()) {
        push(&piece);
    }
}

#[test]
fn an_object_that_is_too_long_is_skipped_and_its_neighbours_are_read() {
    let mut splitter = ListSplitter::default();
    let mut parts = Vec::new();
    let mut largest = 0;
    let mut push = |bytes: &[u8]| {
        splitter
            .push(bytes, |part| {
                parts.push(match part {
                    Part::Whole(bytes) => (true, String::from_utf8_lossy(bytes).into_owned()),
                    Part::TooLong(start) => (false, String::from_utf8_lossy(&start[..19]).into_owned()),
                });
            })
            .unwrap();
        largest = largest.max(splitter.item.bytes.capacity());
    };
    push(br#"{"items":[{"a":1},{"metadata":"big","b":""#);
    pad(50 << 20, &mut push);
    push(br#""},{"c":2}],"metadata":{}}"#);
    assert_eq!(
        parts,
        [
            (true, r#"{"a":1}"#.to_owned()),
            (false, r#"{"metadata":"big",""#.to_owned()),
            (true, r#"{"c":2}"#.to_owned())
        ]
    );
    assert!(splitter.envelope().is_some());
    assert!(largest <= 2 * MAX_OBJECT, "{largest}");
    assert!(splitter.item.bytes.capacity() <= 2 * KEPT_CAPACITY);
}

#[test]
fn a_line_that_is_too_long_is_skipped_and_its_neighbours_are_read() {
    let mut splitter = LineSplitter::default();
    let mut parts = Vec::new();
    let mut push = |bytes: &[u8]| {
        splitter.push(bytes, |part| parts.push(matches!(part, Part::Whole(_))));
    };
    push(b"{}\n{");
    pad(MAX_OBJECT + 1, &mut push);
    push(b"}\n{}\n");
    assert_eq!(parts, [true, false, true]);
    assert!(splitter.line.bytes.capacity() <= 2 * KEPT_CAPACITY);
}

#[test]
fn a_list_whose_own_fields_are_too_long_is_an_error() {
    let mut splitter = ListSplitter::default();
    splitter.push(b"{\"metadata\":\"", |_| {}).unwrap();
    let mut failed = false;
    pad(MAX_OBJECT + 1, |bytes| failed |= splitter.push(bytes, |_| {}).is_err());
    assert!(failed);
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, size in 1..20_usize) {
        let (mut items, mut lines) = (ListSplitter::default(), LineSplitter::default());
        for piece in bytes.chunks(size) {
            items.push(piece, |_| {}).unwrap();
            lines.push(piece, |_| {});
        }
    }

    #[test]
    fn brackets_in_any_order_do_not_make_it_panic(text in "[\\[\\]{}\",\\\\a]{0,40}", size in 1..20_usize) {
        items(&text, size);
    }
}
