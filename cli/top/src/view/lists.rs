//! The lists, of which one is shown at a time.

use ratatui::layout::Constraint;

use crate::figures::Figures;
use crate::format::{age, number, percent, seconds};
use crate::keys::Direction;
use crate::state::State;

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum List {
    Hosts,
    Routes,
    Canaries,
    Dns,
    Certificates,
    Sources,
    Problems,
}

/// A list as text.
pub(crate) struct TableText {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<(RowMark, Vec<String>)>,
    /// Shown if there is no row.
    pub(crate) empty: &'static str,
}

/// A column.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) width: Constraint,
    pub(crate) is_number: bool,
}

/// How a row is emphasized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowMark {
    Plain,
    Warning,
    Bad,
}

/// A certificate that ends within this time is emphasized, in seconds.
const SOON: f64 = 14.0 * 86_400.0;

impl List {
    pub(crate) const ALL: [Self; 7] = [
        Self::Hosts,
        Self::Routes,
        Self::Canaries,
        Self::Dns,
        Self::Certificates,
        Self::Sources,
        Self::Problems,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Hosts => "Hosts",
            Self::Routes => "Routes",
            Self::Canaries => "Canaries",
            Self::Dns => "DNS",
            Self::Certificates => "Certificates",
            Self::Sources => "Sources",
            Self::Problems => "Problems",
        }
    }

    pub(crate) fn next(self, step: Direction) -> Self {
        let at = Self::ALL.iter().position(|list| *list == self).unwrap_or_default();
        let count = Self::ALL.len();
        Self::ALL[match step {
            Direction::Forward => (at + 1) % count,
            Direction::Back => (at + count - 1) % count,
        }]
    }

    pub(crate) fn table(self, state: &State, figures: &Figures) -> TableText {
        match self {
            Self::Hosts => hosts(figures),
            Self::Routes => routes(state),
            Self::Canaries => canaries(state, figures),
            Self::Dns => dns(figures),
            Self::Certificates => certificates(state, figures.at),
            Self::Sources => sources(state),
            Self::Problems => problems(state),
        }
    }
}

fn text(title: &'static str, share: u16) -> Column {
    Column { title, width: Constraint::Fill(share), is_number: false }
}

fn figure(title: &'static str) -> Column {
    Column { title, width: Constraint::Length(title.len().max(10) as u16), is_number: true }
}

fn hosts(figures: &Figures) -> TableText {
    let rows = figures.hosts.iter().map(|rate| {
        let mut cells = rate.labels.clone();
        cells.resize(2, String::new());
        let errors = if rate.all > 0.0 { rate.failed / rate.all } else { f64::NAN };
        let (p50, p99) = rate.latency;
        cells.extend([number(rate.all), percent(errors), seconds(p50), seconds(p99), number(rate.total)]);
        (if rate.failed > 0.0 { RowMark::Bad } else { RowMark::Plain }, cells)
    });
    TableText {
        columns: vec![
            text("Host", 3),
            text("Ingress", 3),
            figure("Requests/s"),
            figure("Errors"),
            figure("p50"),
            figure("p99"),
            figure("Since start"),
        ],
        rows: rows.collect(),
        empty: "No request has come yet.",
    }
}

fn routes(state: &State) -> TableText {
    let routes = state.ingress.iter().flat_map(|ingress| &ingress.routes.shown).map(|route| {
        let endpoints = match &route.endpoints {
            _ if let Some(reason) = &route.closed => format!("closed: {reason}"),
            Some(endpoints) if !endpoints.is_empty() => endpoints.join(" "),
            _ => "none ready: 503".to_owned(),
        };
        let is_dead = route.closed.is_some() || route.endpoints.as_ref().is_none_or(Vec::is_empty);
        let host = if route.host == "_" { "every other host" } else { &route.host };
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let cells =
            vec![host.to_owned(), route.path.clone(), name(&route.ingress), name(&route.service), endpoints];
        (if is_dead { RowMark::Bad } else { RowMark::Plain }, cells)
    });
    TableText {
        columns: vec![
            text("Host", 2),
            text("Path", 2),
            text("Ingress", 2),
            text("Service", 2),
            text("Endpoints", 3),
        ],
        rows: routes.collect(),
        empty: "There is no route.",
    }
}

