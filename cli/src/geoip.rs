//! Reads the databases of `use-geoip2` from files, at first and whenever they change.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ingress_proxy::ProxyViews;
use ingress_routes::geo::MAX_DATABASE;
use ingress_routes::{GeoDatabase, GeoDatabases, GeoEdition, GeoSettings};
use sources::{Cluster, FileSignature};
use telemetry::{Problem, Severity};
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::runtime::Runtime;

/// How often files are checked for changes.
const INTERVAL: Duration = Duration::from_secs(5);

/// Follows the ConfigMap and the files of a folder. The files are read before this returns, so that the first requests have the variables.
pub fn follow(folder: &Path, cluster: &Cluster, views: &ProxyViews, runtime: &Runtime) {
    let changed = Arc::new(Notify::new());
    let news = changed.clone();
    cluster.observe(move |_, _| news.notify_one());
    let (table, geo, reports) = (views.table.clone(), views.geo.clone(), runtime.reports.clone());
    let mut files = GeoFiles::new(folder.to_owned());
    let mut refresh = move |settings: &GeoSettings| {
        if files.refresh(settings) {
            geo.store(Arc::new(files.databases()));
            reports.replace("geoip", files.problems());
        }
    };
    let mut settings = table.load().server().geo.clone();
    refresh(&settings);
    runtime.handle.spawn(async move {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = changed.notified() => {
                    let current = table.load().server().geo.clone();
                    if current == settings {
                        continue;
                    }
                    settings = current;
                }
                _ = interval.tick(), if settings.is_enabled => {}
            }
            // Reading a file may take long.
            let refreshed = tokio::task::spawn_blocking(move || {
                refresh(&settings);
                (settings, refresh)
            });
            match refreshed.await {
                Ok(next) => (settings, refresh) = next,
                Err(_) => return,
            }
        }
    });
}

/// The files of the databases.
struct GeoFiles {
    folder: PathBuf,
    files: Vec<GeoFile>,
}

/// The file of an edition.
struct GeoFile {
    edition: GeoEdition,
    path: PathBuf,
    /// What it was when it was read last; `None` before that, and for a file that could not be read.
    signature: Option<FileSignature>,
    /// Its content, or that of the file before it if it is invalid.
    database: Option<Arc<GeoDatabase>>,
    error: Option<String>,
}

impl GeoFiles {
    fn new(folder: PathBuf) -> Self {
        Self { folder, files: Vec::new() }
    }

    /// Reads the files that have changed. Returns whether databases or errors are others than before.
    fn refresh(&mut self, settings: &GeoSettings) -> bool {
        let wanted = if settings.is_enabled { &*settings.editions } else { &[] };
        let is_same = self.files.iter().map(|file| file.edition).eq(wanted.iter().copied());
        if !is_same {
            self.files = wanted.iter().map(|edition| GeoFile::new(*edition, &self.folder)).collect();
        }
        // Every file is refreshed, also after one that has changed.
        let has_changed = self.files.iter_mut().fold(false, |changed, file| file.refresh() | changed);
        has_changed || !is_same
    }

    fn databases(&self) -> GeoDatabases {
        GeoDatabases::new(self.files.iter().filter_map(|file| file.database.clone()).collect())
    }

    fn problems(&self) -> Vec<Problem> {
        self.files.iter().filter_map(GeoFile::problem).collect()
    }
}

impl GeoFile {
    fn new(edition: GeoEdition, folder: &Path) -> Self {
        let path = folder.join(edition.file_name());
        Self { edition, path, signature: None, database: None, error: None }
    }

    fn refresh(&mut self) -> bool {
        let signature = signature(&self.path);
        if signature.as_ref().is_ok_and(|signature| self.signature.as_ref() == Some(signature)) {
            return false;
        }
        let read = signature.and_then(|signature| {
            let file = read(&self.path, signature.size)?;
            self.signature = Some(signature);
            GeoDatabase::parse(self.edition, file)
        });
        match read {
            Ok(database) => {
                let (kind, built) = database.metadata();
                tracing::info!("GeoIP: {} is a {kind} of {built} (Unix time)", self.path.display());
                self.database = Some(Arc::new(database));
                self.error = None;
                true
            }
            Err(error) => {
                let is_new = self.error.as_ref() != Some(&error);
                self.error = Some(error);
                is_new
            }
        }
    }

