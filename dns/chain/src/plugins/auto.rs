//! `auto`: answers from the zone files in a folder, also from those that are added later.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{ConfigError, Directive};
use dns_wire::Name;
use regex::Regex;

use crate::names::Zones;
use crate::setup::{PluginEntry, PluginGuard, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

use super::file::{FileZone, ZoneFiles, ZoneTable, load};

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

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let folder = read(setup, directive)?;
    let served = folder.served.clone();
    let zones = folder.scan(HashMap::new());
    setup.on_start(move || async move {
        let task = (!folder.reload.is_zero()).then(|| super::Task(tokio::spawn(folder.follow(zones))));
        Ok(Box::new(task) as PluginGuard)
    });
    Ok(vec![Arc::new(ZoneFiles { zones: served })])
}

fn read(setup: &Setup<'_>, directive: &Directive) -> Result<ZoneFolder, SetupErrors> {
    let pattern = Regex::new(r"db\.(.*)").map_err(|error| vec![directive.error(error.to_string(), "")])?;
    let mut read = ZoneFolder {
        folder: PathBuf::new(),
        pattern,
        origin: "{1}".to_owned(),
        zones: Zones::read_or_keys(&directive.args, setup.block)?,
        fallthrough: None,
        reload: Duration::from_secs(60),
        served: Arc::default(),
    };
    let mut has_folder = false;
    each_line(directive, |line| {
        match line.name.text.as_str() {
            "directory" => {
                let args = line.args_between(1, 3, "DIR [REGEX ORIGIN]")?;
                read.folder = setup.path(&args[0]);
                has_folder = true;
                if let [_, pattern, origin] = args {
                    (read.pattern, read.origin) = patterns(pattern, origin)?;
                } else if args.len() == 2 {
                    return Err(args[1].error("directory: a pattern without an origin", "DIR [REGEX ORIGIN]"));
                }
            }
            "reload" => read.reload = line.arg("DURATION")?.duration()?,
            "fallthrough" => {
                let zones = Zones::read(&line.args)?;
                read.fallthrough = Some(if zones.is_empty() { Zones::new(["."]) } else { zones });
            }
            // Was needed before CoreDNS 1.7.
            "upstream" => {}
            _ => return Err(line.unknown(&["directory", "reload", "fallthrough", "upstream"])),
        }
        Ok(())
    })?;
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
    /// Reads the folder again and again.
    async fn follow(self, mut last: HashMap<Name, Arc<FileZone>>) {
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

    /// Reads the files and serves their zones. A zone stays as it is while its file has the same serial or a mistake.
    fn scan(&self, last: HashMap<Name, Arc<FileZone>>) -> HashMap<Name, Arc<FileZone>> {
        let mut files = Vec::new();
        if let Err(error) = self.find(&self.folder, 0, &mut files) {
            tracing::warn!(target: "plugin/auto", "{}: {error}", self.folder.display());
            if !last.is_empty() {
                return last;
            }
        }
        let mut zones = HashMap::new();
        for (path, origin) in files {
            let before = last.get(&origin);
            match load(&path, &origin) {
                Ok(data) => {
                    let serial = |zone: &Arc<FileZone>| zone.data.load().as_deref().map(|data| data.serial);
                    let zone = match before {
                        Some(zone) if serial(zone) == Some(data.serial) => zone.clone(),
                        _ => {
                            let shown = path.display();
                            tracing::info!(target: "plugin/auto", "Inserting zone `{origin}' from: {shown}");
                            let zone = FileZone::new(origin, self.fallthrough.clone());
                            zone.data.store(Some(Arc::new(data)));
                            Arc::new(zone)
                        }
                    };
                    zones.insert(origin, zone);
                }
                Err(error) => {
                    let shown = path.display();
                    tracing::warn!(target: "plugin/auto", "zone {origin} of {shown} is not replaced: {error}");
                    zones.extend(before.map(|zone| (origin, zone.clone())));
                }
            }
        }
        for origin in last.keys().filter(|origin| !zones.contains_key(*origin)) {
            tracing::info!(target: "plugin/auto", "Deleting zone `{origin}'");
        }
        let mut table = ZoneTable::default();
        zones.values().for_each(|zone| table.insert(zone.clone()));
        self.served.store(Arc::new(table));
        zones
    }

    /// Finds the zone files in a folder and below it.
    fn find(&self, folder: &Path, depth: usize, files: &mut Vec<(PathBuf, Name)>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            // Follows links, as Kubernetes mounts the files of ConfigMaps.
            let is_folder = path.is_dir();
            if is_folder && depth < MAX_DEPTH && !name.as_encoded_bytes().starts_with(b"..") {
                self.find(&path, depth + 1, files)?;
            }
            if is_folder || files.len() >= MAX_FILES {
                continue;
            }
            if let Some(origin) = name.to_str().and_then(|name| self.origin_of(name)) {
                files.push((path, origin));
            }
        }
        Ok(())
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
mod tests {
    use dns_wire::Query;

    use super::*;

    #[test]
    fn files_are_served_while_they_are_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let auto = ZoneFolder {
            folder: folder.path().to_owned(),
            pattern: Regex::new(r"db\.(.*)").unwrap(),
            origin: "{1}".to_owned(),
            zones: Zones::new(["org."]),
            fallthrough: None,
            reload: Duration::ZERO,
            served: Arc::default(),
        };
        let serial = |zone: &str| {
            let table = auto.served.load();
            let query = Query::new(1, &format!("www.{zone}").parse().unwrap(), 1);
            table.find(&query).and_then(|zone| zone.data.load().as_deref().map(|data| data.serial))
        };
        write("db.example.org", "@ SOA n h 1 2 3 4 5\n");
        write("db.example.net", "@ SOA n h 1 2 3 4 5\n");
        write("readme", "no zone");
        std::fs::create_dir(folder.path().join("more")).unwrap();
        write("more/db.sub.example.org", "@ SOA n h 3 2 3 4 5\n");
        let zones = auto.scan(HashMap::new());
        assert_eq!(
            ["example.org.", "sub.example.org.", "example.net."].map(serial),
            [Some(1), Some(3), None]
        );
        write("db.example.org", "broken");
        std::fs::remove_file(folder.path().join("more/db.sub.example.org")).unwrap();
        let zones = auto.scan(zones);
        assert_eq!(
            ["example.org.", "sub.example.org."].map(serial),
            [Some(1), Some(1)],
            "the mistake changes nothing"
        );
        write("db.example.org", "@ SOA n h 2 2 3 4 5\n");
        auto.scan(zones);
        assert_eq!(serial("example.org."), Some(2));
    }
}
