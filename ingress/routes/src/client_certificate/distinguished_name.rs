//! Distinguished names as text (RFC 2253), as nginx prints them (`X509_NAME_print_ex` of OpenSSL with `XN_FLAG_RFC2253`).

use std::fmt::Write;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// OpenSSL's short names of attribute types; others are printed as numbers.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.3.6.1.4.1.311.60.2.1.1", "jurisdictionL"),
    ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionST"),
    ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionC"),
];

/// A name as text: the last relative name first, as in `CN=client,O=Shop`. It is ASCII without control characters.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    let relative: Vec<_> = name.iter_rdn().collect();
    for (at, relative) in relative.iter().rev().enumerate() {
        for (nth, attribute) in relative.iter().enumerate() {
            match (at, nth) {
                (0, 0) => {}
                (_, 0) => out.push(','),
                _ => out.push('+'),
            }
            write_attribute(&mut out, attribute);
        }
    }
    out
}

fn write_attribute(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    let known = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
    out.push_str(known.map_or(&oid, |(_, name)| name));
    out.push('=');
    match (known, characters(attribute.attr_value())) {
        (Some(_), Some(text)) => write_escaped(out, &text),
        // The encoded value (RFC 2253 §2.4).
        _ => {
            out.push('#');
            let value = attribute.attr_value();
            let mut der = Vec::new();
            write_header(&mut der, value);
            der.extend_from_slice(value.data);
            out.push_str(&hex::encode_upper(der));
        }
    }
}

/// Tag and length of a value.
fn write_header(der: &mut Vec<u8>, value: &Any<'_>) {
    der.push(value.header.tag().0 as u8);
    let length = value.data.len();
    match length {
        0..=127 => der.push(length as u8),
        _ => {
            let bytes = length.to_be_bytes();
            let skipped = bytes.iter().take_while(|byte| **byte == 0).count();
            der.push(0x80 | (bytes.len() - skipped) as u8);
            der.extend_from_slice(&bytes[skipped..]);
        }
    }
}

/// The characters of a string value; `None` for other types and for invalid strings.
fn characters(value: &Any<'_>) -> Option<String> {
    let data = value.data;
    match value.header.tag() {
        Tag::Utf8String => std::str::from_utf8(data).ok().map(str::to_owned),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            data.is_ascii().then(|| String::from_utf8_lossy(data).into_owned())
        }
        // OpenSSL takes it for ISO 8859-1.
        Tag::T61String => Some(data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units = data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            data.len()
                .is_multiple_of(2)
                .then(|| String::from_utf16(&units.collect::<Vec<_>>()).ok())
                .flatten()
        }
        _ => None,
    }
}

/// Writes a value with the escapes of RFC 2253. Control characters and bytes beyond ASCII become `\XX`.
fn write_escaped(out: &mut String, text: &str) {
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                out.push('\\');
                out.push(byte.into());
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if at == 0 || at == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(byte.into()),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair};
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    #[test]
    fn names_are_printed_as_openssl_prints_them() {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, DnValue::PrintableString("DE".try_into().unwrap()));
        name.push(DnType::OrganizationName, " A, B+C \"x\" ");
        name.push(DnType::OrganizationalUnitName, "#caf\u{e9}\n");
        name.push(DnType::CustomDnType(vec![0, 9, 2342, 19200300, 100, 1, 1]), "user");
        name.push(DnType::CustomDnType(vec![1, 2, 3, 4]), "hm");
        name.push(DnType::CommonName, "shop.example");
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        let key = KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        let (_, certificate) = X509Certificate::from_der(made.der()).unwrap();
        // The output of `openssl x509 -noout -subject -nameopt RFC2253`.
        let wanted =
            r#"CN=shop.example,1.2.3.4=#0C02686D,UID=user,OU=\#caf\C3\A9\0A,O=\ A\, B\+C \"x\"\ ,C=DE"#;
        assert_eq!(text(certificate.subject()), wanted);
    }

    #[test]
    fn strings_of_every_type_are_decoded() {
        for (tag, data, wanted) in [
            (Tag::Utf8String, &b"\xc3\xa9"[..], Some("\u{e9}")),
            (Tag::Utf8String, b"\xe9", None),
            (Tag::PrintableString, b"a", Some("a")),
            (Tag::PrintableString, b"\xe9", None),
            (Tag::T61String, b"\xe9", Some("\u{e9}")),
            (Tag::BmpString, b"\0a\0b", Some("ab")),
            (Tag::BmpString, b"\0a\0", None),
            (Tag::Integer, b"\x01", None),
        ] {
            assert_eq!(characters(&Any::from_tag_and_data(tag, data)).as_deref(), wanted, "{tag:?} {data:?}");
        }
    }
}
