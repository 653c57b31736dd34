use super::*;

const CITY: &[u8] = include_bytes!("databases/GeoLite2-City.mmdb");
const ASN: &[u8] = include_bytes!("databases/GeoLite2-ASN.mmdb");
const ANONYMOUS: &[u8] = include_bytes!("databases/GeoIP2-Anonymous-IP.mmdb");

/// The databases of the tests.
pub(crate) fn databases() -> GeoDatabases {
    let files = [("GeoLite2-City", CITY), ("GeoLite2-ASN", ASN), ("GeoIP2-Anonymous-IP", ANONYMOUS)];
    let database = |(name, file): (&str, &[u8])| {
        let edition = GeoEdition::named(name).expect(name);
        Arc::new(GeoDatabase::parse(edition, file.into()).expect(name))
    };
    GeoDatabases::new(files.into_iter().map(database).collect())
}

#[test]
fn values_have_the_format_of_nginx() {
    let databases = databases();
    let value = |name: &str, address: &str| {
        let variable = GeoVariable::parse(name).expect(name);
        databases.value(variable, address.parse().unwrap()).map(Cow::into_owned)
    };
    for (name, address, wanted) in [
        ("geoip2_city", "192.0.2.7", Some("London")),
        ("geoip2_city", "2001:db8::7", Some("London")),
        ("geoip2_city", "198.51.100.1", Some("São Paulo")),
        ("geoip2_city", "203.0.113.1", None),
        ("geoip2_city_geoname_id", "192.0.2.7", Some("2643743")),
        ("geoip2_city_country_code", "192.0.2.7", Some("GB")),
        ("geoip2_city_country_name", "192.0.2.7", Some("United Kingdom")),
        ("geoip2_city_country_geoname_id", "192.0.2.7", Some("2635167")),
        ("geoip2_city_continent_code", "192.0.2.7", Some("EU")),
        ("geoip2_city_continent_name", "192.0.2.7", Some("Europe")),
        ("geoip2_postal_code", "192.0.2.7", Some("EC1A")),
        ("geoip2_postal_code", "198.51.100.1", None),
        ("geoip2_dma_code", "192.0.2.7", Some("807")),
        ("geoip2_latitude", "192.0.2.7", Some("51.51420")),
        ("geoip2_longitude", "192.0.2.7", Some("-0.09310")),
        ("geoip2_time_zone", "192.0.2.7", Some("Europe/London")),
        ("geoip2_region_code", "192.0.2.7", Some("ENG")),
        ("geoip2_region_name", "192.0.2.7", Some("England")),
        ("geoip2_region_code", "198.51.100.1", None),
        ("geoip2_subregion_code", "192.0.2.7", Some("LND")),
        ("geoip2_subregion_geoname_id", "192.0.2.7", Some("3333152")),
        ("geoip2_asn", "192.0.2.7", Some("64496")),
        ("geoip2_asn", "198.51.100.1", None),
        ("geoip2_org", "192.0.2.7", Some("Example \"Net\"")),
        ("geoip2_is_anon", "192.0.2.7", Some("1")),
        ("geoip2_is_anon", "198.51.100.1", None),
        ("geoip2_is_anonymous", "198.51.100.1", Some("0")),
        ("geoip2_is_anonymous_vpn", "192.0.2.7", Some("1")),
        ("geoip2_is_hosting_provider", "192.0.2.7", Some("0")),
        ("geoip2_is_tor_exit_node", "192.0.2.7", Some("0")),
        ("geoip2_country_code", "192.0.2.7", None),
        ("geoip2_isp", "192.0.2.7", None),
    ] {
        assert_eq!(value(name, address).as_deref(), wanted, "{name} {address}");
    }
}

#[test]
fn every_prefix_of_a_file_is_an_error_or_a_database_without_panics() {
    let edition = GeoEdition::DEFAULT[0];
    for length in 0..CITY.len() {
        let Ok(database) = GeoDatabase::parse(edition, CITY[..length].into()) else { continue };
        let databases = GeoDatabases::new(vec![Arc::new(database)]);
        for variable in GeoVariable::of_kind(GeoKind::City) {
            databases.value(variable, IpAddr::from([192, 0, 2, 7]));
        }
    }
    let error = GeoDatabase::parse(edition, b"not a database".as_slice().into()).unwrap_err();
    assert!(error.contains("metadata"), "{error}");
}

#[test]
fn bytes_of_a_file_that_are_changed_make_no_panic() {
    let (edition, address) = (GeoEdition::DEFAULT[0], IpAddr::from([192, 0, 2, 7]));
    for at in 0..CITY.len() {
        for byte in [0, 0x7f, 0xff, CITY[at] ^ 0x10] {
            let mut file: Box<[u8]> = CITY.into();
            file[at] = byte;
            let Ok(database) = GeoDatabase::parse(edition, file) else { continue };
            let databases = GeoDatabases::new(vec![Arc::new(database)]);
            for name in ["geoip2_city", "geoip2_latitude", "geoip2_subregion_name"] {
                databases.value(GeoVariable::parse(name).expect(name), address);
            }
        }
    }
}

#[test]
fn a_variable_is_known_if_an_edition_has_it() {
    let edition = |name| GeoEdition::named(name).expect(name);
    let off = GeoSettings::default();
    let on = GeoSettings { is_enabled: true, ..GeoSettings::default() };
    let country: Vec<_> = edition("GeoIP2-Country").variables().collect();
    assert_eq!((country.len(), country[0]), (6, "geoip2_country_code"));
    let isp =
        GeoSettings { editions: [edition("GeoIP2-ISP"), edition("GeoIP2-Domain")].into(), ..on.clone() };
    for (settings, text, wanted) in [
        (&off, "$geoip2_city", Some("$geoip2_city is not a known variable without use-geoip2")),
        (&off, "geoip2_city $geoip2_none $host", None),
        (&on, "$geoip2_city ${geoip2_asn}x", None),
        (
            &on,
            "$geoip2_city ${geoip2_isp}",
            Some("$geoip2_isp is not a known variable: no database of --maxmind-edition-ids has it"),
        ),
        (&isp, "$geoip2_isp$geoip2_asn", None),
        (
            &isp,
            "$geoip2_org",
            Some("$geoip2_org is not a known variable: no database of --maxmind-edition-ids has it"),
        ),
    ] {
        assert_eq!(settings.missing_in(text).as_deref(), wanted, "{settings:?} {text}");
    }
}
