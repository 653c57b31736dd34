//! `file`: answers from zone files.
//!
//! A signed zone is served with its signatures; the NSEC and NSEC3 records that prove a denial are not added.

mod answer;
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
mod load;
mod reload;
mod zone;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::{ConfigError, Directive};
use dns_wire::Name;
use dns_wire::codes::{class, rcode, rtype};
use futures_util::future::BoxFuture;

use crate::names::Zones;
use crate::notes::Notes;
use crate::plugin::{Answer, Flow, Plugin, QueryFailure, Runner};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginGuard, PluginInstances, PluginOption, Setup, SetupErrors, each_line};
use answer::ZoneOutcome;

#[cfg(any(test, feature = "fuzz"))]
pub use fuzz::zone_file;
pub(super) use load::{FileStamp, LoadError, load};
pub(super) use reload::WatchedFile;
pub(super) use zone::{LoadedZone, ZoneData, ZoneTable};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "file",
    about: "answers from zone files",
    syntax: &[
        "file example.org.db example.org",
        "file example.org.db example.org {\n    reload 30s\n    reload_by_mtime\n    fallthrough www.example.org\n    upstream\n}",
    ],
    options: &[
        PluginOption {
            syntax: "FILE",
            default: "",
            about: "A zone file (RFC 1035 §5), with `$ORIGIN`, `$TTL`, `$INCLUDE` and `$GENERATE`. A file that does not exist is a warning, and its zone is answered with SERVFAIL until it does; a file with a mistake is an error.",
        },
        PluginOption {
            syntax: "[ZONE…]",
            default: "the zones of the server block",
            about: "The zones of the file.",
        },
        PluginOption {
            syntax: "reload DURATION",
            default: "1m",
            about: "How often the file is read; it is served when its SOA serial has changed. 0 reads it once.",
        },
        PluginOption {
            syntax: "reload_by_mtime",
            default: "",
            about: "Serves the file when its modification time has changed, whatever its serial.",
        },
        PluginOption {
            syntax: "fallthrough [ZONE…]",
            default: "",
            about: "Names that do not exist go to the next plugin, all or those of the zones. The last such line counts for all directives of the server block, as in CoreDNS.",
        },
        PluginOption { syntax: "upstream", default: "", about: "Accepted without effect." },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

/// The plugin of `file` and `auto`: zones that are replaced when their files change.
pub(super) struct AuthoritativeZones {
    pub zones: Arc<ArcSwap<ZoneTable>>,
    /// Of `file`: the plugins of the server block. As the last of them it refuses names outside of its zones.
    pub linked: Option<Arc<OnceLock<Vec<&'static str>>>>,
}

impl Plugin for AuthoritativeZones {
    // Hot: 0 allocations, unless a target outside of the zone has to be resolved.
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        if request.query.qclass != class::IN {
            return Flow::Next;
        }
        let zones = self.zones.load();
        let is_transfer = matches!(request.query.qtype, rtype::AXFR | rtype::IXFR);
        let Some(served) = zones.find(&request.query) else { return self.outside() };
        if is_transfer {
            return Flow::Fail(QueryFailure::silent(rcode::REFUSED));
        }
        let data = served.data.load();
        match data.as_deref() {
            Some(zone) => match served.answer(zone, request, answer) {
                ZoneStep::Flow(flow) => flow,
                ZoneStep::Target(_) => Flow::Wait,
            },
            None => not_loaded(served),
        }
    }

    /// Resolves the target of a CNAME that is outside of the zone.
    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            // The file may have changed since `query`.
            let Some(served) = self.zones.load().find(&request.query).cloned() else { return Flow::Next };
            let Some(zone) = served.data.load_full() else { return not_loaded(&served) };
            let target = match served.answer(&zone, request, answer) {
                ZoneStep::Flow(flow) => return flow,
                ZoneStep::Target(target) => target,
            };
            let mut found = Answer::default();
            let qtype = request.query.qtype;
            let resolved = runner.resolve(request, &target, qtype, &mut found).await;
            let reply = &mut answer.reply;
            let count = reply.records().len();
            let rcode = match resolved {
                Some(query) => {
                    reply.append(&found.reply, &query);
                    reply.truncated |= found.reply.truncated;
                    found.reply.rcode
                }
                None => rcode::SERVFAIL,
            };
            // The code of the target is that of the reply (RFC 6604 §3), but for REFUSED: the client may find the target elsewhere.
            if matches!(rcode, rcode::NXDOMAIN | rcode::SERVFAIL) {
                reply.rcode = rcode;
            }
            let is_denied =
                rcode == rcode::NXDOMAIN || (rcode == rcode::NOERROR && reply.records().len() == count);
            zone.complete_alias(&request.query, reply, is_denied);
            Flow::Done
        })
    }

    fn in_memory(&self) -> bool {
        true
    }

    fn explain(&self, request: &Request, notes: &mut Notes) {
        let zones = self.zones.load();
        let Some(served) = zones.find(&request.query) else {
            return notes.say("the name is in none of its zones");
        };
        let (origin, path) = (served.origin, served.path.load());
        let data = served.data.load();
        let shown = path.display();
        let Some(zone) = data.as_deref() else {
            return notes.say(format!("zone {origin} of {shown} is not loaded"));
        };
        notes.say(match load::line_of(&path, &origin, request.query.lower()) {
            Some(line) => format!("zone {origin}, serial {}: the name is at {shown}:{line}", zone.serial),
            None => format!("zone {origin} of {shown}, serial {}: no line has the name itself", zone.serial),
        });
    }
}

