//! CoreDNS takes flags as Go programs do: `-conf`, `-dns.port=53`, `-quiet=false`. Those become the long flags that clap
//! knows.

use std::ffi::OsString;

/// Puts the second dash before words that one dash and more than one letter begin, on the command line of
/// `portolan dns` only: a flag that is unknown is then named as it was typed.
pub fn rewrite(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_none_or(|command| command != "dns") {
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
