//! The code blocks of the documentation, and the commands among them as a test runs them.
//!
//! Each block of commands says in a comment on the line above it where it is run (`<!-- run: demo -->`) or why it is not
//! (`<!-- not run: needs an EKS cluster -->`). Other blocks have a language that says what they contain.

mod session;
mod transcript;

use std::fmt;
use std::path::{Path, PathBuf};

pub use session::Environment;

/// A fenced block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The page, relative to the checkout.
    pub page: String,
    /// The line of the opening fence.
    pub line: usize,
    /// What it contains.
    pub content: Content,
    /// The text between the fences, without the indentation of the fence.
    pub text: String,
}

/// What a block contains.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// `sh`: a script, whose output is not shown.
    Script(Run),
    /// `console`: commands after `$ `, each followed by its output.
    Transcript(Run),
    /// Text in this language, which is not run.
    Data(&'static str),
}

/// Where a block of commands is run.
#[derive(Clone, Debug, PartialEq)]
pub enum Run {
    /// By a test, in this stage.
    In(TestStage, Mode),
    /// By these steps of `.ci/run`.
    ByCi(Vec<String>),
    /// Nowhere, for this reason.
    Not(String),
}

/// The environment of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestStage {
    /// A machine with `portolan`, without a cluster.
    Demo,
    /// The same with `kubectl` and a real API server, without nodes.
    ControlPlane,
    /// The same with an IngressClass `nginx` and the namespace `transcripts`, whose Services have endpoints.
    Ingress,
    /// A real API server, a name server of the node, and `pod`, which runs CoreDNS or Portolan as in a Pod.
    Takeover,
    /// A real cluster with a node, with `helm` and `kubectl`.
    Node,
    /// The same with CoreDNS as kubeadm installs it, and ingress-nginx's manifest with an Ingress.
    Stock,
}

/// How the first command of a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By itself.
    Ends,
    /// `; serves`: it is a server, which runs until the end of the page.
    Serves,
}

/// The languages of blocks without commands.
const DATA: &[&str] = &["corefile", "json", "mermaid", "promql", "rust", "text", "toml", "yaml"];

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.page, self.line)
    }
}

impl Block {
    /// Where the block is run, if it has commands.
    pub fn run(&self) -> Option<&Run> {
        match &self.content {
            Content::Script(run) | Content::Transcript(run) => Some(run),
            Content::Data(_) => None,
        }
    }
}

/// The pages of the documentation in the checkout at `root`, sorted.
pub fn pages(root: &Path) -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].iter().map(|name| root.join(name)).collect();
    let mut folders = vec![root.join("docs"), root.join("charts")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("an entry of a folder").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// The blocks of all pages in the checkout at `root`, and what is wrong with others, with page and line.
pub fn blocks(root: &Path) -> (Vec<Block>, Vec<String>) {
    let (mut blocks, mut problems) = (Vec::new(), Vec::new());
    for page in pages(root) {
        let text =
            std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let name = page.strip_prefix(root).unwrap_or(&page).display().to_string();
        parse(&name, &text, &mut blocks, &mut problems);
    }
    (blocks, problems)
}

/// Runs the blocks of one stage. Those of one page share a shell, one after the other. Returns what went wrong, with page
/// and line.
pub fn run(stage: TestStage, environment: &Environment<'_>) -> Vec<String> {
    let (blocks, _) = blocks(environment.checkout);
    let blocks: Vec<Block> = blocks
        .into_iter()
        .filter(|block| matches!(block.run(), Some(Run::In(of, _)) if *of == stage))
        .collect();
    assert!(!blocks.is_empty(), "no block of the documentation is run in {stage:?}");
    let pages = blocks.chunk_by(|one, next| one.page == next.page);
    pages.filter_map(|blocks| session::run_page(blocks, environment).err()).collect()
}

/// The commands `portolan` and, for `cargo run --release -- …`, `cargo`. The build of a checkout takes minutes and needs the
/// network, and a step of CI runs the documented command itself.
pub fn portolan_commands(binary: &Path) -> Vec<(&'static str, String)> {
    let portolan = format!("exec '{}' \"$@\"", binary.display());
    let cargo = format!(
        "case \"$*\" in\n'run --release -- '*) shift 3; {portolan};;\n*) echo \"cargo $* is not run here\"; exit 1;;\nesac"
    );
    vec![("portolan", portolan), ("cargo", cargo)]
}

/// The checkout of this crate.
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the checkout")
}