impl AuthoritativeZones {
    /// The flow of a query for a name outside of all zones.
    fn outside(&self) -> Flow {
        let linked = self.linked.as_ref().and_then(|linked| linked.get());
        match linked.and_then(|linked| linked.last()) {
            Some(last) if *last == ENTRY.name => Flow::Fail(QueryFailure::silent(rcode::REFUSED)),
            _ => Flow::Next,
        }
    }
}

/// What follows from a zone's records for a query.
enum ZoneStep {
    Flow(Flow),
    /// The reply ends in an alias of this name, which is not in the zone.
    Target(Box<Name>),
}

impl LoadedZone {
    /// Answers from the records of the zone, which are those of its file.
    // Hot: 0 allocations.
    fn answer(&self, records: &ZoneData, request: &Request, answer: &mut Answer) -> ZoneStep {
        ZoneStep::Flow(match records.answer(&request.query, request.purpose.depth(), &mut answer.reply) {
            ZoneOutcome::External(target) => return ZoneStep::Target(target),
            ZoneOutcome::NoName if self.falls_through(&request.query) => {
                answer.reply.clear();
                Flow::Next
            }
            ZoneOutcome::Answered | ZoneOutcome::NoName => Flow::Done,
            ZoneOutcome::Loop => {
                Flow::Fail(QueryFailure::new(rcode::SERVFAIL, "plugin/file: aliases lead to each other"))
            }
        })
    }
}

