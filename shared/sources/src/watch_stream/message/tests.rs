use proptest::proptest;

use super::*;

/// The content of a line in short.
fn summary(kind: Kind, line: &str) -> String {
    match read_message(kind, Part::Whole(line.as_bytes())) {
        Ok(WatchMessage::Object(ObjectEvent { event, version, triggered, defects })) => {
            let defects: String = defects.iter().map(|field| format!(" without {field}")).collect();
            let since = if triggered.is_empty() { String::new() } else { format!(" since {triggered}") };
            match event {
                Event::Apply(object) => format!("+{} @{version}{since}{defects}", object.key()),
                Event::Remove(_, key) => format!("-{key} @{version}{since}"),
                event => format!("{event:?}"),
            }
        }
        Ok(WatchMessage::Bookmark { version, synced }) => {
            format!("@{version}{}", if synced { " synced" } else { "" })
        }
        Ok(WatchMessage::Undecodable(undecodable)) => {
            let Undecodable { key, version, reason } = *undecodable;
            format!("?{} @{version} {reason}", key.unwrap_or_default())
        }
        Err(error) => error.to_string(),
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
            "?shop/web @10 invalid value: integer `0`; wanted a port number from 1 to 65535",
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
        assert_eq!(summary(Kind::Service, line), expected, "{line}");
    }
    assert!(summary(Kind::Service, "<html>").starts_with("not a valid API response: "));
}

/// A line in the form of the API server is read in one pass; the same content in another form is not.
#[test]
fn the_form_of_a_line_makes_no_difference() {
    let objects = [
        r#"{"metadata":{"name":"web","namespace":"shop","resourceVersion":"8"},"spec":{"clusterIP":"None"}}"#,
        r#"{"metadata":{"name":"web","namespace":"shop"},"spec":{"ports":[{"port":0}]}}"#,
        r#"{"metadata":{"name":"Web"}}"#,
        r#"{"metadata":{"name":"we"#,
        r#"{"metadata":{"name":"web"}},"x":{}"#,
        "7",
    ];
    for object in objects {
        let usual = format!(r#"{{"type":"MODIFIED","object":{object}}}"#);
        let other = format!(r#"{{ "type": "MODIFIED", "object": {object} }}"#);
        let [usual, other] = [usual, other].map(|line| summary(Kind::Service, &line));
        let message = |text: &str| text.split(" at line").next().unwrap_or_default().to_owned();
        assert_eq!(message(&usual), message(&other), "{object}");
    }
}

#[test]
fn the_trigger_time_of_a_slice_is_read() {
    let slice = |annotations: &str| {
        let metadata = format!(
            r#"{{"name":"web","namespace":"shop","resourceVersion":"7","annotations":{annotations}}}"#
        );
        let object = format!(r#"{{"metadata":{metadata},"addressType":"IPv4","endpoints":[]}}"#);
        summary(Kind::EndpointSlice, &format!(r#"{{"type":"MODIFIED","object":{object}}}"#))
    };
    let rows = [
        (
            r#"{"a":"b","endpoints.kubernetes.io/last-change-trigger-time":"2026-11-21T11:00:00.25Z"}"#,
            " since 2026-11-21T11:00:00.25Z",
        ),
        (r#"{"endpoints.kubernetes.io/last-change-trigger-time":"2026-11-21T11:00:00.25Z, or later"}"#, ""),
        (r#"{"a":"b"}"#, ""),
        ("null", ""),
    ];
    for (annotations, since) in rows {
        assert_eq!(slice(annotations), format!("+shop/web @7{since}"), "{annotations}");
    }
}

#[test]
fn an_object_that_is_no_longer_used_is_removed() {
    let pod = r#"{"type":"MODIFIED","object":{"metadata":{"name":"web","namespace":"shop","resourceVersion":"7","deletionTimestamp":"2026-01-01T00:00:00Z"},"status":{"podIP":"10.0.0.1"}}}"#;
    assert_eq!(summary(Kind::Pod, pod), "-shop/web @7");
}

#[test]
fn an_item_of_a_list_is_an_object_unused_or_undecodable() {
    let read = |text: &[u8]| match read_item(Kind::Pod, Part::Whole(text)) {
        Ok(Some(ObjectEvent { event, .. })) => format!("{:?}", event.kind()),
        Ok(None) => "not used".into(),
        Err(undecodable) => format!("{:?}", undecodable.key.map(|key| key.to_string())),
    };
    let item = |text: &str| read(text.as_bytes());
    assert_eq!(
        item(r#"{"metadata":{"name":"web","namespace":"shop"},"status":{"podIP":"10.0.0.1"}}"#),
        "Pod"
    );
    assert_eq!(item(r#"{"metadata":{"name":"web","namespace":"shop"}}"#), "not used", "it has no address");
    assert_eq!(
        item(r#"{"metadata":{"name":"web","namespace":"shop"},"status":{"podIP":"ten"}}"#),
        r#"Some("shop/web")"#
    );
    assert_eq!(read(b"{\"\xff\":1}"), "None", "it is not UTF-8");
}

#[test]
fn an_object_that_is_too_long_is_undecodable() {
    let start = br#"{"type":"MODIFIED","object":{"metadata":{"name":"big""#;
    let undecodable = read_item(Kind::Secret, Part::TooLong(start)).unwrap_err();
    assert!(undecodable.reason.to_string().ends_with("; wanted an object of at most 16 MiB"));
    assert!(matches!(
        read_message(Kind::Secret, Part::TooLong(start)),
        Ok(WatchMessage::Undecodable(undecodable)) if undecodable.key.is_none()
    ));
}

#[test]
fn a_message_about_an_object_is_of_bounded_length() {
    let value = "x".repeat(50_000_000);
    let line = format!(
        r#"{{"type":"ADDED","object":{{"metadata":{{"name":"web","namespace":"shop"}},"status":{{"podIP":"{value}"}}}}}}"#
    );
    let Ok(WatchMessage::Undecodable(undecodable)) = read_message(Kind::Pod, Part::Whole(line.as_bytes()))
    else {
        panic!("it cannot be decoded")
    };
    let text = undecodable.reason.to_string();
    assert!(text.len() < 400 && text.contains("… (50000000 bytes)"), "{text}");
    let line = format!(r#"{{"type":"{value}","object":{{}}}}"#);
    let text = read_message(Kind::Pod, Part::Whole(line.as_bytes())).unwrap_err().to_string();
    assert!(text.len() < 400, "{}", text.len());
}

#[test]
fn a_page_has_the_token_of_the_next_page() {
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
    fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
        for kind in Kind::ALL {
            let _ = read_message(kind, Part::Whole(&bytes));
            let _ = read_item(kind, Part::Whole(&bytes));
        }
        let _ = read_page(Some(&bytes));
    }
}
