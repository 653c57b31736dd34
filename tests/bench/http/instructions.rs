//! Instructions of each proxy for a request: HTTP/1.1, and HTTP/2 over TLS.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::http::load::Load;
use crate::http::message::BackendPage;
use crate::http::stream::LoadTls;
use crate::http::{CONNECTIONS, PROXIES, Start, backend, http2, portolan, ready};
use crate::instructions::count;
use crate::samples::LoadResult;
use crate::server::Server;
use crate::table::Table;
use crate::testbed::Testbed;

/// Starts each proxy twice, without and with TLS, one at a time.
pub(crate) fn measure(testbed: &mut Testbed, length: Duration) -> Result<Table, String> {
    let mut table = Table::new(
        "Instructions per request outside the kernel",
        &["server", "HTTP/1.1, 86 bytes", "HTTP/2 over TLS, 1 KiB"],
    );
    let h2load = http2::h2load()?;
    let (backend, tls) = (backend::start(testbed, Ipv4Addr::LOCALHOST)?, LoadTls::new()?);
    testbed.counts_instructions = true;
    for (name, start) in PROXIES {
        let http1 = || {
            let server = started(testbed, *start, &backend, None)?;
            let mut load = Load::new(server.address, CONNECTIONS, None, BackendPage::Item)?;
            load.saturate(length);
            per_request(&server, || load.saturate(length))
        };
        let http2 = || {
            if *name == portolan::ANNOTATED {
                return Ok("–".to_owned());
            }
            let server = started(testbed, *start, &backend, Some(&tls))?;
            let target = BackendPage::Kibibyte.target();
            per_request(&server, || http2::load_for(&h2load, server.address, target, &[], length))
        };
        let mut cell = |result: Result<String, String>| {
            result.unwrap_or_else(|reason| {
                table.note(format!("{name} was not counted: {reason}"));
                "–".to_owned()
            })
        };
        let cells = vec![(*name).to_owned(), cell(http1()), cell(http2())];
        table.row(cells);
    }
    testbed.counts_instructions = false;
    table.note("counted with valgrind, under which a server is about fifty times slower");
    Ok(table)
}

fn started(
    testbed: &Testbed,
    start: Start,
    backend: &Server,
    tls: Option<&LoadTls>,
) -> Result<Server, String> {
    ready(start(testbed, backend.address.port(), tls)?, tls)
}

fn per_request(server: &Server, load: impl FnOnce() -> LoadResult) -> Result<String, String> {
    let (instructions, result) = count(server.process.id(), server.process.folder(), load)?;
    match result {
        LoadResult { answers: 0, .. } => Err("no correct answer".to_owned()),
        LoadResult { wrong: 0, lost: 0, answers, .. } => Ok(format!("{}", instructions / answers)),
        LoadResult { wrong, lost, .. } => Err(format!("{wrong} incorrect and {lost} lost answers")),
    }
}
