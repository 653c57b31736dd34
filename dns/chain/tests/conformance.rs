//! Answers and configurations as CoreDNS's own test tables have them (`tests/conformance/dns`).
#![allow(clippy::unwrap_used, reason = "a test support that fails is a test that fails")]

mod support;

use std::collections::HashMap;
use std::path::Path;

use dns_chain::codes::Rcode;
use dns_wire::Section;
use dns_wire::codes::{rcode, rtype};
use serde_json::Value;
use support::{Question, Received, TestRoutes, check, parsed, routes};

/// Rows that differ on purpose, each with the reason.
const DIFFERENCES: &[(&str, &str)] = &[];

fn table(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/dns").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn lines(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(text).collect()
}

/// The Corefile of a configuration, with its files in a folder.
async fn serve(config: &Value, folder: &Path) -> TestRoutes {
    for (name, content) in config["files"].as_object().into_iter().flatten() {
        std::fs::write(folder.join(name), text(content)).unwrap();
    }
    let root = format!("{{\n    root {}\n", folder.display());
    let corefile = text(&config["corefile"]).replacen("{\n", &root, 1);
    routes(&corefile).await.unwrap_or_else(|errors| panic!("{corefile}\n{errors}"))
}

/// What is wrong with an answer.
fn problems(case: &Value, received: &Received) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |is_right: bool, what: String| {
        if !is_right {
            problems.push(what);
        }
    };
    let code = Rcode(received.reply.rcode).to_string();
    let codes = case["accept_rcodes"].as_array().map(|codes| codes.iter().map(text).collect::<Vec<_>>());
    let codes = codes.unwrap_or_else(|| vec![text(&case["rcode"])]);
    check(codes.contains(&code.as_str()), format!("{code} {}, wanted {codes:?}", received.why));
    if case["next"] == true {
        let additional = received.records(Section::Additional);
        let is_whoami = additional.iter().any(|record| record.rtype == rtype::SRV);
        check(is_whoami, "it did not reach the next plugin".to_owned());
        return problems;
    }
    for (name, section) in
        [("answer", Section::Answer), ("authority", Section::Authority), ("extra", Section::Additional)]
    {
        if case[name].is_array() {
            let (wanted, found) = (parsed(&lines(&case[name])), received.records(section));
            check(wanted == found, format!("{name}: {found:?}\n    wanted {wanted:?}"));
        }
    }
    if let Some(wanted) = case["ede"].as_object() {
        let code = wanted["code"].as_u64().unwrap() as u16;
        let data = [&code.to_be_bytes(), text(&wanted["text"]).as_bytes()].concat();
        let found: Vec<_> = received.reply.options().filter(|(code, _)| *code == 15).collect();
        check(found == [(15, data.as_slice())], format!("extended error {found:?}"));
    }
    if let Some(wanted) = case["opt"].as_object() {
        let found: HashMap<String, String> = received
            .reply
            .options()
            .map(|(code, data)| (code.to_string(), String::from_utf8_lossy(data).into_owned()))
            .collect();
        let wanted: HashMap<String, String> =
            wanted.iter().map(|(code, data)| (code.clone(), text(data).to_owned())).collect();
        check(found == wanted, format!("options {found:?}, wanted {wanted:?}"));
    }
    if let Some(wanted) = case["aa"].as_i64() {
        check(received.reply.authoritative == (wanted == 1), "AA".to_owned());
    }
    problems
}

/// Runs all rows of a table, and returns how many there are.
async fn run(name: &str) -> (usize, usize) {
    let (table, folder) = (table(name), tempfile::tempdir().unwrap());
    let mut served: HashMap<&str, TestRoutes> = HashMap::new();
    let mut wrong = Vec::new();
    let cases = table["cases"].as_array().unwrap();
    for case in cases {
        let config = text(&case["config"]);
        if !served.contains_key(config) {
            let folder = folder.path().join(config);
            std::fs::create_dir_all(&folder).unwrap();
            served.insert(config, serve(&table["configs"][config], &folder).await);
        }
        let mut question = Question::new(text(&case["name"]), text(&case["qtype"]));
        question.qclass = case["qclass"].as_str().unwrap_or("IN");
        question.client = case["client_ip"].as_str().unwrap_or("127.0.0.1");
        let dnssec = case["do"] == true;
        question.edns = (case["edns"] == true || dnssec || case["ede"].is_object()).then_some((4096, dnssec));
        let received = served[config].ask(&question).await;
        let mut problems = problems(case, &received);
        if received.query.question() != question.query().question() {
            problems.push(format!("the question is {:?}", received.query.question()));
        }
        judge(text(&case["id"]), problems, &mut wrong);
    }
    let configs = table["config_cases"].as_array().cloned().unwrap_or_default();
    for case in &configs {
        let lines = text(&case["config"]);
        let corefile = format!(".:53 {{\nroot {}\n{lines}\n}}\n", folder.path().display());
        let accepted = check(&corefile);
        let mut problems = Vec::new();
        match (&accepted, case["accept"] == true) {
            (Err(errors), true) => problems.push(format!("{lines}\n    refused: {errors}")),
            (Ok(_), false) => problems.push(format!("{lines}\n    accepted")),
            (Err(errors), false) if !errors.contains("Corefile:") => {
                problems.push(format!("no line: {errors}"))
            }
            _ => {}
        }
        judge(text(&case["id"]), problems, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} rows of {name}:\n{}", wrong.len(), wrong.join("\n"));
    (cases.len(), configs.len())
}

/// Compares a row's problems with what is expected of it.
fn judge(id: &str, problems: Vec<String>, wrong: &mut Vec<String>) {
    let differs = DIFFERENCES.iter().any(|(known, _)| *known == id);
    match (problems.is_empty(), differs) {
        (false, false) => wrong.push(format!("{id}: {}", problems.join("\n    "))),
        (true, true) => wrong.push(format!("{id}: it is listed as a difference, and there is none")),
        _ => {}
    }
}

#[tokio::test]
async fn rewrite_answers_as_coredns_does() {
    assert_eq!(run("rewrite.json").await, (102, 206));
}

#[tokio::test]
async fn template_answers_as_coredns_does() {
    assert_eq!(run("template.json").await, (61, 53));
}

#[tokio::test]
async fn hosts_answers_as_coredns_does() {
    assert_eq!(run("hosts.json").await, (88, 16));
}

#[tokio::test]
async fn file_answers_as_coredns_does() {
    assert_eq!(run("file.json").await, (113, 9));
}

#[test]
fn codes_of_the_tables_are_those_of_the_protocol() {
    assert_eq!(Rcode::named("REFUSED"), Some(Rcode(rcode::REFUSED)));
}
