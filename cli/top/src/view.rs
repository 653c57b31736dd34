//! The screen: a title, five cards, and one of several lists.

mod lists;

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};

use crate::admin::AdminError;
use crate::figures::Figures;
use crate::format::{age, mebibytes, number, percent, seconds};
use crate::keys::{Action, Direction};
use crate::state::State;
use lists::{List, RowMark, TableText};

/// Values kept for the lines of the cards: one for each second.
const KEPT: usize = 240;

/// The value of a card, of which the line shows the last ones.
type Value = fn(&Figures) -> f64;

/// The state of the screen.
pub(crate) struct View {
    address: String,
    state: State,
    figures: Figures,
    history: VecDeque<Figures>,
    list: List,
    scrolled: usize,
    /// Why there are no new figures.
    lost: Option<String>,
}

impl View {
    pub(crate) fn new(address: String, state: State) -> Self {
        Self {
            address,
            state,
            figures: Figures::default(),
            history: VecDeque::new(),
            list: List::Hosts,
            scrolled: 0,
            lost: None,
        }
    }

    pub(crate) fn state(&mut self, state: State) {
        self.state = state;
    }

    pub(crate) fn figures(&mut self, figures: Figures) {
        self.history.push_back(figures.clone());
        if self.history.len() > KEPT {
            self.history.pop_front();
        }
        self.figures = figures;
    }

    pub(crate) fn disconnected(&mut self, error: &AdminError) {
        self.lost = Some(error.to_string());
    }

    pub(crate) fn connected(&mut self) {
        self.lost = None;
    }

    pub(crate) fn apply(&mut self, action: Action) {
        match action {
            Action::List(step) => {
                self.list = self.list.next(step);
                self.scrolled = 0;
            }
            Action::Scroll(Direction::Forward, lines) => self.scrolled = self.scrolled.saturating_add(lines),
            Action::Scroll(Direction::Back, lines) => self.scrolled = self.scrolled.saturating_sub(lines),
            Action::Quit | Action::Draw => {}
        }
    }

    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>) {
        let rows = [
            Constraint::Length(1),
            Constraint::Length(6),
            Constraint::Length(1),
            Constraint::Min(3),
            Constraint::Length(1),
        ];
        let [title, cards, tabs, list, foot] = Layout::vertical(rows).areas(frame.area());
        frame.render_widget(self.title(), title);
        self.draw_cards(frame, cards);
        frame.render_widget(self.tabs(), tabs);
        self.draw_list(frame, list);
        frame.render_widget(self.foot(), foot);
    }

    fn title(&self) -> Line<'_> {
        let State { version, pod, started, problems, ingress, took: _ } = &self.state;
        let mut parts = vec![Span::styled(format!("Portolan {version}"), Modifier::BOLD)];
        let mut add = |text: String, style: Style| parts.extend([Span::raw("  "), Span::styled(text, style)]);
        add(
            if pod.is_empty() { self.address.clone() } else { format!("{pod} ({})", self.address) },
            Style::new(),
        );
        if let Some(is_leader) = self.figures.leader {
            add(if is_leader { "leader" } else { "not the leader" }.to_owned(), Style::new());
        }
        if self.figures.at > 0.0 {
            add(format!("up {}", age(self.figures.at - started)), Style::new());
        }
        if let Some(ingress) = ingress {
            add(format!("{} Ingresses, {} routes", ingress.ingresses, ingress.routes.total), Style::new());
        }
        match problems.total {
            0 => add("no problems".to_owned(), Color::Green.into()),
            1 => add("1 problem".to_owned(), Color::Red.into()),
            count => add(format!("{count} problems"), Color::Red.into()),
        }
        Line::from(parts)
    }

    fn draw_cards(&self, frame: &mut Frame<'_>, area: Rect) {
        let figures = &self.figures;
        let (p50, p99) = figures.latency;
        let cards: [(&str, String, Value); 5] = [
            ("Requests a second", number(figures.requests), |figures| figures.requests),
            ("Errors (5xx)", percent(figures.errors), |figures| figures.errors),
            ("Latency p50, p99", format!("{}, {}", seconds(p50), seconds(p99)), |figures| figures.latency.1),
            ("DNS queries a second", number(figures.queries), |figures| figures.queries),
            (
                "CPU (cores), memory",
                format!("{}, {}", percent(figures.cpu), mebibytes(figures.memory)),
                |figures| figures.cpu,
            ),
        ];
        let areas = Layout::horizontal([Constraint::Fill(1); 5]).split(area);
        for ((title, value, of), area) in cards.into_iter().zip(areas.iter()) {
            let block = Block::bordered().title(title);
            let [top, line] =
                Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(block.inner(*area));
            frame.render_widget(block, *area);
            frame.render_widget(Paragraph::new(Span::styled(value, Modifier::BOLD)), top);
            frame
                .render_widget(Sparkline::default().data(self.line(of, line.width)).style(Color::Cyan), line);
        }
    }

    /// The last values as heights; a sparkline scales them to the largest.
    fn line(&self, of: Value, width: u16) -> Vec<u64> {
        let skipped = self.history.len().saturating_sub(usize::from(width));
        let values = self.history.iter().skip(skipped).map(of);
        values.map(|value| if value.is_finite() { (value * 10_000.0) as u64 } else { 0 }).collect()
    }

    fn tabs(&self) -> Line<'_> {
        let spans = List::ALL.iter().map(|list| {
            let style =
                if *list == self.list { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
            Span::styled(format!(" {} ", list.title()), style)
        });
        Line::from_iter(spans)
    }

    fn draw_list(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let TableText { columns, rows, empty } = self.list.table(&self.state, &self.figures);
        if rows.is_empty() {
            frame.render_widget(Paragraph::new(empty), area);
            return;
        }
        let shown = usize::from(area.height.saturating_sub(1));
        self.scrolled = self.scrolled.min(rows.len().saturating_sub(shown));
        let widths = columns.iter().map(|column| column.width);
        let head = Row::new(columns.iter().map(|column| column.cell(column.title.to_owned())));
        let body = rows.into_iter().skip(self.scrolled).take(shown).map(|(mark, cells)| {
            let style = match mark {
                RowMark::Plain => Style::new(),
                RowMark::Warning => Color::Yellow.into(),
                RowMark::Bad => Color::Red.into(),
            };
            Row::new(cells.into_iter().zip(&columns).map(|(text, column)| column.cell(text))).style(style)
        });
        frame.render_widget(
            Table::new(body, widths).header(head.style(Modifier::DIM)).column_spacing(2),
            area,
        );
    }

    fn foot(&self) -> Line<'_> {
        match &self.lost {
            Some(reason) => Line::styled(reason.as_str(), Color::Red),
            None => Line::styled("q quit   Tab next list   ↑ ↓ PgUp PgDn scroll", Modifier::DIM),
        }
    }
}

