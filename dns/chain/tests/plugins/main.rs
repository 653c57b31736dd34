//! Plugins that change or make answers, each with a Corefile and what a client gets.
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod autopath;
mod metadata;
mod replies;
mod rewrite;
mod zone_files;

use dns_chain::codes::Rcode;
use dns_wire::Section;
use support::{Question, Received, parsed, routes};

/// The answer of the last plugin of most configurations.
const NEXT: &str = "template ANY ANY . {\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nauthority \". 60 IN NS ns.\"\nadditional \"ns. 60 IN A 192.0.2.2\"\n}";

/// Names of two zones, and denials of everything else.
const TWO_NAMES: &str = "template IN A {\nmatch ^www[.]example[.]org[.]$ ^db[.]svc[.]cluster[.]local[.]$\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\nfallthrough\n}
    template ANY ANY {\nrcode NXDOMAIN\nauthority \". 60 SOA a. b. 1 2 3 4 5\"\n}";

/// A configuration, a query, and the response code with the records of the three sections.
type Row<'a> = (&'a str, Question<'a>, &'a str, [&'a [&'a str]; 3]);

async fn check(rows: &[Row<'_>]) {
    for (lines, question, code, sections) in rows {
        let received = ask(lines, question).await;
        let what = format!("{lines}: {} {}", question.name, question.qtype);
        assert_eq!(Rcode(received.reply.rcode).to_string(), *code, "{what} {}", received.why);
        let names = [Section::Answer, Section::Authority, Section::Additional];
        for (section, wanted) in names.into_iter().zip(sections) {
            assert_eq!(received.records(section), parsed(wanted), "{what} {section:?}");
        }
        assert_eq!(received.query.question(), question.query().question(), "{what}: the client's question");
    }
}

async fn ask(lines: &str, question: &Question<'_>) -> Received {
    let corefile = format!(".:53 {{\n{lines}\n}}\n");
    let routes = routes(&corefile).await.unwrap_or_else(|errors| panic!("{corefile}\n{errors}"));
    routes.ask(question).await
}

fn from_client<'a>(name: &'a str, qtype: &'a str, client: &'a str) -> Question<'a> {
    Question { client, ..Question::new(name, qtype) }
}
