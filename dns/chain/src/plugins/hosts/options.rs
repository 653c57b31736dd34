//! The options of `hosts`.

use std::path::PathBuf;
use std::time::Duration;

use config::{ConfigError, Directive};

use super::table::HostTableOptions;
use crate::names::Zones;
use crate::setup::{PluginOption, Setup, SetupErrors, each_line};

/// The options of `hosts`, grouped by their readers.
pub(super) struct HostsOptions {
    /// `None` if no file is read.
    pub path: Option<PathBuf>,
    pub table: HostTableOptions,
    /// The lines of the block that are entries of a hosts file.
    pub inline: String,
    pub ttl: u32,
    /// How often the file is checked; zero for never.
    pub reload: Duration,
    pub fallthrough: Option<Zones>,
    pub fallthrough_unsupported: bool,
    /// Whether the names of the cluster's nodes are served.
    pub nodes: bool,
}

/// The options as the reference shows them.
pub(super) const OPTIONS: &[PluginOption] = &[
    PluginOption {
        syntax: "[FILE]",
        default: "/etc/hosts, or no file with `nodes`",
        about: "The hosts file, of at most 64 MiB and 1,000,000 entries. A file that does not exist is a warning; it is read when it is created.",
    },
    PluginOption {
        syntax: "[ZONE…]",
        default: "the zones of the server block",
        about: "Other names of the file are not read, and other names are passed on.",
    },
    PluginOption {
        syntax: "[ADDRESS NAME…]",
        default: "",
        about: "Lines of the block before `fallthrough` that begin with an address are entries in addition to those of the file. `*.example.org` has the address for names one label below `example.org`.",
    },
    PluginOption {
        syntax: "ttl SECONDS",
        default: "3600",
        about: "The TTL of the records, from 1 to 65535.",
    },
    PluginOption { syntax: "no_reverse", default: "", about: "Addresses have no PTR records." },
    PluginOption {
        syntax: "reload DURATION",
        default: "5s",
        about: "How often the file is checked for changes; 0s reads it once.",
    },
    PluginOption {
        syntax: "nodes",
        default: "",
        about: "Also serves the names of the cluster's nodes with their internal addresses, as K3s's NodeHosts has them; not in CoreDNS. The API server is that of the service account, or of `--kubeconfig`.",
    },
    PluginOption {
        syntax: "fallthrough [ZONE…]",
        default: "",
        about: "Names that have no entry go to the next plugin, in all zones or in these. Without it they are answered with SERVFAIL. Addresses without an entry always go to the next plugin.",
    },
    PluginOption {
        syntax: "fallthrough_unsupported",
        default: "",
        about: "Queries for other types than A, AAAA and PTR go to the next plugin even if the name has an entry, in the zones of `fallthrough`.",
    },
];

/// The properties of the block.
const PROPERTIES: &[&str] =
    &["ttl", "no_reverse", "reload", "nodes", "fallthrough", "fallthrough_unsupported"];

pub(super) fn read(setup: &mut Setup<'_>, directive: &Directive) -> Result<HostsOptions, SetupErrors> {
    let (file, zones) = match directive.args.split_first() {
        Some((file, zones)) => (Some(file), zones),
        None => (None, &[][..]),
    };
    let zones = Zones::read_or_keys(zones, setup.block)?;
    let mut options = HostsOptions {
        path: file.map(|file| setup.path(file)),
        table: HostTableOptions { zones, reverse: true },
        inline: String::new(),
        ttl: 3600,
        reload: Duration::from_secs(5),
        fallthrough: None,
        fallthrough_unsupported: false,
        nodes: false,
    };
    each_line(directive, |line| options.read_line(line))?;
    if !options.nodes {
        options.path.get_or_insert_with(|| "/etc/hosts".into());
    }
    if options.fallthrough_unsupported && options.fallthrough.is_none() {
        let line = directive.property("fallthrough_unsupported");
        return Err(vec![
            line.error("fallthrough_unsupported requires fallthrough", "a line with fallthrough"),
        ]);
    }
    for line in &directive.block {
        let extra = match line.name.text.as_str() {
            "ttl" => 1,
            "no_reverse" | "nodes" => 0,
            name if PROPERTIES.contains(&name) => continue,
            name if config::hosts_file::lines(name).any(|line| line.is_ok()) => continue,
            name => {
                let near = config::nearest(name, PROPERTIES).map(|near| format!("; {near} is a property"));
                setup.warn(
                    line,
                    format!(
                        "hosts: {name:?} is not an IP address: the line is ignored{}",
                        near.unwrap_or_default()
                    ),
                );
                continue;
            }
        };
        if let Some(word) = line.args.get(extra) {
            setup.warn(line, format!("hosts: {} takes no {:?}: this is ignored", line.name, word.text));
        }
    }
    Ok(options)
}

impl HostsOptions {
    fn read_line(&mut self, line: &Directive) -> Result<(), ConfigError> {
        line.no_block()?;
        match line.name.text.as_str() {
            "ttl" => self.ttl = line.args_from(1, "SECONDS")?[0].integer(1..=65_535)?,
            "no_reverse" => self.table.reverse = false,
            "nodes" => self.nodes = true,
            "reload" => self.reload = line.arg("DURATION")?.duration()?,
            "fallthrough" if line.args.is_empty() => self.fallthrough = Some(Zones::new(["."])),
            "fallthrough" => self.fallthrough = Some(Zones::read(&line.args)?),
            "fallthrough_unsupported" => {
                line.no_args()?;
                self.fallthrough_unsupported = true;
            }
            // After `fallthrough` there are no entries, as in CoreDNS.
            _ if self.fallthrough.is_some() => return Err(line.unknown(PROPERTIES)),
            name => {
                self.inline.push_str(name);
                for word in &line.args {
                    self.inline.push(' ');
                    self.inline.push_str(word);
                }
                self.inline.push('\n');
            }
        }
        Ok(())
    }
}
