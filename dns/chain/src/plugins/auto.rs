//! `auto`: answers from the zone files in a folder, also from those that are added later.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{ConfigError, Directive};
use dns_wire::Name;
use regex::Regex;

use crate::names::Zones;
use crate::setup::{PluginEntry, PluginGuard, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

use super::file::{AuthoritativeZones, FileStamp, LoadError, LoadedZone, ZoneTable, load};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "auto",
    about: "answers from the zone files in a folder, also from those that are added later",
    syntax: &[
        "auto example.org {\n    directory /etc/coredns/zones\n}",
        "auto {\n    directory /etc/coredns/zones (.*)[.]db {1}\n    reload 10s\n    fallthrough\n    upstream\n}",
    ],
    options: &[
        PluginOption {
            syntax: "[ZONE…]",
            default: "the zones of the server block",
            about: "Files of other zones are not served.",
        },
        PluginOption {
            syntax: "directory DIR [REGEX ORIGIN]",
            default: "`db\\.(.*)` `{1}`",
            about: "Files in DIR and the folders below it whose name matches REGEX; ORIGIN is the zone, in which `{1}` is a group.",
        },
        PluginOption {
            syntax: "reload DURATION",
            default: "1m",
            about: "How often the folder and its files are read; 0 reads them once. A zone is replaced when its SOA serial has changed.",
        },
        PluginOption {
            syntax: "fallthrough [ZONE…]",
            default: "",
            about: "Names that do not exist go to the next plugin, all or those of the zones.",
        },
        PluginOption { syntax: "upstream", default: "", about: "Accepted without effect." },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

/// The most files that are served, and how deep folders are searched.
const MAX_FILES: usize = 10_000;
const MAX_DEPTH: usize = 16;

/// The files of a folder.
struct ZoneFolder {
    folder: PathBuf,
    pattern: Regex,
    origin: String,
    zones: Zones,
    fallthrough: Option<Zones>,
    reload: Duration,
    served: Arc<ArcSwap<ZoneTable>>,
}

/// The zones of a folder.
type AutoZones = HashMap<Name, AutoZone>;

/// A zone, and the file that it was read from.
#[derive(Clone)]
struct AutoZone {
    served: Arc<LoadedZone>,
    path: PathBuf,
    stamp: Option<FileStamp>,
    /// The mistake that was reported last.
    error: Option<String>,
}

impl AutoZone {
    /// Reads the file of a zone, if it has changed since the last time.
    fn read(last: Option<&Self>, path: PathBuf, origin: Name, fallthrough: &Option<Zones>) -> Self {
        let stamp = FileStamp::of(&path);
        let served = last.map(|last| last.served.clone());
        let served =
            served.unwrap_or_else(|| Arc::new(LoadedZone::new(origin, fallthrough.clone(), path.clone())));
        let current = served.data.load();
        let is_alone = current.as_deref().is_some_and(|data| !data.has_includes);
        let last_error = last.and_then(|last| last.error.clone());
        if stamp.is_some() && last.is_some_and(|last| last.stamp == stamp && last.path == path) && is_alone {
            let served = served.clone();
            return Self { served, path, stamp, error: last_error };
        }
        let mut error = None;
        match load(&path, &origin) {
            Ok(data) if current.as_deref().is_some_and(|known| known.serial == data.serial) => {}
            Ok(data) => {
                let (shown, serial) = (path.display(), data.serial);
                match current.is_some() {
                    true => tracing::info!(
                        target: "plugin/file",
                        "Successfully reloaded zone \"{origin}\" in \"{shown}\" with {serial} SOA serial"
                    ),
                    false => tracing::info!(target: "plugin/auto", "Inserting zone `{origin}' from: {shown}"),
                }
                served.path.store(Arc::new(path.clone()));
                served.data.store(Some(Arc::new(data)));
            }
            Err(failed) => {
                let text = match (&failed, current.is_some()) {
                    (_, true) => failed.of_reload(&origin, &path),
                    (LoadError::Missing(why), _) => format!("Opening {} failed: {why}", path.display()),
                    (LoadError::Invalid(_), _) => {
                        format!("Parse zone `{origin}': {}: {failed}", path.display())
                    }
                };
                if last_error.as_ref() != Some(&text) {
                    match current.is_some() {
                        true => tracing::error!(target: "plugin/file", "{text}"),
                        false => tracing::warn!(target: "plugin/auto", "{text}"),
                    }
                }
                error = Some(text);
            }
        }
        drop(current);
        Self { served, path, stamp, error }
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let folder = read(setup)?;
    let served = folder.served.clone();
    let zones = folder.scan(HashMap::new());
    setup.on_start(move || async move {
        let task = (!folder.reload.is_zero()).then(|| super::Task(tokio::spawn(folder.follow(zones))));
        Ok(Box::new(task) as PluginGuard)
    });
    Ok(vec![Arc::new(AuthoritativeZones { zones: served, linked: None })])
}

/// Reads the directives. Of a line that is repeated the last one counts, as in CoreDNS.
fn read(setup: &Setup<'_>) -> Result<ZoneFolder, SetupErrors> {
    let directive = setup.directives[0];
    let pattern = Regex::new(r"db\.(.*)").map_err(|error| vec![directive.error(error.to_string(), "")])?;
    let mut read = ZoneFolder {
        folder: PathBuf::new(),
        pattern,
        origin: "{1}".to_owned(),
        zones: Zones::default(),
        fallthrough: None,
        reload: Duration::from_secs(60),
        served: Arc::default(),
    };
    let mut has_folder = false;
    for directive in &setup.directives {
        read.zones = Zones::read_or_keys(&directive.args, setup.block)?;
        each_line(directive, |line| {
            has_folder |= line.name.text == "directory";
            read.line(setup, line)
        })?;
    }
    if !has_folder {
        return Err(vec![directive.error("auto has no directory", "a line directory DIR")]);
    }
    Ok(read)
}

/// The pattern of file names, and the zone with its groups.
fn patterns(pattern: &config::Word, origin: &config::Word) -> Result<(Regex, String), ConfigError> {
    let read: Regex = pattern.parse("a regular expression")?;
    let groups =
        origin.split('{').skip(1).map(|rest| rest.split_once('}').and_then(|(group, _)| group.parse().ok()));
    for group in groups {
        if group.is_none_or(|group: usize| group >= read.captures_len()) {
            let what = format!("{origin} refers to a group that {pattern} does not have");
            return Err(origin.error(what, "{1} and further groups of the pattern"));
        }
    }
    Ok((read, origin.text.clone()))
}

impl ZoneFolder {
    fn line(&mut self, setup: &Setup<'_>, line: &Directive) -> Result<(), ConfigError> {
        match line.name.text.as_str() {
            "directory" => {
                let args = line.args_between(1, 3, "DIR [REGEX ORIGIN]")?;
                self.folder = setup.path(&args[0]);
                if let [_, pattern, origin] = args {
                    (self.pattern, self.origin) = patterns(pattern, origin)?;
                } else if args.len() == 2 {
                    return Err(args[1].error("directory: a pattern without an origin", "DIR [REGEX ORIGIN]"));
                }
            }
            "reload" => self.reload = line.arg("DURATION")?.duration()?,
            "fallthrough" => {
                let zones = Zones::read(&line.args)?;
                self.fallthrough = Some(if zones.is_empty() { Zones::new(["."]) } else { zones });
            }
            // Was needed before CoreDNS 1.7.
            "upstream" => {}
            _ => return Err(line.unknown(&["directory", "reload", "fallthrough", "upstream"])),
        }
        Ok(())
    }

    /// Reads the folder again and again.
    async fn follow(self, mut last: AutoZones) {
        let folder = Arc::new(self);
        loop {
            tokio::time::sleep(folder.reload).await;
            let scanning = folder.clone();
            let before = last.clone();
            if let Ok(zones) = tokio::task::spawn_blocking(move || scanning.scan(before)).await {
                last = zones;
            }
        }
    }

    /// Reads the files that have changed, and serves their zones. A zone stays as it is while its file has the same serial or a
    /// mistake.
    fn scan(&self, last: AutoZones) -> AutoZones {
        let mut zones = AutoZones::new();
        for (path, origin) in self.files() {
            match zones.get(&origin) {
                Some(AutoZone { path: previous, .. }) => {
                    tracing::warn!(
                        target: "plugin/auto",
                        "Multiple zone files match origin \"{origin}\": using \"{}\" instead of \"{}\"",
                        previous.display(),
                        path.display()
                    );
                }
                None => {
                    zones.insert(origin, AutoZone::read(last.get(&origin), path, origin, &self.fallthrough));
                }
            }
        }
        for origin in last.keys().filter(|origin| !zones.contains_key(*origin)) {
            tracing::info!(target: "plugin/auto", "Deleting zone `{origin}'");
        }
        let mut table = ZoneTable::default();
        let loaded = zones.values().filter(|zone| zone.served.data.load().is_some());
        loaded.for_each(|zone| table.insert(zone.served.clone()));
        self.served.store(Arc::new(table));
        zones
    }

    /// The zone files in the folder and those below it, in the order of their paths.
    fn files(&self) -> Vec<(PathBuf, Name)> {
        let (mut files, mut seen) = (Vec::new(), HashSet::new());
        self.find(&self.folder, 0, &mut seen, &mut files);
        files
    }

    /// Finds the zone files in a folder and below it. Follows links, as Kubernetes mounts the files of ConfigMaps, and looks into
    /// each folder once.
    fn find(
        &self,
        folder: &Path,
        depth: usize,
        seen: &mut HashSet<PathBuf>,
        files: &mut Vec<(PathBuf, Name)>,
    ) {
        let entries = std::fs::canonicalize(folder).and_then(|real| match seen.insert(real) {
            true => std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>(),
            false => Ok(Vec::new()),
        });
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(target: "plugin/auto", "error reading {}: {error}", folder.display());
                return;
            }
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let is_folder = path.is_dir();
            // `..data` and the folder that it leads to are Kubernetes' own.
            if is_folder && depth < MAX_DEPTH && !name.as_encoded_bytes().starts_with(b"..") {
                self.find(&path, depth + 1, seen, files);
            }
            if is_folder || files.len() >= MAX_FILES {
                continue;
            }
            if let Some(origin) = name.to_str().and_then(|name| self.origin_of(name)) {
                files.push((path, origin));
            }
        }
    }

    /// The zone of a file, if it is served.
    fn origin_of(&self, file: &str) -> Option<Name> {
        let groups = self.pattern.captures(file)?;
        let mut origin = self.origin.clone();
        for (index, group) in groups.iter().enumerate() {
            origin = origin.replace(&format!("{{{index}}}"), group.map_or("", |group| group.as_str()));
        }
        let origin = origin.parse::<Name>().ok()?.lower();
        self.zones.names().iter().any(|zone| origin.is_within(zone)).then_some(origin)
    }
}

#[cfg(test)]
mod tests;
