//! The container image: what `charts/image.sh` makes, and that the Dockerfile describes the same image.
//!
//! The image is made from a small program instead of Portolan, so that no release build is needed.

// clippy allows it in test functions, not in the functions that they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::workspace::{metadata, root};

/// `cap_net_bind_service=p` as `security.capability`: `vfs_cap_data` of revision 2, permitted 1 << 10.
const BIND_SERVICE: &str = "\0\0\0\u{2}\0\u{4}\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A program that does nothing.
const SOURCE: &str = "int main(void) { return 0; }\n";

/// The same with 22.5 MB of data.
const LARGE: &str = "char data[22500000] = {1};\nint main(void) { return 0; }\n";

/// An entry of a tar archive.
#[derive(Debug)]
struct Entry {
    mode: u64,
    owner: (u64, u64),
    modified: u64,
    kind: char,
    link: String,
    /// Records of the pax header before it.
    extended: BTreeMap<String, String>,
    data: Vec<u8>,
}

/// The entries of a tar archive by name, with their headers' checksums verified.
fn entries(archive: &[u8]) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    let mut extended = BTreeMap::new();
    let mut rest = archive;
    while rest.len() >= 512 && rest[0] != 0 {
        let (header, after) = rest.split_at(512);
        let text = |from: usize, to: usize| {
            let field = header[from..to].split(|&byte| byte == 0).next().unwrap();
            String::from_utf8(field.to_vec()).unwrap()
        };
        let octal = |from, to| u64::from_str_radix(text(from, to).trim(), 8).unwrap();
        let sum: u64 =
            (0..512).map(|at| if (148..156).contains(&at) { 32 } else { u64::from(header[at]) }).sum();
        assert_eq!(octal(148, 156), sum, "the checksum of {}", text(0, 100));
        let size = usize::try_from(octal(124, 136)).unwrap();
        let data = after[..size].to_vec();
        rest = &after[size.next_multiple_of(512)..];
        let kind = char::from(header[156]);
        if kind == 'x' {
            extended = records(&data);
            continue;
        }
        let entry = Entry {
            mode: octal(100, 108),
            owner: (octal(108, 116), octal(116, 124)),
            modified: octal(136, 148),
            kind,
            link: text(157, 257),
            extended: std::mem::take(&mut extended),
            data,
        };
        assert!(entries.insert(text(0, 100), entry).is_none(), "{} twice", text(0, 100));
    }
    assert!(rest.len() >= 1024 && rest.iter().all(|&byte| byte == 0), "two empty blocks end an archive");
    entries
}

/// The records of a pax header: `LENGTH KEY=VALUE\n`.
fn records(data: &[u8]) -> BTreeMap<String, String> {
    let mut records = BTreeMap::new();
    let mut rest = std::str::from_utf8(data).unwrap();
    while !rest.is_empty() {
        let (length, _) = rest.split_once(' ').unwrap();
        let (record, after) = rest.split_at(length.parse().unwrap());
        let (key, value) = record[length.len() + 1..].strip_suffix('\n').unwrap().split_once('=').unwrap();
        records.insert(key.to_owned(), value.to_owned());
        rest = after;
    }
    records
}

/// A small program, and images of it.
struct Images {
    folder: TempDir,
    program: PathBuf,
}

impl Images {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = compile(folder.path(), "static", &["-static"], SOURCE);
        Self { folder, program }
    }

    fn script(&self, arguments: &[&str]) -> Command {
        let mut script = Command::new(root().join("charts/image.sh"));
        script.args(arguments).current_dir(self.folder.path());
        script
            .env("PORTOLAN_BINARY", &self.program)
            .env_remove("PORTOLAN_PROFILE")
            .env_remove("SOURCE_DATE_EPOCH")
            .env_remove("CA_CERTIFICATES");
        script
    }

    /// Runs the script and returns the archive.
    fn make(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.script(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        std::fs::read(self.folder.path().join(arguments[0])).unwrap()
    }
}

