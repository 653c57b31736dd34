use proptest::proptest;

use super::*;

/// In short what a line says.
fn said(kind: Kind, line: &str) -> String {
    match read(kind, line.as_bytes()) {
        Ok(WatchMessage::Object(ObjectEvent { event, version, triggered })) => {
            let since = triggered.map(|time| format!(" since {time}")).unwrap_or_default();
            match event {
                Event::Apply(object) => format!("+{} @{version}{since}", object.key()),
                Event::Remove(_, key) => format!("-{key} @{version}{since}"),
                event => format!("{event:?}"),
            }
        }
        Ok(WatchMessage::Bookmark { version, synced }) => {
            format!("@{version}{}", if synced { " synced" } else { "" })
        }
        Ok(WatchMessage::Undecodable(version)) => format!("? @{version}"),
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn a_line_of_a_watch_is_an_event_a_bookmark_or_a_failure() {
    let rows = [
        (
            r#"{"type":"ADDED","object":{"kind":"Service","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","resourceVersion":"7"},"spec":{"clusterIP":"None"}}}"#,
            "+shop/web @7",
        ),
        (
            r#"{"type":"MODIFIED","object":{"metadata":{"name":"web","namespace":"shop","resourceVersion":"8"}}}"#,
            "+shop/web @8",
        ),
        (
            r#"{"type":"DELETED","object":{"metadata":{"name":"web","namespace":"shop","resourceVersion":"9"},"spec":{"ports":[{"port":0}]}}}"#,
            "-shop/web @9",
        ),
        (
            r#"{"type":"MODIFIED","object":{"metadata":{"name":"web","namespace":"shop","resourceVersion":"10"},"spec":{"ports":[{"port":0}]}}}"#,
            "? @10",
        ),
        (
            r#"{"type":"BOOKMARK","object":{"kind":"Service","metadata":{"resourceVersion":"11","creationTimestamp":null}}}"#,
            "@11",
        ),
        (
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
            "@12 synced",
        ),
        (
            r#"{"type":"ERROR","object":{"kind":"WatchStatus","status":"ApiError","message":"too old resource version: 7 (90)","reason":"Expired","code":410}}"#,
            "410 Gone: the server no longer has that version",
        ),
        (r#"{"type":"DANCED","object":{}}"#, "a watch event of type \"DANCED\""),
    ];
    for (line, expected) in rows {
        assert_eq!(said(Kind::Service, line), expected, "{line}");
    }
    assert!(said(Kind::Service, "<html>").starts_with("not what the API promises: "));
}

#[test]
fn a_slice_says_since_when_it_should_look_so() {
    let slice = |annotations: &str| {
        let metadata = format!(
            r#"{{"name":"web","namespace":"shop","resourceVersion":"7","annotations":{annotations}}}"#
        );
        let object = format!(r#"{{"metadata":{metadata},"addressType":"IPv4","endpoints":[]}}"#);
        said(Kind::EndpointSlice, &format!(r#"{{"type":"MODIFIED","object":{object}}}"#))
    };
    let rows = [
        (
            r#"{"a":"b","endpoints.kubernetes.io/last-change-trigger-time":"2026-11-21T11:00:00.25Z"}"#,
            " since 2026-11-21T11:00:00.25Z",
        ),
        (r#"{"endpoints.kubernetes.io/last-change-trigger-time":"yesterday"}"#, ""),
        (r#"{"a":"b"}"#, ""),
        ("null", ""),
    ];
    for (annotations, since) in rows {
        assert_eq!(slice(annotations), format!("+shop/web @7{since}"), "{annotations}");
    }
}

#[test]
fn an_object_that_became_useless_goes() {
    let pod = r#"{"type":"MODIFIED","object":{"metadata":{"name":"web","namespace":"shop","resourceVersion":"7","deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"podIP":"10.0.0.1"}}}"#;
    assert_eq!(said(Kind::Pod, pod), "-shop/web @7");
}

#[test]
fn an_item_of_a_list_comes_or_is_left_out() {
    let item = |text: &str| read_item(Kind::Pod, text.as_bytes()).is_some();
    assert!(item(r#"{"metadata":{"name":"web","namespace":"shop"},"status":{"podIP":"10.0.0.1"}}"#));
    assert!(!item(r#"{"metadata":{"name":"web","namespace":"shop"}}"#), "no address");
    assert!(!item(r#"{"metadata":{"name":"WEB","namespace":"shop"},"status":{"podIP":"10.0.0.1"}}"#));
    assert_eq!(read_item(Kind::Pod, b"{\"\xff\":1}"), None);
}

#[test]
fn a_page_says_whether_another_follows() {
    let page =
        |text: &str| read_page(Some(text.as_bytes())).map(|page| format!("{} {}", page.version, page.next));
    assert_eq!(page(r#"{"metadata":{"resourceVersion":"7"},"items":[]}"#).unwrap(), "7 ");
    assert_eq!(
        page(r#"{"metadata":{"resourceVersion":"7","continue":"abc","remainingItemCount":3}}"#).unwrap(),
        "7 abc"
    );
    assert!(page(r#"{"metadata":{}}"#).is_err());
    assert!(read_page(None).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        for kind in Kind::ALL {
            let _ = read(kind, &bytes);
            read_item(kind, &bytes);
        }
        let _ = read_page(Some(&bytes));
    }
}
