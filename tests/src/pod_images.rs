//! The images of the cluster tests: Portolan's own, and those of programs of this machine and of `tests/pods`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::images::Image;
use crate::programs;

/// The image of Pod sandboxes.
pub const PAUSE: &str = "portolan.test/pause:1";

/// The backend server and the measuring client, a static Go program (`tests/pods`).
pub const PODS: &str = "portolan.test/pods:1";

/// busybox with its commands in `/bin`.
pub const BUSYBOX: &str = "portolan.test/busybox:1";

/// The image with `/resolve`, a program that looks up its arguments, linked with musl.
pub const MUSL: &str = "portolan.test/musl:1";

/// The same with glibc.
pub const GLIBC: &str = "portolan.test/glibc:1";

/// The same in Go, with its own resolver.
pub const GO: &str = "portolan.test/go:1";

/// The same in Python, whose library looks up addresses only.
pub const PYTHON: &str = "portolan.test/python:1";

/// The images with `/resolve`.
pub const RESOLVERS: [&str; 4] = [MUSL, GLIBC, GO, PYTHON];

/// Stock CoreDNS.
pub const COREDNS: &str = "portolan.test/coredns:1";

/// Portolan, as `charts/image.sh` names it by default.
pub const PORTOLAN: &str = "docker.io/library/portolan:dev";

/// Commands of busybox that tests use in Pods.
const COMMANDS: [&str; 6] = ["sh", "cat", "sleep", "id", "touch", "wget"];

/// The names that Debian's Python gives to the modules that a lookup needs.
const PYTHON_MODULES: &str = "
import socket, encodings.idna, sys
b''.decode('idna')
for module in sys.modules.values():
    if getattr(module, '__file__', None):
        print(module.__file__)
";

/// Makes all images as archives in `folder`. An error says which program is missing.
pub fn write_all(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("pods");
    let (pods, coredns) = (programs::pods()?, programs::coredns()?);

    Image::new(PAUSE, &["/pods", "pause"]).user("65535").file(&pods, "/pods")?.write(folder)?;
    Image::new(PODS, &["/pods"]).file(&pods, "/pods")?.write(folder)?;
    // It runs as root like CoreDNS's images of many years: the archive cannot hold the capability that another user needs.
    Image::new(COREDNS, &["/coredns"]).file(&coredns, "/coredns")?.write(folder)?;

    let mut busybox = Image::new(BUSYBOX, &["/bin/sh"]).file(Path::new("/bin/busybox"), "/bin/busybox")?;
    for command in COMMANDS {
        busybox = busybox.link(&format!("/bin/{command}"), "busybox")?;
    }
    busybox.write(folder)?;

    let program =
        |name: &str, compiler: &[&str]| compile(compiler, &sources.join("resolve.c"), &folder.join(name));
    let with_musl = program("resolve-musl", &["musl-gcc", "-static"])?;
    Image::new(MUSL, &["/resolve"]).file(&with_musl, "/resolve")?.write(folder)?;
    let with_glibc = program("resolve-glibc", &["cc"])?;
    Image::new(GLIBC, &["/resolve"]).program(&with_glibc, "/resolve")?.write(folder)?;
    Image::new(GO, &["/pods", "resolve"]).file(&pods, "/pods")?.write(folder)?;

    let mut image = Image::new(PYTHON, &["/usr/bin/python3", "-S", "/resolve.py"])
        .program(
            &fs::canonicalize("/usr/bin/python3").map_err(|error| format!("Debian's python3: {error}"))?,
            "/usr/bin/python3",
        )?
        .file(&sources.join("resolve.py"), "/resolve.py")?;
    for module in python_modules()? {
        if module.ends_with("os.py") {
            // Python warns if this folder of its library is missing.
            image = image.folder(&module.with_file_name("lib-dynload"))?;
        }
        image = match module.extension() {
            Some(end) if end == "so" => image.program(&module, &module.to_string_lossy())?,
            _ => image.file(&module, &module.to_string_lossy())?,
        };
    }
    image.write(folder)?;
    portolan(folder)
}

/// Makes the image of `portolan` as a user does, from `PORTOLAN_BINARY` if it is set. Without `PORTOLAN_PROFILE` the profile is
/// `release`, which CI has built anyway.
fn portolan(folder: &Path) -> Result<(), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/image.sh");
    let profile = std::env::var("PORTOLAN_PROFILE").unwrap_or_else(|_| "release".to_owned());
    let mut command = Command::new(&script);
    command.arg(folder.join("portolan.tar")).arg(PORTOLAN).env("PORTOLAN_PROFILE", profile);
    let status = command.status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}: {status}", script.display())),
        Err(error) => Err(format!("{}: {error}", script.display())),
    }
}

fn compile(compiler: &[&str], source: &Path, program: &Path) -> Result<PathBuf, String> {
    let (name, flags) = compiler.split_first().ok_or("no compiler")?;
    let mut command = Command::new(name);
    command.args(flags).args(["-O1", "-o"]).arg(program).arg(source).arg("-lresolv");
    let status = command.status();
    match status {
        Ok(status) if status.success() => Ok(program.to_owned()),
        Ok(status) => Err(format!("{name} {}: {status}", source.display())),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn python_modules() -> Result<Vec<PathBuf>, String> {
    let output = Command::new("/usr/bin/python3").args(["-S", "-c", PYTHON_MODULES]).output();
    let output = output.map_err(|error| format!("/usr/bin/python3: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match output.status.success() && !text.is_empty() {
        true => Ok(text.lines().map(PathBuf::from).collect()),
        false => Err(format!("/usr/bin/python3: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