fn not_loaded(served: &LoadedZone) -> Flow {
    let why = format!("plugin/file: the file of zone {} is not loaded", served.origin);
    Flow::Fail(QueryFailure::new(rcode::SERVFAIL, why))
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let (mut table, mut files, mut errors) = (ZoneTable::default(), Vec::new(), SetupErrors::new());
    let fallthrough = match fallthrough(&setup.directives) {
        Ok(fallthrough) => fallthrough,
        Err(error) => return Err(vec![error]),
    };
    for directive in setup.directives.clone() {
        match file(setup, directive, &fallthrough) {
            Ok(found) => {
                for file in found {
                    table.insert(file.served.clone());
                    files.push(file);
                }
            }
            Err(found) => errors.extend(found),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    setup.on_start(move || async move {
        let tasks: Vec<_> = files
            .into_iter()
            .filter(|file| !file.reload.is_zero())
            .map(|file| super::Task(tokio::spawn(file.follow())))
            .collect();
        Ok(Box::new(tasks) as PluginGuard)
    });
    let linked = Some(setup.linked.clone());
    Ok(vec![Arc::new(AuthoritativeZones { zones: Arc::new(ArcSwap::from_pointee(table)), linked })])
}

/// The zones whose names fall through. One `fallthrough`, the last, is that of all directives (coredns, plugin/file/setup.go).
fn fallthrough(directives: &[&Directive]) -> Result<Option<Zones>, ConfigError> {
    let mut lines = directives.iter().flat_map(|directive| &directive.block);
    let Some(line) = lines.rfind(|line| line.name.text == "fallthrough") else { return Ok(None) };
    let zones = Zones::read(&line.args)?;
    Ok(Some(if zones.is_empty() { Zones::new(["."]) } else { zones }))
}

/// The zones of a directive, loaded.
fn file(
    setup: &mut Setup<'_>,
    directive: &Directive,
    fallthrough: &Option<Zones>,
) -> Result<Vec<WatchedFile>, SetupErrors> {
    let single = |error: ConfigError| vec![error];
    let args = directive.args_from(1, "FILE [ZONE…]").map_err(single)?;
    let (mut reload, mut by_mtime) = (Duration::from_secs(60), false);
    each_line(directive, |line| {
        match line.name.text.as_str() {
            "reload" => reload = line.arg("DURATION")?.duration()?,
            "reload_by_mtime" => {
                line.no_args()?;
                by_mtime = true;
            }
            "fallthrough" => {
                Zones::read(&line.args)?;
            }
            // Was needed before CoreDNS 1.7.
            "upstream" => {}
            _ => return Err(line.unknown(&["reload", "reload_by_mtime", "fallthrough", "upstream"])),
        }
        Ok(())
    })?;
    let path = setup.path(&args[0]);
    let zones = Zones::read_or_keys(&args[1..], setup.block)?;
    let mut files = Vec::new();
    for origin in zones.names() {
        let served = Arc::new(LoadedZone::new(*origin, fallthrough.clone(), path.clone()));
        match load(&path, origin) {
            Ok(data) => served.data.store(Some(Arc::new(data))),
            Err(LoadError::Missing(why)) if !reload.is_zero() => {
                let what = format!(
                    "file: {}: {why}: zone {origin} is answered with SERVFAIL until it can be read",
                    path.display()
                );
                setup.warn(directive, what);
            }
            Err(error) => {
                let mistakes = match error {
                    LoadError::Missing(why) => vec![why],
                    LoadError::Invalid(mistakes) => mistakes,
                };
                let shown = |what| format!("file: {}: {what}", path.display());
                let wanted = || format!("a zone file of {origin}");
                return Err(mistakes.into_iter().map(|what| args[0].error(shown(what), wanted())).collect());
            }
        }
        files.push(WatchedFile { path: path.clone(), served, reload, by_mtime });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use dns_wire::Query;
    use futures_util::FutureExt;

    use super::*;
    use crate::request::Transport;
    use crate::testing::NoRunner;

    /// The file changes between the query and the resolution of the target.
    #[test]
    fn a_name_that_has_disappeared_since_the_query_falls_through() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let origin: Name = "example.org.".parse().unwrap();
        for (fallthrough, wanted, code) in
            [(Some(Zones::new(["."])), Flow::Next, rcode::NOERROR), (None, Flow::Done, rcode::NXDOMAIN)]
        {
            let served = Arc::new(LoadedZone::new(origin, fallthrough, path.clone()));
            let read = |text: &str| {
                std::fs::write(&path, text).unwrap();
                served.data.store(load(&path, &origin).ok().map(Arc::new));
            };
            let mut table = ZoneTable::default();
            table.insert(served.clone());
            let zones = Arc::new(ArcSwap::from_pointee(table));
            let plugin = AuthoritativeZones { zones, linked: None };
            let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
            request.query = Query::new(1, &"a.example.org.".parse().unwrap(), rtype::A);
            let mut answer = Answer::default();
            read("@ SOA n h 1 2 3 4 5\na CNAME b.example.net.\n");
            assert_eq!(plugin.query(&mut request, &mut answer), Flow::Wait);
            read("@ SOA n h 2 2 3 4 5\n");
            answer.clear();
            let flow = plugin.wait(&mut request, &mut answer, &NoRunner).now_or_never();
            assert_eq!((flow, answer.reply.rcode), (Some(wanted), code));
        }
    }
}