fn parse(page: &str, text: &str, blocks: &mut Vec<Block>, problems: &mut Vec<String>) {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    let mut above = "";
    while let Some((number, line)) = lines.next() {
        let Some(language) = line.trim_start().strip_prefix("```") else {
            if is_marker(above) {
                problems.push(format!("{page}:{}: no block follows {above}", number - 1));
            }
            above = line.trim();
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut text = String::new();
        let mut closed = false;
        for (_, line) in lines.by_ref() {
            if line.trim() == "```" {
                closed = true;
                break;
            }
            text += line.get(indent..).unwrap_or_default();
            text.push('\n');
        }
        match content(language.trim(), above) {
            _ if !closed => problems.push(format!("{page}:{number}: the block is not closed")),
            Ok(content) => blocks.push(Block { page: page.to_owned(), line: number, content, text }),
            Err(problem) => problems.push(format!("{page}:{number}: {problem}")),
        }
        above = "";
    }
}

fn is_marker(line: &str) -> bool {
    line.starts_with("<!-- run:") || line.starts_with("<!-- not run:")
}

/// The content of a block from the language after its fence and the line above it.
fn content(language: &str, above: &str) -> Result<Content, String> {
    let run = is_marker(above).then(|| marker(above));
    match (language, run) {
        ("sh", Some(run)) => Ok(Content::Script(run?)),
        ("console", Some(run)) => Ok(Content::Transcript(run?)),
        ("sh" | "console", None) => {
            Err("commands without `<!-- run: STAGE -->` or `<!-- not run: REASON -->` on the line above"
                .to_owned())
        }
        ("", _) => Err(format!("no language after ```; one of sh, console, {}", DATA.join(", "))),
        (language, run) => {
            let known = DATA.iter().find(|known| **known == language);
            let known = known.ok_or_else(|| {
                format!("unknown language {language}; one of sh, console, {}", DATA.join(", "))
            })?;
            if run.is_some() {
                Err(format!("{above} above {language}, which has no commands"))
            } else {
                Ok(Content::Data(known))
            }
        }
    }
}

fn marker(line: &str) -> Result<Run, String> {
    let inner = line.trim_start_matches("<!--").trim_end_matches("-->").trim();
    if let Some(reason) = inner.strip_prefix("not run:") {
        let reason = reason.trim();
        return if reason.is_empty() {
            Err("`not run:` without a reason".to_owned())
        } else {
            Ok(Run::Not(reason.to_owned()))
        };
    }
    let inner = inner.strip_prefix("run:").unwrap_or(inner).trim();
    if let Some(steps) = inner.strip_prefix("ci ") {
        return Ok(Run::ByCi(steps.split_whitespace().map(str::to_owned).collect()));
    }
    let (stage, mode) = match inner.split_once(';') {
        None => (inner, Mode::Ends),
        Some((stage, mode)) if mode.trim() == "serves" => (stage.trim(), Mode::Serves),
        Some((_, mode)) => return Err(format!("unknown option {}; the only one is `serves`", mode.trim())),
    };
    let stage = match stage {
        "demo" => TestStage::Demo,
        "control-plane" => TestStage::ControlPlane,
        "ingress" => TestStage::Ingress,
        "takeover" => TestStage::Takeover,
        "node" => TestStage::Node,
        "stock" => TestStage::Stock,
        _ => {
            return Err(format!(
                "unknown stage {stage}; one of demo, control-plane, ingress, takeover, node, stock, ci STEP…"
            ));
        }
    };
    Ok(Run::In(stage, mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_has_its_content() {
        let demo = Run::In(TestStage::Demo, Mode::Ends);
        for (text, wanted) in [
            ("<!-- run: demo -->\n```sh\na\n```\n", Content::Script(demo.clone())),
            ("  <!-- run: demo -->\n  ```console\n  $ a\n  ```\n", Content::Transcript(demo)),
            (
                "<!-- run: node; serves -->\n```sh\na\n```\n",
                Content::Script(Run::In(TestStage::Node, Mode::Serves)),
            ),
            (
                "<!-- run: ci up tests -->\n```sh\na\n```\n",
                Content::Script(Run::ByCi(vec!["up".into(), "tests".into()])),
            ),
            (
                "<!-- not run: no EKS here -->\n```sh\na\n```\n",
                Content::Script(Run::Not("no EKS here".into())),
            ),
            ("```yaml\na: 1\n```\n", Content::Data("yaml")),
        ] {
            let (mut blocks, mut problems) = (Vec::new(), Vec::new());
            parse("page", text, &mut blocks, &mut problems);
            assert_eq!(problems, Vec::<String>::new(), "{text}");
            assert_eq!(blocks[0].content, wanted, "{text}");
        }
    }

    #[test]
    fn blocks_that_are_not_classified_are_problems() {
        for (text, wanted) in [
            ("```sh\na\n```\n", "page:1: commands without"),
            ("<!-- run: demo -->\n\n```sh\na\n```\n", "page:1: no block follows"),
            ("```\na\n```\n", "page:1: no language"),
            ("```shell\na\n```\n", "page:1: unknown language shell"),
            ("<!-- run: moon -->\n```sh\na\n```\n", "page:2: unknown stage moon"),
            ("<!-- run: demo; twice -->\n```sh\na\n```\n", "page:2: unknown option twice"),
            ("<!-- not run: -->\n```sh\na\n```\n", "page:2: `not run:` without a reason"),
            ("<!-- run: demo -->\n```yaml\na\n```\n", "page:2: <!-- run: demo --> above yaml"),
            ("```yaml\na\n", "page:1: the block is not closed"),
        ] {
            let (mut blocks, mut problems) = (Vec::new(), Vec::new());
            parse("page", text, &mut blocks, &mut problems);
            assert!(problems.iter().any(|problem| problem.starts_with(wanted)), "{text}: {problems:?}");
        }
    }
}
