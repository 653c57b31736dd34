//! Go-style flags with one dash (`-conf`, `-dns.port=53`, `-quiet=false`), as CoreDNS has them, for clap.

use std::ffi::OsString;

/// Adds a second dash to arguments that start with one dash and a name of more than one letter. Applies to `portolan dns` and
/// `portolan node-cache`; clap parses single dashes of the other commands as short flags.
pub fn rewrite(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_none_or(|command| command != "dns" && command != "node-cache") {
        return args;
    }
    for arg in args.iter_mut().skip(2) {
        let Some(text) = arg.to_str() else { continue };
        let Some(flag) = text.strip_prefix('-').filter(|flag| !flag.starts_with('-')) else { continue };
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        if name.len() > 1 {
            *arg = format!("-{text}").into();
        }
    }
    args
}