fn compile(folder: &Path, name: &str, flags: &[&str], code: &str) -> PathBuf {
    let (source, program) = (folder.join("main.c"), folder.join(name));
    std::fs::write(&source, code).unwrap();
    let output = Command::new("cc").args(flags).arg("-o").arg(&program).arg(source).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    program
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The manifest, the configuration and the entries of the only layer. Verifies the digests between them.
fn read(archive: &[u8]) -> (Value, Value, BTreeMap<String, Entry>) {
    let files = entries(archive);
    let manifest: Value = serde_json::from_slice(&files["manifest.json"].data).unwrap();
    let name = |value: &Value| value.as_str().unwrap().to_owned();
    let digest = |name: &str| hex(&Sha256::digest(&files[name].data));
    let (config, layer) = (name(&manifest[0]["Config"]), name(&manifest[0]["Layers"][0]));
    assert_eq!(config, format!("{}.json", digest(&config)));
    let parsed: Value = serde_json::from_slice(&files[&config].data).unwrap();
    let layers = json!({"type": "layers", "diff_ids": [format!("sha256:{}", digest(&layer))]});
    assert_eq!(parsed["rootfs"], layers);
    assert_eq!(files.len(), 3, "manifest, configuration and one layer");
    (manifest, parsed, entries(&files[&layer].data))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_image_holds_the_binary_under_its_names_with_the_capability_and_what_it_reads() {
    let images = Images::new();
    let (manifest, config, layer) = read(&images.make(&["image.tar"]));
    assert_eq!(manifest[0]["RepoTags"], json!(["docker.io/library/portolan:dev"]));
    assert_eq!((&config["os"], &config["created"]), (&json!("linux"), &json!("1970-01-01T00:00:00Z")));
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(config["architecture"], architecture);
    let names: Vec<_> = layer.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "coredns",
            "etc/",
            "etc/group",
            "etc/nsswitch.conf",
            "etc/passwd",
            "etc/ssl/",
            "etc/ssl/certs/",
            "etc/ssl/certs/ca-certificates.crt",
            "nginx-ingress-controller",
            "node-cache",
            "portolan",
            "wait-shutdown",
        ]
    );
    for (name, entry) in &layer {
        let mode = if entry.kind == '0' && name != "portolan" { 0o644 } else { 0o755 };
        assert_eq!((entry.mode, entry.owner, entry.modified), (mode, (0, 0), 0), "{name}");
    }
    for name in ["coredns", "nginx-ingress-controller", "node-cache", "wait-shutdown"] {
        assert_eq!((layer[name].kind, layer[name].link.as_str()), ('2', "portolan"), "{name}");
    }
    let capability = ("SCHILY.xattr.security.capability".to_owned(), BIND_SERVICE.to_owned());
    assert_eq!(layer["portolan"].extended, BTreeMap::from([capability]));
    let users = String::from_utf8(layer["etc/passwd"].data.clone()).unwrap();
    let ids: Vec<_> = users.lines().map(|line| line.split(':').nth(2).unwrap()).collect();
    assert_eq!(ids, ["0", "101", "65532"]);
    let hosts = String::from_utf8(layer["etc/nsswitch.conf"].data.clone()).unwrap();
    assert!(hosts.lines().any(|line| line == "hosts: files dns"), "{hosts}");
    let other_files: usize =
        layer.iter().filter(|(name, _)| *name != "portolan").map(|(_, entry)| entry.data.len()).sum();
    assert!(other_files < 400_000, "{other_files} bytes beside the binary");
}

#[test]
fn the_same_inputs_make_the_same_image_under_any_reference() {
    let images = Images::new();
    let (one, again) = (images.make(&["one.tar"]), images.make(&["again.tar"]));
    assert!(one == again, "not reproducible");
    let (manifest, config, _) = read(&images.make(&["other.tar", "registry.example:5000/team/portolan:1.2"]));
    assert_eq!(manifest[0]["RepoTags"], json!(["registry.example:5000/team/portolan:1.2"]));
    assert_eq!(config, read(&one).1);
}

