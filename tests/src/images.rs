//! Container images from files, as docker-archives: no registry is reachable in the tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// An image with one layer, under construction.
pub struct Image {
    reference: String,
    entrypoint: Vec<String>,
    user: String,
    root: TempDir,
}

impl Image {
    /// An empty image with the name `reference`, which includes a tag.
    pub fn new(reference: &str, entrypoint: &[&str]) -> Image {
        let root = TempDir::with_prefix("portolan-image-").expect("a temporary folder can be made");
        for folder in ["etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir(root.path().join(folder)).expect("the folder is new");
        }
        let entrypoint = entrypoint.iter().map(|&word| word.to_owned()).collect();
        Image { reference: reference.to_owned(), entrypoint, user: String::new(), root }
    }

    /// Sets the user (a number) that the image runs as by default.
    pub fn user(mut self, user: &str) -> Image {
        user.clone_into(&mut self.user);
        self
    }

    /// Adds a copy of a file at an absolute path.
    pub fn file(self, source: &Path, target: &str) -> Result<Image, String> {
        let copy = self.at(target);
        fs::create_dir_all(copy.parent().unwrap_or(&copy)).map_err(|error| format!("{target}: {error}"))?;
        fs::copy(source, &copy).map_err(|error| format!("{}: {error}", source.display()))?;
        Ok(self)
    }

    /// Adds an empty folder.
    pub fn folder(self, target: &Path) -> Result<Image, String> {
        let folder = self.at(&target.to_string_lossy());
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", target.display()))?;
        Ok(self)
    }

    /// Adds a symbolic link.
    pub fn link(self, name: &str, target: &str) -> Result<Image, String> {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(|error| format!("{name}: {error}"))?;
        symlink(target, path).map_err(|error| format!("{name}: {error}"))?;
        Ok(self)
    }

    /// Adds a dynamically linked program with its interpreter and shared libraries, at their paths on this machine.
    pub fn program(mut self, source: &Path, target: &str) -> Result<Image, String> {
        self = self.file(source, target)?;
        let output = Command::new("ldd").arg(source).output().map_err(|error| format!("ldd: {error}"))?;
        // `libc.so.6 => /lib/…/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            if let Some(library) = line.split_whitespace().find(|word| word.starts_with('/'))
                && !self.at(library).exists()
            {
                self = self.file(Path::new(library), library)?;
            }
        }
        Ok(self)
    }

    /// Writes the image into `folder` and returns the archive's path.
    pub fn write(self, folder: &Path) -> Result<PathBuf, String> {
        let name: String =
            self.reference.chars().map(|ch| if ch.is_ascii_alphanumeric() { ch } else { '-' }).collect();
        let content = TempDir::with_prefix("portolan-image-").map_err(|error| error.to_string())?;
        let layer = content.path().join("layer.tar");
        tar(self.root.path(), &layer)?;
        let bytes = fs::read(&layer).map_err(|error| format!("{}: {error}", layer.display()))?;
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": { "Entrypoint": self.entrypoint, "User": self.user, "WorkingDir": "/" },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
        });
        let manifest = json!([
            { "Config": "config.json", "RepoTags": [self.reference], "Layers": ["layer.tar"] }
        ]);
        let put = |name: &str, value: &Value| fs::write(content.path().join(name), value.to_string());
        put("config.json", &config)
            .and_then(|()| put("manifest.json", &manifest))
            .map_err(|e| e.to_string())?;
        let archive = folder.join(format!("{name}.tar"));
        tar(content.path(), &archive)?;
        Ok(archive)
    }

    fn at(&self, target: &str) -> PathBuf {
        self.root.path().join(target.trim_start_matches('/'))
    }
}

/// Archives the content of `folder`. All files belong to root.
fn tar(folder: &Path, archive: &Path) -> Result<(), String> {
    let status = Command::new("tar")
        .args(["--owner=0", "--group=0", "--numeric-owner", "--mode=go-w", "-C"])
        .arg(folder)
        .arg("-cf")
        .arg(archive)
        .arg(".")
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("tar of {}: {status}", folder.display())),
        Err(error) => Err(format!("tar: {error}")),
    }
}

/// The name of this machine's architecture in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
