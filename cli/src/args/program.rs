//! The name that the program is called by.

use std::ffi::OsString;
use std::path::Path;

/// Programs that Portolan stands in for, with the command that does their work.
const PROGRAMS: [(&str, &str); 2] = [("coredns", "dns"), ("nginx-ingress-controller", "ingress")];

/// Puts in the command that the program's own name stands for: called as `coredns` it is `portolan dns`, called as
/// `nginx-ingress-controller` it is `portolan ingress`. ingress-nginx's manifests give `/nginx-ingress-controller` as first
/// argument to an image whose entry point runs its arguments; it stands for the command, too.
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
    fn the_name_of_the_program_is_a_command() {
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
