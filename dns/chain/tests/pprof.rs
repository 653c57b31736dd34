//! The pages of `pprof`.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use support::{EmptyCluster, build, context, parse};
use telemetry::metrics::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await.unwrap();
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test]
async fn the_command_line_is_served_and_profiles_are_not() {
    let context = context(Arc::new(EmptyCluster::default()), Handle::current(), &Registry::new());
    let corefile = parse(". {\npprof 127.0.0.1:0 {\nblock\n}\nwhoami\n}\n").unwrap();
    let mut servers = dns_chain::build(&corefile, &context).unwrap_or_else(|errors| panic!("{errors}"));
    let warnings: Vec<String> = servers.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("Corefile:2 - pprof has no profiles"),
        "{warnings:?}"
    );
    let _guards = servers.begin().await.unwrap();
    let address = context.admin.local_addrs().await[0];
    let command_line = get(address, "/debug/pprof/cmdline").await;
    let program = std::env::args().next().unwrap();
    assert!(command_line.starts_with("HTTP/1.1 200") && command_line.contains(&program), "{command_line}");
    assert!(get(address, "/debug/pprof/").await.starts_with("HTTP/1.1 200"));
    for profile in ["heap", "profile", "goroutine"] {
        let page = get(address, &format!("/debug/pprof/{profile}?seconds=1")).await;
        assert!(page.starts_with("HTTP/1.1 404") && page.contains("not written in Go"), "{page}");
    }
}

#[test]
fn mistakes_are_reported_with_their_line() {
    for (lines, wanted) in [
        ("pprof 127.0.0.1", "Corefile:2"),
        ("pprof :1 :2", "Corefile:2"),
        ("pprof {\nblock often\n}", "Corefile:3"),
        ("pprof {\nrate 1\n}", "unknown property 'rate'"),
        ("pprof\npprof", "Corefile:3"),
    ] {
        let errors = build(&format!(". {{\n{lines}\n}}\n")).err().expect(lines);
        assert!(errors.contains(wanted), "{wanted}\nin\n{errors}");
    }
}
