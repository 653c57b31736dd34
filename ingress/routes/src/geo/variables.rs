//! The variables of each kind of database.

use maxminddb::PathElement;
use maxminddb::PathElement::{Index, Key};

use super::GeoKind::{self, AnonymousIp, Asn, City, ConnectionType, Country, Isp};
use crate::template::is_name_character;

/// A variable that one kind of database has. Several kinds may have one of the same name.
pub(super) struct VariableOfKind {
    pub(super) name: &'static str,
    pub(super) kind: GeoKind,
    /// Where its value is in the record of an address.
    pub(super) path: &'static [PathElement<'static>],
    /// Its value where the record has none.
    pub(super) default: Option<&'static str>,
}

/// A variable `$geoip2_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeoVariable(&'static str);

impl GeoVariable {
    /// The variable of a name without its dollar sign.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let is_geo = name.starts_with("geoip2_");
        VARIABLES.iter().find(|row| is_geo && row.name == name).map(|row| Self(row.name))
    }

    /// What it is in a kind of database; `None` if the kind does not have it.
    pub(super) fn row(self, kind: GeoKind) -> Option<&'static VariableOfKind> {
        VARIABLES.iter().find(|row| row.kind == kind && row.name == self.0)
    }

    /// Those of a kind of database.
    pub(super) fn of_kind(kind: GeoKind) -> impl Iterator<Item = Self> {
        VARIABLES.iter().filter(move |row| row.kind == kind).map(|row| Self(row.name))
    }

    pub(crate) fn name(self) -> &'static str {
        self.0
    }

    /// The variables in a text that was not compiled.
    pub(crate) fn all_in(text: &str) -> impl Iterator<Item = Self> {
        text.split('$').skip(1).filter_map(|after| {
            let after = after.strip_prefix('{').unwrap_or(after);
            let end = after.find(|c: char| !is_name_character(c)).unwrap_or(after.len());
            Self::parse(&after[..end].to_ascii_lowercase())
        })
    }
}

const fn row(name: &'static str, kind: GeoKind, path: &'static [PathElement<'static>]) -> VariableOfKind {
    VariableOfKind { name, kind, path, default: None }
}

/// A variable that is 0 where the record has no value.
const fn zero(name: &'static str, kind: GeoKind, path: &'static [PathElement<'static>]) -> VariableOfKind {
    VariableOfKind { name, kind, path, default: Some("0") }
}

/// In the order of ingress-nginx's template.
#[rustfmt::skip]
pub(super) static VARIABLES: &[VariableOfKind] = &[
    row("geoip2_country_code", Country, &[Key("country"), Key("iso_code")]),
    row("geoip2_country_name", Country, &[Key("country"), Key("names"), Key("en")]),
    row("geoip2_country_geoname_id", Country, &[Key("country"), Key("geoname_id")]),
    row("geoip2_continent_code", Country, &[Key("continent"), Key("code")]),
    row("geoip2_continent_name", Country, &[Key("continent"), Key("names"), Key("en")]),
    row("geoip2_continent_geoname_id", Country, &[Key("continent"), Key("geoname_id")]),
    row("geoip2_city_country_code", City, &[Key("country"), Key("iso_code")]),
    row("geoip2_city_country_name", City, &[Key("country"), Key("names"), Key("en")]),
    row("geoip2_city_country_geoname_id", City, &[Key("country"), Key("geoname_id")]),
    row("geoip2_city", City, &[Key("city"), Key("names"), Key("en")]),
    row("geoip2_city_geoname_id", City, &[Key("city"), Key("geoname_id")]),
    row("geoip2_postal_code", City, &[Key("postal"), Key("code")]),
    row("geoip2_dma_code", City, &[Key("location"), Key("metro_code")]),
    row("geoip2_latitude", City, &[Key("location"), Key("latitude")]),
    row("geoip2_longitude", City, &[Key("location"), Key("longitude")]),
    row("geoip2_time_zone", City, &[Key("location"), Key("time_zone")]),
    row("geoip2_region_code", City, &[Key("subdivisions"), Index(0), Key("iso_code")]),
    row("geoip2_region_name", City, &[Key("subdivisions"), Index(0), Key("names"), Key("en")]),
    row("geoip2_region_geoname_id", City, &[Key("subdivisions"), Index(0), Key("geoname_id")]),
    row("geoip2_subregion_code", City, &[Key("subdivisions"), Index(1), Key("iso_code")]),
    row("geoip2_subregion_name", City, &[Key("subdivisions"), Index(1), Key("names"), Key("en")]),
    row("geoip2_subregion_geoname_id", City, &[Key("subdivisions"), Index(1), Key("geoname_id")]),
    row("geoip2_city_continent_code", City, &[Key("continent"), Key("code")]),
    row("geoip2_city_continent_name", City, &[Key("continent"), Key("names"), Key("en")]),
    row("geoip2_asn", Asn, &[Key("autonomous_system_number")]),
    row("geoip2_org", Asn, &[Key("autonomous_system_organization")]),
    row("geoip2_isp", Isp, &[Key("isp")]),
    row("geoip2_isp_org", Isp, &[Key("organization")]),
    zero("geoip2_asn", Isp, &[Key("autonomous_system_number")]),
    row("geoip2_connection_type", ConnectionType, &[Key("connection_type")]),
    row("geoip2_is_anon", AnonymousIp, &[Key("is_anonymous")]),
    zero("geoip2_is_anonymous", AnonymousIp, &[Key("is_anonymous")]),
    zero("geoip2_is_anonymous_vpn", AnonymousIp, &[Key("is_anonymous_vpn")]),
    zero("geoip2_is_hosting_provider", AnonymousIp, &[Key("is_hosting_provider")]),
    zero("geoip2_is_public_proxy", AnonymousIp, &[Key("is_public_proxy")]),
    zero("geoip2_is_tor_exit_node", AnonymousIp, &[Key("is_tor_exit_node")]),
];
