//! A Prometheus server that scrapes the programs under test.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::http;
use crate::monitoring::{RULES, rule_file};
use crate::process::Process;

/// Its address.
const ADDRESS: &str = "127.0.0.1:9090";

/// A running Prometheus.
pub struct Prometheus {
    address: SocketAddr,
    _process: Process,
}

/// What is scraped, with the labels that the Prometheus operator gives to a target behind a Service.
pub struct ScrapeTarget {
    /// The job, which is the name of the Service.
    pub job: &'static str,
    /// The address of the page `/metrics`.
    pub address: String,
    /// The namespace of the Service.
    pub namespace: &'static str,
}

impl Prometheus {
    /// Starts the server with the alert rules of the chart. It scrapes four times a second.
    pub fn start(folder: &Path, targets: &[ScrapeTarget]) -> Prometheus {
        let folder = folder.join("prometheus");
        fs::create_dir_all(&folder).expect("the scratch folder is writable");
        let rules: Vec<_> = RULES.iter().map(|name| rule_file(name).display().to_string()).collect();
        let jobs = targets.iter().map(|ScrapeTarget { job, address, namespace }| {
            format!(
                "- job_name: {job}\n  static_configs:\n  - targets: ['{address}']\n    \
                 labels: {{ namespace: {namespace}, service: {job}, cluster: test }}\n"
            )
        });
        let config = format!(
            "global: {{ scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 1s }}\n\
             rule_files: {rules:?}\nscrape_configs:\n{}",
            jobs.collect::<String>()
        );
        let file = folder.join("prometheus.yml");
        fs::write(&file, config).expect("the scratch folder is writable");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={ADDRESS}"));
        let address = ADDRESS.parse().expect("a valid address");
        Prometheus { address, _process: Process::start("prometheus", command, &folder) }
    }

    /// Evaluates an expression now. Returns how many series have a number as value, or what is wrong.
    pub fn count(&self, expression: &str) -> Result<usize, String> {
        let data = self.get(&format!("/api/v1/query?query={}", encoded(expression)))?;
        let series = data["result"].as_array().ok_or_else(|| format!("no result: {data}"))?;
        // NaN means that nothing happened in the interval.
        let has_number = |one: &&Value| one["value"][1].as_str().is_some_and(|value| value != "NaN");
        Ok(series.iter().filter(has_number).count())
    }

    /// All rules as Prometheus sees them: `name`, `health`, `lastError`, …
    pub fn rules(&self) -> Result<Vec<Value>, String> {
        let data = self.get("/api/v1/rules")?;
        let groups = data["groups"].as_array().ok_or_else(|| format!("no groups: {data}"))?;
        Ok(groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten()).cloned().collect())
    }

    fn get(&self, target: &str) -> Result<Value, String> {
        let response = http::get(self.address, "localhost", target).map_err(|error| error.to_string())?;
        let page: Value = serde_json::from_str(&response.text())
            .map_err(|error| format!("{}: {error}: {}", response.status, response.text()))?;
        match page["status"].as_str() {
            Some("success") => Ok(page["data"].clone()),
            _ => Err(format!("{}: {page}", response.status)),
        }
    }
}

/// Percent-encodes a value of a query string (RFC 3986 §2.1).
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
