//! Requests of HTTP/2 that would have another meaning once they are written as HTTP/1.

use super::http1::Answer;
use super::http2::{Http2Request, ask};
use super::nginx::NO_FORWARDED_HEADERS;
use super::server::{EdgeServer, EdgeSetup};
use super::{EdgeTable, compare};
use crate::support::{TestOptions, options};

mod cases;
mod notes;

use cases::{BODIES, CASES, Change};
use notes::{NOTES, REASONS};

const SETUP: EdgeSetup = EdgeSetup {
    keys: &[],
    options: || TestOptions::from(options()),
    http: NO_FORWARDED_HEADERS,
    authenticates: false,
};

const PLAIN: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "shop.example"), (":path", "/")];

/// The fields of the request.
fn fields(change: &Change) -> Vec<(&'static str, &'static str)> {
    let without = |name: &str| PLAIN.iter().copied().filter(|field| field.0 != name).collect::<Vec<_>>();
    match *change {
        Change::Add(fields) => PLAIN.iter().chain(fields).copied().collect(),
        Change::Replace(name, value) => {
            PLAIN.iter().map(|field| if field.0 == name { (name, value) } else { *field }).collect()
        }
        Change::Remove(name) => without(name),
        Change::Only(fields) => fields.to_vec(),
    }
}

/// What the endpoint gets that it does not get of a plain request.
fn outcome(answer: &Answer, plain: &Answer, forwarded: usize) -> String {
    let mut text = if answer.seen.is_empty() {
        answer.outcome.clone()
    } else {
        let known = plain.head();
        let lines = answer.head().into_iter().filter(|line| {
            let is_ours = ["X-Request-ID", "Transfer-Encoding", "Content-Length", "POST / HTTP/1.1"];
            !known.contains(line) && !is_ours.iter().any(|start| line.starts_with(start))
        });
        let mut parts: Vec<_> = lines.map(|line| format!("`{line}`")).collect();
        if !answer.body().is_empty() {
            parts.push(format!("body `{}`", answer.body().escape_debug()));
        }
        if parts.is_empty() { "200".to_owned() } else { format!("200: {}", parts.join(" ")) }
    };
    if text.len() > 200 {
        text = format!("{}… ({} bytes)`", &text[..60], answer.seen.len() / 100 * 100);
    }
    match (answer.seen.is_empty(), forwarded) {
        (true, 0) | (false, 1) => text,
        (_, count) => format!("{text}; {count} requests at the endpoint"),
    }
}

fn run(server: &EdgeServer) -> Vec<(String, String)> {
    let request = |fields: &[(&str, &str)], data: &[&str], trailers: &[(&str, &str)]| {
        let answer = ask(server.http2, &Http2Request { fields, data, trailers });
        (answer, server.forwarded())
    };
    let (plain, _) = request(&PLAIN, &[], &[]);
    assert_eq!(plain.outcome, "200");
    let mut answers = Vec::new();
    for (case, change) in CASES {
        let (answer, forwarded) = request(&fields(change), &[], &[]);
        answers.push(((*case).to_owned(), outcome(&answer, &plain, forwarded)));
    }
    for (case, added, data, trailers) in BODIES {
        let mut fields = PLAIN.to_vec();
        fields[0].1 = "POST";
        fields.extend(*added);
        let (answer, forwarded) = request(&fields, data, trailers);
        answers.push(((*case).to_owned(), outcome(&answer, &plain, forwarded)));
    }
    let many: Vec<(String, String)> = (0..1000).map(|at| (format!("x-{at}"), "y".to_owned())).collect();
    let long = |length: usize| vec![("x-long".to_owned(), "y".repeat(length))];
    let long_fields =
        |count: usize| (0..count).map(|at| (format!("x-{at}"), "y".repeat(4000))).collect::<Vec<_>>();
    for (case, added) in [
        ("1,000 fields of 6 bytes", many),
        ("a field of 7 KiB", long(7 << 10)),
        ("a field of 9 KiB", long(9 << 10)),
        ("a field of 200 KiB", long(200 << 10)),
        ("7 fields of 4,000 bytes", long_fields(7)),
        ("9 fields of 4,000 bytes", long_fields(9)),
        ("100 fields of 4,000 bytes", long_fields(100)),
    ] {
        let mut fields = PLAIN.to_vec();
        fields.extend(added.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let (answer, forwarded) = request(&fields, &[], &[]);
        let outcome = format!("{}{}", answer.outcome, if forwarded > 1 { ", several requests" } else { "" });
        answers.push((case.to_owned(), outcome));
    }
    answers
}

#[test]
fn requests_of_http2_are_refused_or_forwarded_with_the_same_meaning() {
    compare(&EdgeTable { name: "downgrade", setup: SETUP, reasons: REASONS, notes: NOTES }, run);
}
