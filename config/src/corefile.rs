//! The tree of a Corefile, and what the set-up of a plugin asks of it.

use std::fmt;

use crate::error::{ConfigError, ConfigWarning};
use crate::fingerprint::Fingerprint;
use crate::word::Word;
use crate::zone::ServerKey;

/// A whole configuration, its imports and variables resolved.
#[derive(Clone, Debug)]
pub struct Corefile {
    /// The server blocks in the order of the text. None when the text holds no block: then CoreDNS takes
    /// [`default_text`] instead.
    pub blocks: Vec<ServerBlock>,
    /// Changes whenever a word or the line it stands on does; the `reload` plugin compares it.
    pub fingerprint: Fingerprint,
    /// What loads and is yet odd.
    pub warnings: Vec<ConfigWarning>,
}

/// What CoreDNS serves without a Corefile and from an empty one.
pub fn default_text(dns_port: u16) -> String {
    format!(".:{dns_port} {{\nwhoami\nlog\n}}\n")
}

/// Zones and the directives that serve them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerBlock {
    /// At least one; a reverse range may have become several.
    pub keys: Vec<ServerKey>,
    /// In the order of the text, which for CoreDNS is not the order of plugins.
    pub directives: Vec<Directive>,
}

impl ServerBlock {
    /// Every directive of that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Directive> {
        self.directives.iter().filter(move |directive| *directive.name == *name)
    }

    /// The directive of that name, which may stand once.
    pub fn once<'a>(&'a self, name: &'a str) -> Result<Option<&'a Directive>, ConfigError> {
        let mut found = self.all(name);
        let first = found.next();
        match (first, found.next()) {
            (Some(first), Some(again)) => Err(again.name.error(
                format!("plugin/{name}: this plugin can only be used once per Server Block"),
                format!("one {name}, as on line {}", first.name.at.line()),
            )),
            _ => Ok(first),
        }
    }

    /// The zones of all keys.
    pub fn zones(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.zone.clone()).collect()
    }
}

/// A line: a directive of a server block or, inside its braces, one of its properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The first word; its place is the directive's.
    pub name: Word,
    /// The other words of the line.
    pub args: Vec<Word>,
    /// The lines in the braces that follow.
    pub block: Vec<Directive>,
}

impl Directive {
    /// A mistake on this line.
    pub fn error(&self, what: impl Into<String>, wanted: impl Into<String>) -> ConfigError {
        self.name.error(what, wanted)
    }

    /// The last property of that name, or this line without one: where a mistake that shows between several properties
    /// is told.
    pub fn property(&self, name: &str) -> &Self {
        self.block.iter().rfind(|line| *line.name == *name).unwrap_or(self)
    }

    /// Wrong words on this line.
    fn wrong_count(&self, wanted: impl fmt::Display) -> ConfigError {
        let last = self.args.last().unwrap_or(&self.name);
        self.error(
            format!("Wrong argument count or unexpected line ending after '{last}'"),
            format!("{} {wanted}", self.name),
        )
    }

    /// That it stands alone on its line.
    pub fn no_args(&self) -> Result<(), ConfigError> {
        if self.args.is_empty() { Ok(()) } else { Err(self.wrong_count("without arguments")) }
    }

    /// Exactly so many arguments; `wanted` names them.
    pub fn args<const N: usize>(&self, wanted: &str) -> Result<&[Word; N], ConfigError> {
        self.args.as_slice().try_into().map_err(|_| self.wrong_count(wanted))
    }

    /// The one argument.
    pub fn arg(&self, wanted: &str) -> Result<&Word, ConfigError> {
        self.args::<1>(wanted).map(|[arg]| arg)
    }

    /// One argument or none.
    pub fn optional_arg(&self, wanted: &str) -> Result<Option<&Word>, ConfigError> {
        if self.args.len() > 1 { Err(self.wrong_count(wanted)) } else { Ok(self.args.first()) }
    }

    /// At least `least` arguments.
    pub fn args_from(&self, least: usize, wanted: &str) -> Result<&[Word], ConfigError> {
        if self.args.len() < least { Err(self.wrong_count(wanted)) } else { Ok(&self.args) }
    }

    /// Between `least` and `most` arguments.
    pub fn args_between(&self, least: usize, most: usize, wanted: &str) -> Result<&[Word], ConfigError> {
        if self.args.len() > most { Err(self.wrong_count(wanted)) } else { self.args_from(least, wanted) }
    }

    /// That no braces follow.
    pub fn no_block(&self) -> Result<(), ConfigError> {
        match self.block.first() {
            None => Ok(()),
            Some(line) => Err(line.error(format!("unexpected block of '{}'", self.name), "no braces there")),
        }
    }

    /// That this property is not known; `known` lists those that are.
    pub fn unknown(&self, known: &[&str]) -> ConfigError {
        let mut wanted = format!("one of {}", known.join(", "));
        if let Some(near) = crate::near::nearest(&self.name, known) {
            wanted = format!("{near}? ({wanted})");
        }
        self.error(format!("unknown property '{}'", self.name), wanted)
    }
}

/// The zones that a plugin serves: those among its arguments, or else the server block's.
pub fn zones_or_keys(args: &[Word], block: &ServerBlock) -> Result<Vec<String>, ConfigError> {
    if args.is_empty() {
        return Ok(block.zones());
    }
    let mut zones = Vec::new();
    for arg in args {
        zones.extend(arg.zones()?);
    }
    Ok(zones)
}
