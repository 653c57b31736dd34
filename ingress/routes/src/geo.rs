//! GeoIP: what MaxMind databases say about the address of a client, as nginx's variables `$geoip2_*`.
//!
//! Names, paths and defaults are those of ingress-nginx's template (`nginx.tmpl`, `geoip2`); values have the format of
//! `ngx_http_geoip2_module`. Bytes of a file go in and values come out; the files are read elsewhere.

mod value;
mod variables;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use maxminddb::Reader;

use self::value::GeoValue;
pub use self::variables::GeoVariable;

/// The largest file of a database in bytes. The largest one of MaxMind has about half of that.
pub const MAX_DATABASE: u64 = 256 << 20;

/// A kind of database, on which the variables depend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum GeoKind {
    Country,
    City,
    Asn,
    Isp,
    ConnectionType,
    AnonymousIp,
    /// It has no variables.
    Domain,
}

/// An edition of the databases, which `--maxmind-edition-ids` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeoEdition {
    name: &'static str,
    kind: GeoKind,
}

const fn edition(name: &'static str, kind: GeoKind) -> GeoEdition {
    GeoEdition { name, kind }
}

/// Those that `--maxmind-edition-ids` may name.
const EDITIONS: &[GeoEdition] = &[
    edition("GeoIP2-Anonymous-IP", GeoKind::AnonymousIp),
    edition("GeoIP2-Country", GeoKind::Country),
    edition("GeoIP2-City", GeoKind::City),
    edition("GeoIP2-Connection-Type", GeoKind::ConnectionType),
    edition("GeoIP2-Domain", GeoKind::Domain),
    edition("GeoIP2-ISP", GeoKind::Isp),
    edition("GeoIP2-ASN", GeoKind::Asn),
    edition("GeoLite2-ASN", GeoKind::Asn),
    edition("GeoLite2-Country", GeoKind::Country),
    edition("GeoLite2-City", GeoKind::City),
];

impl GeoEdition {
    /// Those without `--maxmind-edition-ids`.
    pub const DEFAULT: [Self; 2] =
        [edition("GeoLite2-City", GeoKind::City), edition("GeoLite2-ASN", GeoKind::Asn)];

    /// The edition of a name such as `GeoLite2-City`; `None` for an unknown one.
    pub fn named(name: &str) -> Option<Self> {
        EDITIONS.iter().find(|known| known.name == name).copied()
    }

    /// All editions.
    pub fn all() -> impl Iterator<Item = Self> {
        EDITIONS.iter().copied()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The names of its variables, without their dollar sign.
    pub fn variables(self) -> impl Iterator<Item = &'static str> {
        GeoVariable::of_kind(self.kind).map(GeoVariable::name)
    }

    /// The name of its file.
    pub fn file_name(self) -> String {
        format!("{}.mmdb", self.name)
    }
}

/// Which databases there should be.
#[derive(Clone, Debug, PartialEq)]
pub struct GeoSettings {
    /// `use-geoip2`: without it no request has the variables.
    pub is_enabled: bool,
    /// `--maxmind-edition-ids`.
    pub editions: Arc<[GeoEdition]>,
}

impl Default for GeoSettings {
    fn default() -> Self {
        Self { is_enabled: false, editions: GeoEdition::DEFAULT.into() }
    }
}

impl GeoSettings {
    /// Whether one of the databases has a variable.
    pub(crate) fn has(&self, variable: GeoVariable) -> bool {
        self.is_enabled && self.editions.iter().any(|edition| variable.row(edition.kind).is_some())
    }

    /// Why a text has no value: the first variable in it that no database has. Other unknown variables are no concern of this.
    pub(crate) fn missing_in(&self, text: &str) -> Option<String> {
        GeoVariable::all_in(text).find(|variable| !self.has(*variable)).map(|variable| self.missing(variable))
    }

    /// Why a variable is unknown.
    pub(crate) fn missing(&self, variable: GeoVariable) -> String {
        let name = variable.name();
        match self.is_enabled {
            false => format!("${name} is not a known variable without use-geoip2"),
            true => format!("${name} is not a known variable: no database of --maxmind-edition-ids has it"),
        }
    }
}

/// A database in memory.
pub struct GeoDatabase {
    kind: GeoKind,
    reader: Reader<Box<[u8]>>,
}

impl GeoDatabase {
    /// Reads the file of an edition.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(edition: GeoEdition, file: Box<[u8]>) -> Result<Self, String> {
        let reader = Reader::from_source(file).map_err(|error| error.to_string())?;
        Ok(Self { kind: edition.kind, reader })
    }

    /// Its own description: type and time of its making, since the Unix epoch in seconds.
    pub fn metadata(&self) -> (&str, u64) {
        let metadata = self.reader.metadata();
        (&metadata.database_type, metadata.build_epoch)
    }
}

impl std::fmt::Debug for GeoDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeoDatabase").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The databases that requests are looked up in.
#[derive(Debug, Default)]
pub struct GeoDatabases {
    databases: Vec<Arc<GeoDatabase>>,
}

impl GeoDatabases {
    /// The databases in the order of `--maxmind-edition-ids`. As in nginx the last one that has a variable makes its value.
    pub fn new(databases: Vec<Arc<GeoDatabase>>) -> Self {
        Self { databases }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.databases.is_empty()
    }

    /// The value of a variable for an address; `None` if no database has it. Hot: a text is borrowed; numbers allocate.
    pub(crate) fn value(&self, variable: GeoVariable, address: IpAddr) -> Option<Cow<'_, str>> {
        let mut databases = self.databases.iter().rev();
        let (database, property) =
            databases.find_map(|database| Some((database, variable.row(database.kind)?)))?;
        let value = || {
            let found = database.reader.lookup(address).ok()?;
            found.decode_path::<GeoValue<'_>>(property.path).ok()?
        };
        value().map(GeoValue::into_text).or_else(|| property.default.map(Cow::Borrowed))
    }
}

#[cfg(test)]
pub(crate) mod tests;
