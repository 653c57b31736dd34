//! The syntax tree of a Corefile, with the checks that plugin set-up needs.

use std::fmt;

use crate::error::{ConfigError, ConfigWarning};
use crate::fingerprint::Fingerprint;
use crate::word::Word;
use crate::zone::ServerKey;

/// A configuration with all imports and variables resolved.
#[derive(Clone, Debug)]
pub struct Corefile {
    /// The name of its file in errors.
    pub name: String,
    /// The server blocks in text order. Empty if the text has no block; CoreDNS then uses [`default_text`].
    pub blocks: Vec<ServerBlock>,
    /// Changes when a word or its line number changes; the `reload` plugin compares it.
    pub fingerprint: Fingerprint,
    /// Statements that load but are probably not what the author meant.
    pub warnings: Vec<ConfigWarning>,
    /// Mistakes that leave the rest readable, such as an import of a missing file. Empty after [`Corefile::parse`]; after
    /// [`Corefile::read`] the set-up of the plugins reports them with its own.
    pub mistakes: Vec<ConfigError>,
}

/// The configuration that CoreDNS uses without a Corefile or with an empty one.
pub fn default_text(dns_port: u16) -> String {
    format!(".:{dns_port} {{\nwhoami\nlog\n}}\n")
}

/// Zones and the directives that serve them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerBlock {
    /// At least one. A CIDR key may expand to several reverse zones.
    pub keys: Vec<ServerKey>,
    /// In text order. The order of plugins is fixed by the program, as in CoreDNS.
    pub directives: Vec<Directive>,
}

impl ServerBlock {
    /// All directives with that name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Directive> {
        self.directives.iter().filter(move |directive| *directive.name == *name)
    }

    /// The directive with that name; an error if there are several.
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
    /// The first word; its location is the directive's.
    pub name: Word,
    /// The other words of the line.
    pub args: Vec<Word>,
    /// The lines in the braces that follow.
    pub block: Vec<Directive>,
}

impl Directive {
    /// An error at this line.
    pub fn error(&self, what: impl Into<String>, wanted: impl Into<String>) -> ConfigError {
        self.name.error(what, wanted)
    }

    /// The last property with that name, or this line without one: the location for errors that concern several
    /// properties.
    pub fn property(&self, name: &str) -> &Self {
        self.block.iter().rfind(|line| *line.name == *name).unwrap_or(self)
    }

    /// The error for a wrong number of arguments.
    fn wrong_count(&self, wanted: impl fmt::Display) -> ConfigError {
        let last = self.args.last().unwrap_or(&self.name);
        self.error(
            format!("Wrong argument count or unexpected line ending after '{last}'"),
            format!("{} {wanted}", self.name),
        )
    }

    /// Checks that there are no arguments.
    pub fn no_args(&self) -> Result<(), ConfigError> {
        if self.args.is_empty() { Ok(()) } else { Err(self.wrong_count("without arguments")) }
    }

    /// Exactly `N` arguments; `wanted` names them in the error.
    pub fn args<const N: usize>(&self, wanted: &str) -> Result<&[Word; N], ConfigError> {
        self.args.as_slice().try_into().map_err(|_| self.wrong_count(wanted))
    }

    /// Exactly one argument.
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

    /// Checks that there is no block in braces.
    pub fn no_block(&self) -> Result<(), ConfigError> {
        match self.block.first() {
            None => Ok(()),
            Some(line) => Err(line.error(format!("unexpected block of '{}'", self.name), "no braces there")),
        }
    }

    /// The error for an unknown property; `known` lists the valid ones.
    pub fn unknown(&self, known: &[&str]) -> ConfigError {
        let mut wanted = format!("one of {}", known.join(", "));
        if let Some(near) = crate::near::nearest(&self.name, known) {
            wanted = format!("{near}? ({wanted})");
        }
        self.error(format!("unknown property '{}'", self.name), wanted)
    }
}

/// The zones of a plugin: its arguments or, without any, those of the server block.
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
