use cluster::Kind;

use super::*;
use crate::decode::{self, DecodedObject, InvalidField};

fn by_serde(kind: Kind, text: &str) -> Option<Result<DecodedObject, InvalidField>> {
    decode::decode(kind, &mut serde_json::Deserializer::from_str(text)).ok()
}

const SLICE: &str = r#"{"kind":"EndpointSlice","metadata":{"name":"web-x","namespace":"shop","resourceVersion":"7","labels":{"app":"\"é","kubernetes.io/service-name":"web"},"annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"2026-01-01T00:00:00Z"},"managedFields":[{"fieldsV1":{"k:{\"uid\":\"\\\"}":{},"n":[-1.5e3,true,null,[],{}]}}]},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"conditions":{"ready":true,"serving":false},"hostname":"a","targetRef":{"kind":"Pod","name":"web-1","uid":"u"},"nodeName":"n","zone":"z","hints":{"forZones":[{"name":"y"},{"name":"z"}]}},{"addresses":["10.0.0.2","nowhere"],"conditions":{}},{"addresses":[]}],"ports":[{"name":"http","protocol":"TCP","port":8080},{"name":"dns","protocol":"UDP"}]}"#;

const SERVICE: &str = r#"{"metadata":{"name":"web","namespace":"shop","labels":{"a":"b"},"annotations":{"service.kubernetes.io/topology-mode":"Auto"}},"spec":{"ports":[{"name":"http","port":80,"targetPort":8080},{"name":"https","protocol":"TCP","port":443,"targetPort":"tls","nodePort":30000}],"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1","fd00::1"],"externalIPs":["192.0.2.1"],"trafficDistribution":"PreferClose","type":"NodePort"},"status":{"loadBalancer":{},"conditions":[]}}"#;

#[test]
fn a_scanned_object_is_the_decoded_one() {
    for (kind, text) in [
        (Kind::EndpointSlice, SLICE.to_owned()),
        (Kind::Service, SERVICE.to_owned()),
        (Kind::EndpointSlice, SLICE.replace("IPv4", "FQDN")),
        (Kind::EndpointSlice, SLICE.replace("10.0.0.1", "fd00::1")),
        (Kind::EndpointSlice, SLICE.replace("web-x", "Web X")),
        (Kind::Service, SERVICE.replace("10.96.0.1", "None")),
        (Kind::Service, SERVICE.replace("10.96.0.1", "10.96")),
        (Kind::Service, SERVICE.replace("NodePort", "ExternalName").replace("\"a\":", "\"externalName\":")),
        (
            Kind::Service,
            r#"{"metadata":{"name":"web"},"spec":{"type":"ExternalName","externalName":"a.b."}}"#.into(),
        ),
    ] {
        let scanned = decode::scan(kind, text.as_bytes());
        assert!(scanned.is_some(), "not scanned: {text}");
        assert_eq!(scanned, by_serde(kind, &text), "{text}");
    }
}

/// Serde decides what becomes of such a text.
#[test]
fn unusual_text_is_not_scanned() {
    let slice = |from: &str, to: &str| (Kind::EndpointSlice, SLICE.replacen(from, to, 1));
    let service = |from: &str, to: &str| (Kind::Service, SERVICE.replacen(from, to, 1));
    for (kind, text) in [
        slice("\"addressType\":", "\"addressType\": "),
        slice("web-x", r"web\u002dx"),
        slice("web-x", "web\tx"),
        slice("\"web-x\"", "null"),
        slice("\"shop\"", "7"),
        slice("[\"10.0.0.1\"]", "null"),
        slice("\"conditions\":{}", "\"addresses\":[]"),
        slice("\"ready\":true", "\"ready\":1"),
        slice("\"ready\":true", "\"ready\":true,\"ready\":true"),
        slice("\"addressType\":\"IPv4\"", "\"addressType\":\"IPX\""),
        slice("\"addressType\":\"IPv4\",", ""),
        slice("[{\"name\":\"y\"}", "[{\"name\":null}"),
        service("\"PreferClose\"", "null"),
        slice("8080", "0"),
        slice("8080", "08"),
        slice("8080", "80.5"),
        slice("8080", "65536"),
        slice("8080", "-1"),
        slice("\"TCP\"", "\"tcp\""),
        (Kind::EndpointSlice, format!("{SLICE} ")),
        (Kind::EndpointSlice, SLICE[..SLICE.len() - 1].to_owned()),
        service("\"port\":80,", ""),
        service("\"loadBalancer\":{}", "\"loadBalancer\":{\"ingress\":[]}"),
        service("\"metadata\"", "\"spec\":{},\"metadata\""),
        (Kind::Namespace, SERVICE.to_owned()),
    ] {
        assert_eq!(decode::scan(kind, text.as_bytes()), None, "{text}");
    }
}

/// Whatever is cut off or replaced in a text that is scanned: serde decodes it the same, if it can.
#[test]
fn no_text_is_scanned_as_another_object() {
    for (kind, text) in [(Kind::EndpointSlice, SLICE), (Kind::Service, SERVICE)] {
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at) && text.is_char_boundary(at + 1)) {
            for with in ["", "\"", "\\", ",", ":", "{", "}", "[", "]", "0", "x", " "] {
                let changed = [&text[..at], with, &text[at + 1..]].concat();
                let scanned = decode::scan(kind, changed.as_bytes());
                let decoded = by_serde(kind, &changed);
                if let (Some(scanned), Some(decoded)) = (scanned, decoded) {
                    assert_eq!(scanned, decoded, "{changed}");
                }
            }
        }
    }
}

#[test]
fn the_first_quotation_mark_or_backslash_is_found_anywhere() {
    for length in 0..40 {
        for at in 0..length {
            for byte in [b'"', b'\\'] {
                let mut bytes = vec![byte ^ 1; length];
                bytes[at] = byte;
                bytes[at + 1..].fill(b'"');
                assert_eq!(quote_or_backslash(&bytes), Some(at), "{bytes:?}");
            }
        }
        assert_eq!(quote_or_backslash(&vec![0xa2; length]), None);
    }
}
