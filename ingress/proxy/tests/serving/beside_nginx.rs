//! What Portolan makes of odd and hostile requests, beside nginx 1.22.1 in the configuration that ingress-nginx writes.
//!
//! The answers of nginx are recorded in the tables of `docs/edge-safety.md`; these tests compare Portolan with them. To record them
//! anew from the nginx on the PATH, and to write the column of Portolan:
//! `PORTOLAN_RECORD_NGINX=1 cargo test -p ingress-proxy --test serving beside_nginx`. With `PORTOLAN_WRITE=1` the recorded answers stay
//! and the column of Portolan is written.

mod nginx;
mod page;
mod server;
mod http1;
mod http2;

mod downgrade;
mod floods;
mod hosts;
mod slow_clients;
mod trusted_headers;

use page::{Row, rewrite};
use server::{EdgeServer, EdgeSetup};

/// An answer of nginx, another one of Portolan, and the reason.
type Reason = (&'static str, &'static str, &'static str);

/// A table of the page.
struct EdgeTable {
    /// The name in the comments that enclose it.
    name: &'static str,
    setup: EdgeSetup,
    /// Why Portolan has one answer and nginx another, in several cases.
    reasons: &'static [Reason],
    /// Texts for the last column, by case. A case with another answer than nginx's needs one.
    notes: &'static [(&'static str, &'static str)],
}

/// Compares the answers of Portolan with the recorded ones. `run` returns what the server does in each case.
fn compare(table: &EdgeTable, run: impl Fn(&EdgeServer) -> Vec<(String, String)>) {
    let ours = run(&EdgeServer::portolan(table.setup));
    let is_set = |name| std::env::var_os(name).is_some();
    let recorded = if is_set("PORTOLAN_RECORD_NGINX") {
        let server = EdgeServer::nginx(table.name, table.setup).unwrap_or_else(|problem| panic!("{problem}"));
        run(&server)
    } else {
        page::recorded(table.name)
    };
    let nginx = |case: &str| recorded.iter().find(|(of, _)| of == case).map_or("", |(_, answer)| answer);
    let rows: Vec<_> = ours
        .into_iter()
        .map(|(case, portolan)| {
            let nginx = nginx(&case).to_owned();
            let note = table.notes.iter().find(|(of, _)| *of == case).map(|(_, note)| *note);
            let reason = table.reasons.iter().find(|(theirs, ours, _)| *theirs == nginx && *ours == portolan);
            Row {
                note: note.or(reason.map(|(_, _, reason)| *reason)).unwrap_or_default(),
                case,
                nginx,
                portolan,
            }
        })
        .collect();
    let mut problems = Vec::new();
    for row in &rows {
        if row.nginx != row.portolan && row.note.is_empty() {
            problems.push(format!("{}: {:?}, and nginx {:?}: no reason", row.case, row.portolan, row.nginx));
        }
    }
    for (case, _) in table.notes {
        if !rows.iter().any(|row| row.case == *case) {
            problems.push(format!("{case}: a note, and no such case"));
        }
    }
    for (theirs, ours, reason) in table.reasons {
        if !rows.iter().any(|row| row.nginx == *theirs && row.portolan == *ours && row.note == *reason) {
            problems.push(format!("{reason}: no case"));
        }
    }
    if is_set("PORTOLAN_RECORD_NGINX") || is_set("PORTOLAN_WRITE") {
        rewrite(table.name, &rows);
    }
    problems.extend(page::differences(table.name, &rows));
    assert!(problems.is_empty(), "{}: {problems:#?}", table.name);
}