#[test]
fn what_would_make_an_image_that_cannot_run_is_refused() {
    let mut images = Images::new();
    let dynamic = compile(images.folder.path(), "dynamic", &[], SOURCE);
    let refused = |mut script: Command, wanted: &str| {
        let output = script.output().unwrap();
        let text = text(&output);
        assert!(!output.status.success() && text.contains(wanted), "{text}");
    };
    refused(images.script(&[]), "usage: ");
    refused(images.script(&["image.tar", "no-tag"]), "no-tag: wanted an image name with a tag");
    let mut script = images.script(&["image.tar"]);
    script.env("CA_CERTIFICATES", "/nonexistent");
    refused(script, "no CA certificates in /nonexistent: install ca-certificates");
    images.program = dynamic;
    refused(images.script(&["image.tar"]), "dynamically linked");
    images.program = images.folder.path().join("main.c");
    refused(images.script(&["image.tar"]), "not an ELF binary");
    images.program = images.folder.path().join("missing");
    refused(images.script(&["image.tar"]), "no such file");
    assert!(!images.folder.path().join("image.tar").exists());
}

#[test]
fn an_image_for_users_has_a_limit() {
    let mut images = Images::new();
    images.program = compile(images.folder.path(), "large", &["-static"], LARGE);
    let output = images.script(&["image.tar"]).output().unwrap();
    let text = text(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("bytes, the limit of the profile dist is 22500000 ("), "{text}");
    assert!(!images.folder.path().join("image.tar").exists());
    // The limit is not for the images of CI, which are built with `release`.
    let status = images.script(&["image.tar"]).env("PORTOLAN_PROFILE", "release").status().unwrap();
    assert!(status.success());
}

#[test]
fn the_dockerfile_describes_the_same_image() {
    let images = Images::new();
    let (_, config, _) = read(&images.make(&["image.tar"]));
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile")).unwrap().replace("\\\n", " ");
    let (build, image) = dockerfile.split_once("\nFROM scratch\n").expect("the image begins from scratch");
    // The files and the capability.
    assert!(build.contains("charts/image.sh --root /image\n"), "{build}");
    assert!(build.contains("setcap cap_net_bind_service=p /image/portolan\n"), "{build}");
    let mut described = json!({"Env": [], "ExposedPorts": {}, "Labels": {}});
    for line in image.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (instruction, value) = line.split_once(' ').unwrap();
        match instruction {
            "COPY" => assert_eq!(value, "--from=build /image/ /"),
            "ENV" => described["Env"].as_array_mut().unwrap().push(json!(value)),
            "USER" => described["User"] = json!(value),
            "WORKDIR" => described["WorkingDir"] = json!(value),
            "ENTRYPOINT" => described["Entrypoint"] = serde_json::from_str(value).unwrap(),
            "EXPOSE" => value.split(' ').for_each(|port| described["ExposedPorts"][port] = json!({})),
            "LABEL" => value.split("org.").filter(|label| !label.trim().is_empty()).for_each(|label| {
                let (key, value) = label.trim().split_once('=').unwrap();
                described["Labels"][format!("org.{key}")] = serde_json::from_str(value).unwrap();
            }),
            other => panic!("{other}: compare it with charts/image.sh"),
        }
    }
    assert_eq!(described, config["config"]);
    assert_eq!(described["Entrypoint"], json!(["/portolan"]));
    let metadata = metadata();
    let package = metadata.packages.iter().find(|package| package.name.as_str() == "portolan").unwrap();
    assert_eq!(described["Labels"]["org.opencontainers.image.version"], json!(package.version.to_string()));
    let version = build.lines().find_map(|line| line.strip_prefix("ARG RUST_VERSION=")).unwrap();
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u64>().unwrap();
    let minimum = package.rust_version.as_ref().unwrap().minor;
    assert!(minor(version) >= minimum, "Rust {version} is older than 1.{minimum}");
}

/// A program in the image's folder may be executed: the links lead to the binary.
#[test]
fn the_files_of_the_image_are_also_written_to_a_folder() {
    let images = Images::new();
    let output = images.script(&["--root", "image"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    for name in ["portolan", "coredns", "nginx-ingress-controller", "node-cache", "wait-shutdown"] {
        let status = Command::new(images.folder.path().join("image").join(name)).status().unwrap();
        assert!(status.success(), "{name}");
    }
}