fn canaries(state: &State, figures: &Figures) -> TableText {
    let routes = state.ingress.iter().flat_map(|ingress| &ingress.routes.shown);
    let rows = routes.filter_map(|route| {
        let canary = route.canary.as_ref()?;
        let of_ingress = figures.canary.iter().filter(|rate| rate.labels.first() == route.ingress.as_ref());
        let (mut all, mut chosen) = (0.0, 0.0);
        for rate in of_ingress {
            all += rate.all;
            if rate.labels.get(1) == Some(&canary.service) {
                chosen += rate.all;
            }
        }
        let place = format!("{}{}", route.host, route.path);
        let configured = percent(canary.weight as f64 / canary.total.max(1) as f64);
        Some((
            RowMark::Plain,
            vec![place, canary.ingress.clone(), canary.service.clone(), configured, percent(chosen / all)],
        ))
    });
    TableText {
        columns: vec![
            text("Host and path", 3),
            text("Canary", 2),
            text("Service", 2),
            figure("Configured"),
            figure("Measured"),
        ],
        rows: rows.collect(),
        empty: "There is no canary.",
    }
}

fn dns(figures: &Figures) -> TableText {
    let [codes, plugins] =
        [(&figures.rcodes, "response code"), (&figures.plugins, "plugin")].map(|(rates, kind)| {
            rates.iter().map(move |(name, rate)| {
                let name = if name.is_empty() { "(none)" } else { name };
                (RowMark::Plain, vec![kind.to_owned(), name.to_owned(), number(*rate)])
            })
        });
    let cache = (figures.cache_entries > 0.0).then(|| {
        let entries = format!("{} entries", number(figures.cache_entries));
        (RowMark::Plain, vec!["cache".to_owned(), entries, percent(figures.cache_hits)])
    });
    let (p50, p99) = figures.query_latency;
    let upstreams = figures.upstreams.iter().map(|rate| {
        let health = if rate.failed > 0.0 { ", health checks fail" } else { "" };
        let (p50, p99) = rate.latency;
        let name = format!("{} (p50 {}, p99 {}{health})", rate.labels.concat(), seconds(p50), seconds(p99));
        (
            if rate.failed > 0.0 { RowMark::Bad } else { RowMark::Plain },
            vec!["upstream".to_owned(), name, number(rate.all)],
        )
    });
    let latency = p50.is_finite().then(|| {
        let times = format!("{}, {}", seconds(p50), seconds(p99));
        (RowMark::Plain, vec!["latency".to_owned(), "p50, p99".to_owned(), times])
    });
    let names = figures
        .names
        .iter()
        .map(|(name, share)| (RowMark::Plain, vec!["asked for".to_owned(), name.clone(), percent(*share)]));
    let value = Column { title: "A second", width: Constraint::Length(20), is_number: true };
    TableText {
        columns: vec![text("Kind", 1), text("Name", 2), value],
        rows: codes.chain(plugins).chain(upstreams).chain(cache).chain(latency).chain(names).collect(),
        empty: "No query has come yet.",
    }
}

fn certificates(state: &State, now: f64) -> TableText {
    let certificates = state.ingress.iter().flat_map(|ingress| &ingress.certificates);
    let rows = certificates.map(|certificate| {
        let left = certificate.expires.map(|expires| expires - now);
        let (mark, ends) = match left {
            None => (RowMark::Plain, String::new()),
            Some(left) if left <= 0.0 => (RowMark::Bad, "expired".to_owned()),
            Some(left) => {
                (if left < SOON { RowMark::Warning } else { RowMark::Plain }, format!("in {}", age(left)))
            }
        };
        (mark, vec![certificate.host.clone(), certificate.secret.clone(), ends])
    });
    TableText {
        columns: vec![text("Host", 3), text("Secret", 3), text("Expires", 2)],
        rows: rows.collect(),
        empty: "There is no certificate.",
    }
}

fn sources(state: &State) -> TableText {
    let rows = state.ingress.iter().flat_map(|ingress| &ingress.sources).map(|source| {
        (RowMark::Plain, vec![source.kind.clone(), source.status.clone(), source.objects.to_string()])
    });
    TableText {
        columns: vec![text("Kind", 2), text("Status", 4), figure("Objects")],
        rows: rows.collect(),
        empty: "This process serves no Ingresses.",
    }
}

fn problems(state: &State) -> TableText {
    let rows = state.problems.shown.iter().map(|problem| {
        let severity = problem.severity.clone().unwrap_or_default();
        let mark = match &*severity {
            "closed" => RowMark::Bad,
            "differs" => RowMark::Warning,
            _ => RowMark::Plain,
        };
        (mark, vec![severity, problem.text.clone()])
    });
    TableText {
        columns: vec![
            Column { title: "Consequence", width: Constraint::Length(12), is_number: false },
            text("Problem", 1),
        ],
        rows: rows.collect(),
        empty: "There is no problem.",
    }
}
