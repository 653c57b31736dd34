//! Names of types, classes and response codes as CoreDNS prints them.

use std::fmt;

/// A record type, displayed by name (RFC 3597 §5 if it has none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type(pub u16);

/// A response code, displayed by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rcode(pub u16);

/// A class, displayed by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(pub u16);

/// IANA "Resource Record (RR) TYPEs".
const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (3, "MD"),
    (4, "MF"),
    (5, "CNAME"),
    (6, "SOA"),
    (7, "MB"),
    (8, "MG"),
    (9, "MR"),
    (10, "NULL"),
    (12, "PTR"),
    (13, "HINFO"),
    (14, "MINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (18, "AFSDB"),
    (19, "X25"),
    (20, "ISDN"),
    (21, "RT"),
    (23, "NSAP-PTR"),
    (24, "SIG"),
    (25, "KEY"),
    (26, "PX"),
    (27, "GPOS"),
    (28, "AAAA"),
    (29, "LOC"),
    (30, "NXT"),
    (31, "EID"),
    (32, "NIMLOC"),
    (33, "SRV"),
    (34, "ATMA"),
    (35, "NAPTR"),
    (36, "KX"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (42, "APL"),
    (43, "DS"),
    (44, "SSHFP"),
    (45, "IPSECKEY"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (49, "DHCID"),
    (50, "NSEC3"),
    (51, "NSEC3PARAM"),
    (52, "TLSA"),
    (53, "SMIMEA"),
    (55, "HIP"),
    (56, "NINFO"),
    (57, "RKEY"),
    (58, "TALINK"),
    (59, "CDS"),
    (60, "CDNSKEY"),
    (61, "OPENPGPKEY"),
    (62, "CSYNC"),
    (63, "ZONEMD"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (100, "UINFO"),
    (101, "UID"),
    (102, "GID"),
    (103, "UNSPEC"),
    (104, "NID"),
    (105, "L32"),
    (106, "L64"),
    (107, "LP"),
    (108, "EUI48"),
    (109, "EUI64"),
    (128, "NXNAME"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (253, "MAILB"),
    (254, "MAILA"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
    (258, "AVC"),
    (260, "AMTRELAY"),
    (261, "RESINFO"),
    (32768, "TA"),
    (32769, "DLV"),
];

/// IANA "DNS RCODEs".
const RCODES: &[(u16, &str)] = &[
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (11, "DSOTYPENI"),
    (16, "BADVERS"),
    (17, "BADKEY"),
    (18, "BADTIME"),
    (19, "BADMODE"),
    (20, "BADNAME"),
    (21, "BADALG"),
    (22, "BADTRUNC"),
    (23, "BADCOOKIE"),
];

const CLASSES: &[(u16, &str)] = &[(1, "IN"), (2, "CS"), (3, "CH"), (4, "HS"), (254, "NONE"), (255, "ANY")];

impl Rcode {
    /// The code with this name, in any letter case.
    pub fn named(name: &str) -> Option<Self> {
        RCODES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(code, _)| Self(*code))
    }

    /// The name as the value of a metric label: codes without a name, which an upstream may choose freely, share one.
    pub fn label(self) -> &'static str {
        self.name().unwrap_or("other")
    }

    /// The name, if it has one.
    pub fn name(self) -> Option<&'static str> {
        find(RCODES, self.0)
    }
}

impl Type {
    /// The name as the value of a metric label: types without a name, which a client may choose freely, share one.
    pub fn label(self) -> &'static str {
        find(TYPES, self.0).unwrap_or("other")
    }

    /// The type with this name, in any letter case; `TYPE123` without one (RFC 3597 §5).
    pub fn named(name: &str) -> Option<Self> {
        number(TYPES, "TYPE", name).map(Self)
    }
}

impl Class {
    /// The name as the value of a metric label: classes without a name share one.
    pub fn label(self) -> &'static str {
        find(CLASSES, self.0).unwrap_or("other")
    }

    /// The class with this name, in any letter case; `CLASS12` without one (RFC 3597 §5).
    pub fn named(name: &str) -> Option<Self> {
        number(CLASSES, "CLASS", name).map(Self)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match find(TYPES, self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match find(CLASSES, self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "CLASS{}", self.0),
        }
    }
}

fn number(table: &[(u16, &'static str)], prefix: &str, name: &str) -> Option<u16> {
    let known = table.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(code, _)| *code);
    known.or_else(|| {
        let (start, digits) = name.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then(|| digits.parse().ok()).flatten()
    })
}

fn find(table: &[(u16, &'static str)], code: u16) -> Option<&'static str> {
    table.binary_search_by_key(&code, |(code, _)| *code).ok().map(|at| table[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_unnamed_codes_are_printed_as_numbers() {
        for table in [TYPES, RCODES, CLASSES] {
            assert!(table.is_sorted_by_key(|(code, _)| *code));
        }
        assert_eq!(format!("{} {} {}", Type(28), Rcode(3), Class(1)), "AAAA NXDOMAIN IN");
        assert_eq!(format!("{} {} {}", Type(65280), Rcode(12), Class(7)), "TYPE65280 RCODE12 CLASS7");
        assert_eq!(Rcode::named("ServFail"), Some(Rcode(2)));
        for (name, code) in [("aaaa", Some(28)), ("TYPE65280", Some(65280)), ("TYPE", None), ("AB", None)] {
            assert_eq!(Type::named(name), code.map(Type), "{name}");
        }
        assert_eq!((Class::named("ch"), Class::named("CLASS7")), (Some(Class(3)), Some(Class(7))));
    }
}
