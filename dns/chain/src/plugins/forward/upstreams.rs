//! The upstreams of a `forward`. Those that a file in resolv.conf format names follow the file: DHCP and VPN clients rewrite it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use config::SourceLocation;

use super::address::{self, ForwardTarget, MAX_UPSTREAMS, TargetSource};
use super::metrics::UpstreamFamilies;
use super::options::ForwardOptions;
use super::upstream::ForwardUpstream;
use crate::host;

/// How often the files are read.
const INTERVAL: Duration = Duration::from_secs(5);

/// The upstreams in the order of the Corefile.
pub(super) type Upstreams = Vec<Arc<ForwardUpstream>>;

/// The upstreams, and what they are made from.
pub(super) struct UpstreamList {
    current: ArcSwap<Upstreams>,
    sources: Vec<TargetSource>,
    options: ForwardOptions,
    metrics: UpstreamFamilies,
    /// Where the Corefile has the `forward`.
    at: SourceLocation,
    /// The addresses that the server block listens on.
    own: Mutex<Vec<SocketAddr>>,
}

impl UpstreamList {
    /// The upstreams of the TO arguments. An error comes with the name of the property that causes it.
    pub(super) fn new(
        sources: Vec<TargetSource>,
        options: ForwardOptions,
        metrics: UpstreamFamilies,
        at: SourceLocation,
    ) -> Result<Self, (&'static str, String)> {
        let targets = sources.iter().flat_map(|source| source.targets.iter().cloned());
        let upstreams: Upstreams = targets
            .map(|target| ForwardUpstream::new(target, &options, &metrics).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let current = ArcSwap::from_pointee(upstreams);
        Ok(Self { current, sources, options, metrics, at, own: Mutex::default() })
    }

    /// The current upstreams; never empty.
    // Hot: 0 allocations.
    pub(super) fn load(&self) -> Guard<Arc<Upstreams>> {
        self.current.load()
    }

    /// Closes idle connections in time, and reads the files again and again.
    pub(super) async fn follow(self: Arc<Self>, expire: Duration) {
        let files: Vec<PathBuf> = self.sources.iter().filter_map(|source| source.file.clone()).collect();
        tokio::join!(self.close_expired(expire), self.follow_files(files));
    }

    async fn close_expired(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            self.load().iter().for_each(|upstream| upstream.close_expired());
        }
    }

    async fn follow_files(&self, files: Vec<PathBuf>) {
        if files.is_empty() {
            return;
        }
        let mut last: Vec<Option<Vec<SocketAddr>>> = vec![None; files.len()];
        loop {
            tokio::time::sleep(INTERVAL).await;
            let reading = files.clone();
            let read = move || reading.iter().map(|file| address::file(file)).collect::<Vec<_>>();
            let Ok(found) = tokio::task::spawn_blocking(read).await else { continue };
            let found: Vec<Option<Vec<SocketAddr>>> = found.into_iter().map(Result::ok).collect();
            if found != last {
                self.replace(&found);
                last = found;
            }
        }
    }

    /// Replaces the upstreams of the files, in their order, by these. A file without servers changes nothing. Upstreams that stay keep
    /// their connections and their health.
    fn replace(&self, found: &[Option<Vec<SocketAddr>>]) {
        let before = self.current.load_full();
        let (mut upstreams, mut files) = (Upstreams::new(), found.iter());
        for source in &self.sources {
            let mut targets = source.targets.clone();
            if source.file.is_some()
                && let Some(Some(servers)) = files.next()
            {
                targets = servers.iter().copied().map(ForwardTarget::plain).collect();
            }
            for target in targets {
                let known = before.iter().find(|upstream| *upstream.target() == target).cloned();
                let new = || ForwardUpstream::new(target, &self.options, &self.metrics).ok().map(Arc::new);
                upstreams.extend(known.or_else(new));
            }
        }
        if upstreams.len() > MAX_UPSTREAMS {
            let (at, count) = (&self.at, upstreams.len());
            tracing::warn!(
                target: "plugin/forward",
                "{at} - {count} upstreams, of which the first {MAX_UPSTREAMS} are used"
            );
            upstreams.truncate(MAX_UPSTREAMS);
        }
        let same = upstreams.len() == before.len()
            && upstreams.iter().zip(&*before).all(|(new, old)| Arc::ptr_eq(new, old));
        if same {
            return;
        }
        let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.to()).collect();
        tracing::info!(target: "plugin/forward", "{} - upstreams changed: {}", self.at, names.join(", "));
        self.current.store(Arc::new(upstreams));
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.warn_about_self(&own);
    }

    /// Remembers addresses that the server block listens on, and warns if an upstream is one of them.
    pub(super) fn listens_on(&self, listening: &[SocketAddr]) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(listening);
        self.warn_about_self(listening);
    }

    fn warn_about_self(&self, listening: &[SocketAddr]) {
        let is_own = |address| listening.iter().any(|own| host::is_reached_at(*own, address));
        for upstream in self.load().iter().filter(|upstream| upstream.mark_if_self(is_own)) {
            tracing::warn!(
                target: "plugin/forward",
                "{} - {} is this server block itself: queries that are forwarded to it come back, and only a few of them may \
                 wait. Usually /etc/resolv.conf names this server: configure the real upstream servers",
                self.at,
                upstream.to(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use config::Word;

    use super::*;
    use crate::offline;

    #[test]
    fn upstreams_follow_the_file_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("nameserver 192.0.2.1\nnameserver 192.0.2.2\n");
        let text = format!(".:53 {{\nforward . {} 192.0.2.9\n}}", path.display());
        let options = config::ParseOptions { dns_port: 53, directives: &[], env: &|_| None };
        let corefile = config::Corefile::parse("Corefile", &text, &config::Disk, &options).unwrap();
        let directive = &corefile.blocks[0].directives[0];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let context = offline::context("test", runtime.handle().clone());
        let options = ForwardOptions::read(directive, &context).unwrap();
        let words: &[Word] = &directive.args[1..];
        let sources = address::read(words, &options).unwrap();
        let metrics = super::super::metrics::ForwardMetrics::new(&context.metrics).upstreams;
        let list = UpstreamList::new(sources, options, metrics, directive.name.at.clone());
        let list = list.unwrap_or_else(|(_, what)| panic!("{what}"));
        let shown = || list.load().iter().map(|upstream| upstream.to().to_owned()).collect::<Vec<_>>();
        assert_eq!(shown(), ["192.0.2.1:53", "192.0.2.2:53", "192.0.2.9:53"]);
        let first = list.load()[1].clone();
        let reread = || list.replace(&[address::file(&path).ok()]);
        write("nameserver 192.0.2.2\nnameserver 192.0.2.3\n");
        reread();
        assert_eq!(shown(), ["192.0.2.2:53", "192.0.2.3:53", "192.0.2.9:53"]);
        assert!(Arc::ptr_eq(&first, &list.load()[0]), "it keeps its connections");
        write("# being written\n");
        assert!(address::file(&path).is_err());
        let many: Vec<Option<Vec<SocketAddr>>> =
            vec![Some((1..40).map(|last| SocketAddr::from(([192, 0, 2, last], 53))).collect())];
        list.replace(&many);
        assert_eq!(list.load().len(), MAX_UPSTREAMS, "the number is bounded");
    }
}
