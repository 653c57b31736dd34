//! `portolan check` of 20,000 Ingresses, in one file and in as many files.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::table::Table;
use crate::testbed::{NO_PORTOLAN, Testbed, portolan, write};

const INGRESSES: usize = 20_000;

/// One in this many Ingresses asks for something that closes it.
const CLOSED_EVERY: usize = 100;

/// What the check of these Ingresses has to say.
const WANTED: &str = "20000 Ingresses: 19800 as before, 200 closed";

/// Measures the time from the start of the process to its end, on both cores.
pub(crate) fn measure(testbed: &Testbed, rounds: usize) -> Result<Table, String> {
    let program = portolan().ok_or(NO_PORTOLAN)?;
    let (one, many) = (testbed.folder("check-one")?, testbed.folder("check-many")?);
    let mut all = String::new();
    for number in 0..INGRESSES {
        let manifest = ingress(number);
        write(&many.join(format!("{number}.yaml")), &manifest)?;
        let _ = writeln!(all, "---{manifest}");
    }
    write(&one.join("all.yaml"), &all)?;
    let mut table =
        Table::new(format!("portolan check of {INGRESSES} Ingresses"), &["in", "median", "longest"]);
    for (title, folder) in [("one file", &one), ("a file each", &many)] {
        let times: Result<Vec<f64>, String> = (0..rounds).map(|_| check(&program, folder, testbed)).collect();
        let mut times = times?;
        times.sort_by(f64::total_cmp);
        let seconds = |time: Option<&f64>| time.map_or_else(|| "–".to_owned(), |time| format!("{time:.2} s"));
        table.row(vec![title.to_owned(), seconds(times.get(times.len() / 2)), seconds(times.last())]);
    }
    table.note("with five annotations each; from the start of the process to its end, pinned to one core");
    Ok(table)
}

/// Seconds of one run.
fn check(program: &Path, folder: &Path, testbed: &Testbed) -> Result<f64, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", program.display());
    let start = Instant::now();
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(testbed.server.to_string()).arg(program).arg("check").arg(folder);
    let output = command.stdin(Stdio::null()).output().map_err(failed)?;
    let took = start.elapsed().as_secs_f64();
    match String::from_utf8_lossy(&output.stdout) {
        text if text.contains(WANTED) => Ok(took),
        text => Err(format!("portolan check: wanted {WANTED:?} in {text}")),
    }
}

fn ingress(number: usize) -> String {
    let closed = match number.is_multiple_of(CLOSED_EVERY) {
        true => "nginx.ingress.kubernetes.io/enable-modsecurity: 'true'",
        false => "nginx.ingress.kubernetes.io/proxy-read-timeout: '30'",
    };
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop-{number}
  namespace: shop
  annotations:
    {closed}
    nginx.ingress.kubernetes.io/proxy-body-size: 8m
    nginx.ingress.kubernetes.io/rewrite-target: /$1
    nginx.ingress.kubernetes.io/enable-cors: 'true'
    nginx.ingress.kubernetes.io/cors-allow-origin: https://shop-{number}.example
spec:
  ingressClassName: nginx
  rules:
  - host: shop-{number}.example
    http:
      paths:
      - {{ path: /(.*), pathType: ImplementationSpecific, backend: {{ service: {{ name: web, port: {{ number: 80 }} }} }} }}
"
    )
}
