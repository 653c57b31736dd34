//! Selects the command by the program name (`argv[0]`) or by the first flags, so that the binary can replace others.

use std::ffi::OsString;
use std::path::Path;

use clap::Command;

use super::{dns, ingress};

/// Programs of the images that Portolan replaces, with the corresponding command.
const PROGRAMS: [(&str, &str); 4] = [
    ("coredns", "dns"),
    ("nginx-ingress-controller", "ingress"),
    ("node-cache", "node-cache"),
    ("wait-shutdown", "wait-shutdown"),
];

/// Inserts the command if the command line has none.
///
/// - The program name selects it: `coredns` is `portolan dns`, `nginx-ingress-controller` is `portolan ingress`. The same names
///   are accepted as first argument: ingress-nginx's manifests pass `/nginx-ingress-controller` to an image whose entry point
///   executes its arguments.
/// - Otherwise the flags select it: CoreDNS's manifests pass `-conf /etc/coredns/Corefile` to the entry point of the image.
pub fn insert_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if let Some(command) = args.first().and_then(command_of_program) {
        args.insert(1, command.into());
        if args.get(2).and_then(command_of_program) == Some(command) {
            args.remove(2);
        }
    } else if let Some(command) = args.get(1).and_then(command_of_program) {
        args[1] = command.into();
    } else if let Some(command) = command_of_flags(&args) {
        args.insert(1, command.into());
    }
    args
}

fn command_of_program(arg: &OsString) -> Option<&'static str> {
    let name = Path::new(arg).file_name()?;
    PROGRAMS.iter().find(|(program, _)| name == *program).map(|(_, command)| *command)
}

/// The command of a command line that begins with a flag: that of the first flag which only one of the two has.
fn command_of_flags(args: &[OsString]) -> Option<&'static str> {
    let is_flag = |arg: &&str| arg.starts_with('-');
    args.get(1)?.to_str().filter(is_flag)?;
    let mut flags = args[1..].iter().filter_map(|arg| arg.to_str()).filter(is_flag);
    let (dns, ingress) = (dns::command(), ingress::command());
    flags.find_map(|flag| {
        let long = flag.strip_prefix("--");
        let name = long.unwrap_or(&flag[1..]);
        let name = name.split_once('=').map_or(name, |(name, _)| name);
        // Go's flag package, which CoreDNS uses, takes one dash before long names, too; ingress-nginx's does not.
        let of_dns = has_flag(&dns, name, true);
        let of_ingress = has_flag(&ingress, name, long.is_some());
        match (of_dns, of_ingress) {
            (true, false) => Some("dns"),
            (false, true) => Some("ingress"),
            _ => None,
        }
    })
}

fn has_flag(command: &Command, name: &str, long: bool) -> bool {
    command.get_arguments().any(|arg| {
        let is_short = arg.get_short().is_some_and(|short| name.len() == 1 && name.starts_with(short));
        is_short || long && arg.get_long() == Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inserted(line: &str) -> String {
        let args = insert_command(line.split_whitespace().map(OsString::from));
        args.iter().map(|arg| arg.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_program_name_selects_the_command() {
        for (line, wanted) in [
            ("portolan dns -quiet", "portolan dns -quiet"),
            (
                "/usr/bin/coredns -conf /etc/coredns/Corefile",
                "/usr/bin/coredns dns -conf /etc/coredns/Corefile",
            ),
            ("/coredns --kubeconfig=x", "/coredns dns --kubeconfig=x"),
            ("/portolan /coredns -quiet", "/portolan dns -quiet"),
            ("/portolan /nginx-ingress-controller --http-port=80", "/portolan ingress --http-port=80"),
            ("nginx-ingress-controller --v=3", "nginx-ingress-controller ingress --v=3"),
            (
                "/nginx-ingress-controller /nginx-ingress-controller -v=3",
                "/nginx-ingress-controller ingress -v=3",
            ),
            ("/node-cache -localip 169.254.20.10", "/node-cache node-cache -localip 169.254.20.10"),
            ("/portolan node-cache -conf x", "/portolan node-cache -conf x"),
            ("/wait-shutdown", "/wait-shutdown wait-shutdown"),
            ("/portolan /wait-shutdown", "/portolan wait-shutdown"),
            ("portolan", "portolan"),
        ] {
            assert_eq!(inserted(line), wanted);
        }
    }

    #[test]
    fn flags_of_one_original_select_the_command() {
        for (flags, command) in [
            ("-conf /etc/coredns/Corefile", Some("dns")),
            ("--conf=/etc/coredns/Corefile", Some("dns")),
            ("-dns.port=1053", Some("dns")),
            ("-p 1053", Some("dns")),
            ("-quiet", Some("dns")),
            ("-pidfile /run/dns.pid", Some("dns")),
            ("-plugins", Some("dns")),
            ("-alsologtostderr", Some("dns")),
            ("-log_dir=/tmp -v=2", Some("dns")),
            ("-v=2 -conf stdin", Some("dns")),
            ("--kubeconfig k --workers 2 --conf stdin", Some("dns")),
            ("--configmap=ns/name", Some("ingress")),
            ("--v=2 --election-id=ingress-nginx-leader", Some("ingress")),
            ("--logtostderr --publish-service=ns/name", Some("ingress")),
            // Flags of both, of neither, or after another argument.
            ("--v=2", None),
            ("--logtostderr", None),
            ("--version", None),
            ("-h", None),
            ("-configmap=ns/name", None),
            ("--no-such-flag", None),
            ("up --http-port=80", None),
            ("ingress -quiet", None),
        ] {
            let wanted = match command {
                Some(command) => format!("/portolan {command} {flags}"),
                None => format!("/portolan {flags}"),
            };
            assert_eq!(inserted(&format!("/portolan {flags}")), wanted);
        }
    }
}
