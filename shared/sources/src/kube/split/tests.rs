use proptest::proptest;

use super::*;

/// Feeds a body in pieces of a size.
fn items(body: &str, size: usize) -> (Vec<String>, Option<String>) {
    let mut cut = ListSplitter::default();
    let mut items = Vec::new();
    for piece in body.as_bytes().chunks(size) {
        cut.push(piece, |item| items.push(String::from_utf8(item.to_vec()).unwrap())).unwrap();
    }
    (items, cut.envelope().map(|envelope| String::from_utf8(envelope.to_vec()).unwrap()))
}

const LIST: &str = r#"{"kind":"ServiceList","metadata":{"resourceVersion":"7","continue":"a]}\"{["},"items":[{"a":[{"b":"]}"}]} , {}
,{"c":"\\"}],"more":{"x":1}}"#;

#[test]
fn a_list_is_cut_into_its_items_wherever_it_is_torn() {
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
fn a_list_that_is_cut_off_has_no_envelope() {
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
fn a_watch_is_cut_into_lines_wherever_it_is_torn() {
    let body = b"{\"a\":1}\n\n{\"b\":2}\r\n{\"c\"";
    for size in 1..=body.len() {
        let mut cut = LineSplitter::default();
        let mut lines = Vec::new();
        for piece in body.chunks(size) {
            cut.push(piece, |line| lines.push(line.to_vec())).unwrap();
        }
        assert_eq!(lines, [&b"{\"a\":1}"[..], b"{\"b\":2}\r"], "pieces of {size}");
    }
}

#[test]
fn what_never_ends_is_refused() {
    let long = vec![b'x'; MOST + 1];
    assert!(LineSplitter::default().push(&long, |_| {}).is_err());
    let mut items = ListSplitter::default();
    items.push(b"{\"items\":[{", |_| {}).unwrap();
    assert!(items.push(&long, |_| {}).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, size in 1..20_usize) {
        let (mut items, mut lines) = (ListSplitter::default(), LineSplitter::default());
        for piece in bytes.chunks(size) {
            items.push(piece, |_| {}).unwrap();
            lines.push(piece, |_| {}).unwrap();
        }
    }

    #[test]
    fn brackets_in_any_order_do_not_make_it_panic(text in "[\\[\\]{}\",\\\\a]{0,40}", size in 1..20_usize) {
        items(&text, size);
    }
}
