//! An output of a log whose target can be changed while lines are written: standard output, a file or a syslog server.

mod syslog;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::syslog::SyslogOutput;
use crate::metrics::Counter;

/// Where the lines of a log go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, to which lines are appended.
    File(PathBuf),
    /// A syslog server (RFC 3164 over UDP).
    Syslog {
        /// Its name or address.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// The target of an output. Clones share it.
#[derive(Clone, Default)]
pub struct LogTargetControl(Arc<Mutex<Control>>);

#[derive(Default)]
struct Control {
    target: LogTarget,
    /// The target that the output switches to before its next write.
    opened: Option<OpenTarget>,
    /// The last attempt to open the target failed.
    has_failed: bool,
}

/// A target that is open.
enum OpenTarget {
    Stdout,
    Stderr,
    File(File),
    Syslog(SyslogOutput),
}

impl LogTargetControl {
    /// An output for a [`LogWriter`](crate::LogWriter). It begins with standard output. `lost` counts lines that a syslog server did not get.
    pub fn output(&self, lost: Counter) -> LogTargetOutput {
        LogTargetOutput { control: self.clone(), open: OpenTarget::Stdout, lost }
    }

    /// Changes the target. Opens it unless it is open already. May block while a host name is resolved.
    ///
    /// # Errors
    /// Why it cannot be opened. Lines go to standard output then, and the next call tries again.
    pub fn set(&self, target: &LogTarget) -> io::Result<()> {
        {
            let control = self.lock();
            if control.target == *target && !control.has_failed {
                return Ok(());
            }
        }
        self.open(target)
    }

    /// Opens the target again: its file may have been moved, or the name of its host may have another address.
    ///
    /// # Errors
    /// As [`Self::set`]; but a target that is open stays in use until it can be opened again.
    pub fn reopen(&self) -> io::Result<()> {
        let target = self.lock().target.clone();
        let opened = open(&target);
        let mut control = self.lock();
        control.has_failed = opened.is_err();
        control.opened = Some(opened?);
        Ok(())
    }

    fn open(&self, target: &LogTarget) -> io::Result<()> {
        let opened = open(target);
        let mut control = self.lock();
        control.target = target.clone();
        control.has_failed = opened.is_err();
        let (opened, result) = match opened {
            Ok(opened) => (opened, Ok(())),
            Err(error) => (OpenTarget::Stdout, Err(error)),
        };
        control.opened = Some(opened);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Control> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(target: &LogTarget) -> io::Result<OpenTarget> {
    Ok(match target {
        LogTarget::Stdout => OpenTarget::Stdout,
        LogTarget::Stderr => OpenTarget::Stderr,
        LogTarget::File(path) => OpenTarget::File(open_file(path)?),
        LogTarget::Syslog { host, port } => OpenTarget::Syslog(SyslogOutput::open(host, *port)?),
    })
}

/// `O_NONBLOCK`: opening a FIFO without a reader fails, and writing to one that is full loses lines instead of stopping the log.
fn open_file(path: &Path) -> io::Result<File> {
    const O_NONBLOCK: i32 = 0o4000;
    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(O_NONBLOCK).open(path)
}

/// Writes to the target of a [`LogTargetControl`].
pub struct LogTargetOutput {
    control: LogTargetControl,
    open: OpenTarget,
    lost: Counter,
}

/// Every write must consist of complete lines, as those of [`LogWriter`](crate::LogWriter) do.
impl Write for LogTargetOutput {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if let Some(opened) = self.control.lock().opened.take() {
            self.open = opened;
        }
        match &mut self.open {
            OpenTarget::Stdout => io::stdout().write_all(lines)?,
            OpenTarget::Stderr => io::stderr().write_all(lines)?,
            OpenTarget::File(file) => file.write_all(lines)?,
            OpenTarget::Syslog(syslog) => self.lost.add(syslog.send(lines)),
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &self.open {
            OpenTarget::Stdout => io::stdout().flush(),
            OpenTarget::Stderr | OpenTarget::File(_) | OpenTarget::Syslog(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    /// A folder that is removed with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("portolan-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn lines_are_appended_to_a_file_and_after_reopening_to_a_new_one() {
        let folder = Folder::new("log-target");
        let (path, moved) = (folder.0.join("access.log"), folder.0.join("access.log.1"));
        let control = LogTargetControl::default();
        let mut output = control.output(Counter::default());
        control.set(&LogTarget::File(path.clone())).unwrap();
        output.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &moved).unwrap();
        output.write_all(b"two\n").unwrap();
        control.reopen().unwrap();
        output.write_all(b"three\n").unwrap();
        let text = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!((text(&moved), text(&path)), ("one\ntwo\n".into(), "three\n".into()));
    }

    #[test]
    fn a_target_that_cannot_be_opened_is_an_error_until_it_can() {
        let folder = Folder::new("log-target-error");
        let path = folder.0.join("missing/access.log");
        let target = LogTarget::File(path.clone());
        let control = LogTargetControl::default();
        let mut output = control.output(Counter::default());
        assert!(control.set(&target).is_err());
        output.write_all(b"to standard output\n").unwrap();
        assert!(control.set(&target).is_err(), "it is tried again");
        std::fs::create_dir(path.parent().unwrap()).unwrap();
        control.set(&target).unwrap();
        output.write_all(b"line\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "line\n");
        // A folder is no file.
        assert!(control.set(&LogTarget::File(folder.0.clone())).is_err());
    }

    #[test]
    fn a_syslog_server_gets_each_line_as_a_message() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let port = server.local_addr().unwrap().port();
        let (control, lost) = <(LogTargetControl, Counter)>::default();
        let mut output = control.output(lost.clone());
        control.set(&LogTarget::Syslog { host: "127.0.0.1".into(), port }).unwrap();
        output.write_all(b"one \"a\"\ntwo\n").unwrap();
        let receive = || {
            let mut buffer = [0; 512];
            let length = server.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        let (first, second) = (receive(), receive());
        // facility local7, severity info; "Mmm dd hh:mm:ss", host name, tag.
        assert!(first.starts_with("<190>") && first.ends_with(" nginx: one \"a\""), "{first}");
        let words: Vec<&str> = first["<190>".len()..].split_whitespace().collect();
        assert_eq!((words[0].len(), words[2].len(), words[4]), (3, 8, "nginx:"), "{first}");
        assert!(second.ends_with(" nginx: two"), "{second}");
        // Longer than a datagram.
        output.write_all(&[&vec![b'x'; 70_000][..], b"\n"].concat()).unwrap();
        assert_eq!(lost.value(), 1);
    }
}