impl lists::Column {
    fn cell(&self, text: String) -> Cell<'static> {
        let line = Line::from(text);
        Cell::from(if self.is_number { line.right_aligned() } else { line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::text;

    fn view() -> View {
        let state = serde_json::from_str(
            r#"{"version":"0.1.0","pod":"","started":100,
                "problems":{"total":1,"shown":[{"severity":"closed","text":"Ingress shop/web: auth-secret is missing"}]},
                "ingress":{"ingresses":2,"sources":[{"kind":"Service","status":"current","objects":4}],
                  "routes":{"total":1,"shown":[{"host":"a.example","path":"/","ingress":"shop/web","service":"web:80",                    "endpoints":["10.0.0.1:80"],"canary":{"ingress":"shop/web-canary","service":"shop-v2-80","weight":20,"total":100}}]},
                  "certificates":[{"host":"a.example","secret":"shop/tls","expires":864100}]}}"#,
        );
        let mut view = View::new("127.0.0.1:10254".to_owned(), state.unwrap());
        let rate = |labels: [&str; 2], all| crate::figures::Rate {
            labels: labels.map(str::to_owned).to_vec(),
            all,
            failed: 1.0,
            total: 10.0,
            latency: (0.001, 0.02),
        };
        view.figures(Figures {
            at: 160.0,
            requests: 1234.0,
            latency: (0.001, 0.02),
            hosts: vec![rate(["a.example", "shop/web"], 1234.0)],
            canary: vec![rate(["shop/web", ""], 30.0), rate(["shop/web", "shop-v2-80"], 10.0)],
            rcodes: vec![("NOERROR".to_owned(), 7.0)],
            memory: 50e6,
            ..Figures::default()
        });
        view
    }

    #[test]
    fn each_list_shows_its_rows() {
        let mut view = view();
        for (list, wanted) in List::ALL.iter().zip([
            "a.example  shop/web",
            "a.example  /",
            "a.example/  shop/web-canary",
            "NOERROR",
            "a.example  shop/tls",
            "Service  current",
            "shop/web: auth-secret is missing",
        ]) {
            let text = text(&mut view, (110, 20));
            let squeezed = text
                .split("  ")
                .filter(|part| !part.is_empty())
                .map(str::trim)
                .collect::<Vec<_>>()
                .join("  ");
            assert!(squeezed.contains(wanted), "{}: wanted {wanted:?} in\n{text}", list.title());
            assert!(
                text.contains("1,234") && text.contains("1 problem") && text.contains("up 1 min 0 s"),
                "{text}"
            );
            view.apply(Action::List(Direction::Forward));
        }
        assert_eq!(view.list, List::Hosts);
    }

    #[test]
    fn scrolling_stops_at_the_last_row_and_a_small_window_is_no_error() {
        let mut view = view();
        view.figures.hosts = vec![view.figures.hosts[0].clone(); 50];
        view.apply(Action::Scroll(Direction::Forward, usize::MAX));
        for size in [(110, 20), (20, 8), (1, 1)] {
            let _ = text(&mut view, size);
        }
        let _ = text(&mut view, (110, 20));
        view.apply(Action::Scroll(Direction::Back, 1));
        assert!(view.scrolled < 50);
    }

    #[test]
    fn a_lost_connection_is_said_until_it_is_back() {
        let mut view = view();
        let address = "127.0.0.1:1".parse().unwrap();
        view.disconnected(&AdminError::Connection(address, "refused".to_owned()));
        assert!(text(&mut view, (110, 20)).contains("127.0.0.1:1/: refused"));
        view.connected();
        assert!(!text(&mut view, (110, 20)).contains("refused"));
    }
}