    fn problem(&self) -> Option<Problem> {
        let effect = match self.database {
            Some(_) => "the database of before is used",
            None => "its variables are empty",
        };
        Some(Problem {
            kind: "GeoIP".to_owned(),
            key: self.path.display().to_string(),
            field: String::new(),
            what: format!("{}; {effect}", self.error.as_ref()?),
            wanted: "a database of MaxMind, whose edition --maxmind-edition-ids names".to_owned(),
            severity: Some(Severity::Differs),
        })
    }
}

/// The signature of a file that can be read.
fn signature(path: &Path) -> Result<FileSignature, String> {
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    let signature = FileSignature::of(&metadata);
    if signature.size > MAX_DATABASE {
        return Err(format!("it has {} bytes, and {MAX_DATABASE} are allowed", signature.size));
    }
    Ok(signature)
}

/// The content of a file. It has not more than `size` bytes, even if the file grows.
fn read(path: &Path, size: u64) -> Result<Box<[u8]>, String> {
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(size).read_to_end(&mut content).map_err(|error| error.to_string())?;
    Ok(content.into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DATABASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ingress/routes/src/geo/databases");

    fn enabled() -> GeoSettings {
        GeoSettings { is_enabled: true, ..GeoSettings::default() }
    }

    fn copy(name: &str, folder: &Path, as_name: &str) {
        // A new file each time, as atomic updates make it.
        fs::copy(Path::new(DATABASES).join(name), folder.join("new")).unwrap();
        fs::rename(folder.join("new"), folder.join(as_name)).unwrap();
    }

    #[test]
    fn files_are_read_when_they_change_and_a_bad_one_keeps_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = GeoFiles::new(folder.path().to_owned());
        let problems = |files: &GeoFiles| -> Vec<String> {
            let short = |problem: &Problem| {
                let name = Path::new(&problem.key).file_name().unwrap().to_string_lossy();
                format!("{name}: {}", problem.what)
            };
            files.problems().iter().map(short).collect()
        };
        assert!(!files.refresh(&GeoSettings::default()), "without use-geoip2 nothing is read");
        assert!(files.refresh(&enabled()));
        assert!(files.databases().is_empty());
        let missing = "No such file or directory (os error 2); its variables are empty";
        assert_eq!(
            problems(&files),
            [format!("GeoLite2-City.mmdb: {missing}"), format!("GeoLite2-ASN.mmdb: {missing}")]
        );
        assert!(!files.refresh(&enabled()), "nothing has changed");

        copy("GeoLite2-City.mmdb", folder.path(), "GeoLite2-City.mmdb");
        assert!(files.refresh(&enabled()) && !files.refresh(&enabled()));
        assert_eq!(problems(&files), [format!("GeoLite2-ASN.mmdb: {missing}")]);
        let before = files.files[0].database.clone().expect("it has been read");
        assert_eq!(before.metadata().0, "GeoLite2-City");

        copy("make.py", folder.path(), "GeoLite2-City.mmdb");
        copy("GeoLite2-ASN.mmdb", folder.path(), "GeoLite2-ASN.mmdb");
        assert!(files.refresh(&enabled()) && !files.refresh(&enabled()), "one report of each problem");
        let found = problems(&files);
        assert!(found.len() == 1 && found[0].ends_with("; the database of before is used"), "{found:?}");
        assert!(Arc::ptr_eq(&before, files.files[0].database.as_ref().unwrap()));

        copy("GeoLite2-City.mmdb", folder.path(), "GeoLite2-City.mmdb");
        assert!(files.refresh(&enabled()));
        assert_eq!(problems(&files), [""; 0]);
        fs::remove_file(folder.path().join("GeoLite2-City.mmdb")).unwrap();
        assert!(files.refresh(&enabled()));
        assert!(problems(&files)[0].ends_with("; the database of before is used"));

        assert!(files.refresh(&GeoSettings::default()) && files.databases().is_empty());
    }

    #[test]
    fn a_file_is_a_file_of_bounded_length() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(signature(folder.path()), Err("it is not a file".to_owned()));
        let path = folder.path().join("long");
        File::create(&path).unwrap().set_len(MAX_DATABASE + 1).unwrap();
        assert_eq!(signature(&path), Err("it has 268435457 bytes, and 268435456 are allowed".to_owned()));
        fs::write(&path, "abc").unwrap();
        assert_eq!(signature(&path).unwrap().size, 3);
        assert_eq!(&*read(&path, 2).unwrap(), b"ab", "it has grown meanwhile");
    }
}
