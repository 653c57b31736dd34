//! Selects the command by the program name (`argv[0]`), so that the binary can replace others.

use std::ffi::OsString;
use std::path::Path;

/// Programs that Portolan replaces, with the corresponding command.
const PROGRAMS: [(&str, &str); 2] = [("coredns", "dns"), ("nginx-ingress-controller", "ingress")];

/// Inserts the command that corresponds to the program name: `coredns` is `portolan dns`, `nginx-ingress-controller` is
/// `portolan ingress`. The same names are accepted as first argument: ingress-nginx's manifests pass
/// `/nginx-ingress-controller` to an image whose entry point executes its arguments.
pub fn insert_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if let Some(command) = args.first().and_then(command_of) {
        args.insert(1, command.into());
        if args.get(2).and_then(command_of) == Some(command) {
            args.remove(2);
        }
    } else if let Some(command) = args.get(1).and_then(command_of) {
        args[1] = command.into();
    }
    args
}

fn command_of(arg: &OsString) -> Option<&'static str> {
    let name = Path::new(arg).file_name()?;
    PROGRAMS.iter().find(|(program, _)| name == *program).map(|(_, command)| *command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_name_selects_the_command() {
        for (line, wanted) in [
            ("portolan dns -quiet", "portolan dns -quiet"),
            (
                "/usr/bin/coredns -conf /etc/coredns/Corefile",
                "/usr/bin/coredns dns -conf /etc/coredns/Corefile",
            ),
            ("/portolan /nginx-ingress-controller --http-port=80", "/portolan ingress --http-port=80"),
            ("nginx-ingress-controller --v=3", "nginx-ingress-controller ingress --v=3"),
            (
                "/nginx-ingress-controller /nginx-ingress-controller -v=3",
                "/nginx-ingress-controller ingress -v=3",
            ),
            ("portolan", "portolan"),
        ] {
            let args = insert_command(line.split(' ').map(OsString::from));
            let args: Vec<_> = args.iter().map(|arg| arg.to_str().unwrap()).collect();
            assert_eq!(args.join(" "), wanted);
        }
    }
}
