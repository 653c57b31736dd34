//! Reads zone files again while they are served.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::load::{FileStamp, load};
use super::zone::{LoadedZone, ZoneData};

/// A zone and its file.
pub(in crate::plugins) struct WatchedFile {
    pub path: PathBuf,
    pub served: Arc<LoadedZone>,
    /// How often it is read; zero for never.
    pub reload: Duration,
    /// Whether its modification time decides, and not the SOA serial.
    pub by_mtime: bool,
}

impl WatchedFile {
    /// Reads the file again and again.
    pub(in crate::plugins) async fn follow(self) {
        let file = Arc::new(self);
        // The file may have changed since it was read for the start, so the first time it is read in any case.
        let (mut last, mut last_stamp) = (file.modified(), None);
        let mut last_error = String::new();
        loop {
            tokio::time::sleep(file.reload).await;
            let (modified, stamp) = (file.modified(), FileStamp::of(&file.path));
            if file.by_mtime && modified == last && file.served.data.load().is_some() {
                continue;
            }
            if stamp.is_some() && stamp == last_stamp && file.is_complete() {
                continue;
            }
            let reading = file.clone();
            // A large zone takes a while to parse.
            let Ok(failed) = tokio::task::spawn_blocking(move || reading.refresh()).await else { continue };
            (last, last_stamp) = (modified, stamp);
            if let Some(error) = failed.as_ref().filter(|error| **error != last_error) {
                tracing::error!(target: "plugin/file", "{error}");
            }
            last_error = failed.unwrap_or_default();
        }
    }

    /// Whether the zone is loaded from this file alone.
    fn is_complete(&self) -> bool {
        self.served.data.load().as_deref().is_some_and(|data| !data.has_includes)
    }

    fn modified(&self) -> Option<SystemTime> {
        std::fs::metadata(&self.path).ok()?.modified().ok()
    }

    /// Reads the file, and serves it if it has changed. Returns why it cannot be served.
    fn refresh(&self) -> Option<String> {
        match load(&self.path, &self.served.origin) {
            Ok(data) => {
                self.replace(data);
                None
            }
            Err(error) => Some(error.of_reload(&self.served.origin, &self.path)),
        }
    }

    fn replace(&self, data: ZoneData) {
        let last = self.served.data.load().as_deref().map(|last| last.serial);
        if !self.by_mtime && last == Some(data.serial) {
            return;
        }
        tracing::info!(
            target: "plugin/file",
            "Successfully reloaded zone \"{}\" in \"{}\" with {} SOA serial", data.origin, self.path.display(), data.serial
        );
        self.served.data.store(Some(Arc::new(data)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_file_is_served_when_its_serial_has_changed_and_kept_when_it_is_broken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let served = Arc::new(LoadedZone::new("example.org.".parse().unwrap(), None, path.clone()));
        let file = WatchedFile {
            path: path.clone(),
            served: served.clone(),
            reload: Duration::from_secs(60),
            by_mtime: false,
        };
        let records = || served.data.load().as_deref().map(|data| (data.serial, data.len()));
        for (text, wanted) in [
            ("@ SOA n h 1 2 3 4 5\n", Some((1, 1))),
            ("@ SOA n h 1 2 3 4 5\na A 10.0.0.1\n", Some((1, 1))),
            ("@ SOA n h 2 2 3 4 5\na A 10.0.0.1\n", Some((2, 2))),
            ("@ SOA n h 3 2 3 4 5\na A 10.0\n", Some((2, 2))),
        ] {
            write(text);
            file.refresh();
            assert_eq!(records(), wanted, "{text}");
        }
        let by_mtime = WatchedFile { by_mtime: true, ..file };
        write("@ SOA n h 2 2 3 4 5\n");
        assert_eq!(by_mtime.refresh(), None);
        assert_eq!(records(), Some((2, 1)), "the serial does not matter");
    }
}
