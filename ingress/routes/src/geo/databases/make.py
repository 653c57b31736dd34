"""Writes the databases of the tests, with mmdb_writer of PyPI: networks of RFC 5737 and RFC 3849 and invented records."""

from mmdb_writer import MMDBWriter
from netaddr import IPSet

CITY = {
    "city": {"geoname_id": 2643743, "names": {"en": "London", "de": "London"}},
    "continent": {"code": "EU", "geoname_id": 6255148, "names": {"en": "Europe"}},
    "country": {"geoname_id": 2635167, "iso_code": "GB", "names": {"en": "United Kingdom"}},
    "location": {"latitude": 51.5142, "longitude": -0.0931, "metro_code": 807, "time_zone": "Europe/London"},
    "postal": {"code": "EC1A"},
    "subdivisions": [
        {"geoname_id": 6269131, "iso_code": "ENG", "names": {"en": "England"}},
        {"geoname_id": 3333152, "iso_code": "LND", "names": {"en": "City of London"}},
    ],
}
FOREIGN = {"city": {"names": {"en": "São Paulo"}}, "country": {"iso_code": "BR", "names": {"en": "Brazil"}}}
ASN = {"autonomous_system_number": 64496, "autonomous_system_organization": "Example \"Net\""}
ANONYMOUS = {"is_anonymous": True, "is_anonymous_vpn": True, "is_hosting_provider": False}


def write(edition, *records):
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type=edition, float_type="f64")
    for networks, record in records:
        writer.insert_network(IPSet(networks), record)
    writer.to_db_file(f"{edition}.mmdb")


write("GeoLite2-City", (["192.0.2.0/24", "2001:db8::/32"], CITY), (["198.51.100.0/24"], FOREIGN))
write("GeoLite2-ASN", (["192.0.2.0/24"], ASN))
write("GeoIP2-Anonymous-IP", (["192.0.2.0/24"], ANONYMOUS))
