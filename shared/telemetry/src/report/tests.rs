use super::*;

fn problem(key: &str, what: &str) -> Problem {
    let (kind, field, wanted) = ("Ingress".to_owned(), "spec.rules[0]".to_owned(), "a Service".to_owned());
    Problem { kind, key: key.to_owned(), field, what: what.to_owned(), wanted, severity: None }
}

#[test]
fn problems_are_counted_listed_and_solved() {
    let registry = Registry::new();
    let reports = Reports::new(&registry);
    let count = |scope: &str| {
        let labels = format!("scope=\"{scope}\",kind=\"Ingress\",level=\"closed\"");
        let name = format!("portolan_config_problems{{{labels}}} ");
        registry.text().lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned))
    };
    reports.replace("routes", [problem("default/a", "no such Service"), problem("default/b", "bad regex")]);
    reports.replace("sources", [problem("default/a", "cannot be decoded")]);
    assert_eq!((count("routes").as_deref(), count("sources").as_deref()), (Some("2"), Some("1")));
    reports.replace_object("routes", "Ingress", "default/a", []);
    let listed: Vec<_> =
        reports.current().iter().map(|(scope, problem)| format!("{scope}: {problem}")).collect();
    let wanted = [
        "routes: Ingress default/b: spec.rules[0]: bad regex; wanted a Service",
        "sources: Ingress default/a: spec.rules[0]: cannot be decoded; wanted a Service",
    ];
    assert_eq!(listed, wanted);
    reports.replace("routes", []);
    assert_eq!(count("routes").as_deref(), Some("0"));
}

#[test]
fn a_problem_is_one_line() {
    let mut problem = problem("default/a", "bad regex \"(\nERROR all is lost\"");
    problem.field.clear();
    problem.wanted.clear();
    assert_eq!(problem.to_string(), "Ingress default/a: bad regex \"( ERROR all is lost\"");
}

#[test]
fn lines_and_the_page_are_bounded() {
    let reports = Reports::new(&Registry::new());
    let with = |key: &str, what: &str, severity| Problem { severity, ..problem(key, what) };
    let long = with("default/long", &format!("{} is too long", "ü".repeat(1 << 20)), Some(Severity::Differs));
    reports.replace("routes", [long]);
    assert!(reports.current()[0].1.what.len() <= MAX_LINE);
    let line = reports.current()[0].1.to_string();
    assert!(line.len() <= MAX_LINE + 16 && line.ends_with(" (differs)"), "{line}");
    assert!(line.contains("ü…ü") && line.contains("ü is too long"), "the reason is kept: {line}");
    let many = (0..1500).map(|number| with(&format!("default/{number:04}"), "x", Some(Severity::Cosmetic)));
    let closed = with("default/z", "is not honoured", Some(Severity::Closed));
    reports.replace("routes", many.chain([closed, with("default/y", "unreadable", None)]));
    let lines = reports.page_text();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), MAX_LINES + 1);
    assert!(lines[0].contains("default/y") && lines[1].contains("default/z"), "{lines:?}");
    assert!(lines[1].ends_with("(closed)"), "{}", lines[1]);
    assert_eq!(lines[MAX_LINES], "… and 502 more");
}

#[test]
fn a_scope_stores_a_limited_number_of_problems_and_counts_the_rest() {
    let registry = Registry::new();
    let reports = Reports::new(&registry);
    let dropped = || {
        registry.counters("portolan_config_problems_dropped_total", "", ["scope"]).with(["routes"]).value()
    };
    let cosmetic = |number: usize| Problem {
        severity: Some(Severity::Cosmetic),
        ..problem(&format!("default/{number:05}"), "x")
    };
    let closed = Problem { severity: Some(Severity::Closed), ..problem("default/z", "x") };
    reports.replace("routes", (0..MAX_PROBLEMS + 4).map(cosmetic).chain([closed.clone()]));
    assert_eq!((reports.current().len(), dropped()), (MAX_PROBLEMS, 5));
    assert_eq!(reports.current().last().map(|(_, last)| last), Some(&closed), "the most severe are stored");
    reports.replace_object("routes", "Ingress", "default/zz", [problem("default/zz", "x")]);
    assert_eq!((reports.current().len(), dropped()), (MAX_PROBLEMS, 6));
    reports.replace_object("routes", "Ingress", "default/z", [closed.clone(), problem("default/z", "y")]);
    assert_eq!((reports.current().len(), dropped()), (MAX_PROBLEMS, 7));
    reports.replace_object("routes", "Ingress", "default/00000", []);
    reports.replace_object("routes", "Ingress", "default/zz", [problem("default/zz", "x")]);
    assert_eq!((reports.current().len(), dropped()), (MAX_PROBLEMS, 7), "a solved problem makes room");
    reports.replace("sources", [problem("default/a", "x")]);
    assert_eq!(reports.current().len(), MAX_PROBLEMS + 1, "each scope has its own limit");
}

#[test]
fn each_problem_is_logged_once_and_a_change_logs_a_limited_number() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_writer(move || Shared(writer.clone())).with_ansi(false).finish();
    tracing::subscriber::with_default(subscriber, || {
        let reports = Reports::new(&Registry::new());
        // tracing caches that a call site is disabled if another test's thread, without a subscriber, reached it first.
        reports.replace("routes", [problem("default/first", "bad regex")]);
        reports.replace("routes", []);
        tracing::callsite::rebuild_interest_cache();
        log.lock().unwrap().clear();
        let many = || (0..1080).map(|number| problem(&format!("default/{number:04}"), "bad regex"));
        reports.replace("routes", many());
        reports.replace("routes", many());
        reports.replace("routes", many().skip(1));
    });
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().filter_map(|line| line.split_once("report: ")).collect();
    assert_eq!(lines.len(), 1000 + 1 + 1, "{log}");
    assert_eq!(lines[1000].1, "and 80 more, see /problems");
    assert!(lines[1001].1.starts_with("solved: Ingress default/0000: "), "{log}");
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
