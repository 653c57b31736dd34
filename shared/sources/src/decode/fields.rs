//! Fields that several kinds share, with the defaults of the API server.

use std::collections::HashSet;

use cluster::{CompactString, Key, Kind, Protocol};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use smallvec::SmallVec;

use super::InvalidField;
use super::scan::{Scanner, SeenFields};

/// `metadata`, with labels and annotations only where a kind reads them.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
#[serde(bound = "L: Deserialize<'de> + Default, A: Deserialize<'de> + Default")]
pub(super) struct Metadata<L = IgnoredAny, A = IgnoredAny> {
    #[serde(default, deserialize_with = "nullable")]
    pub(super) name: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) namespace: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) resource_version: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) creation_timestamp: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) deletion_timestamp: CompactString,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) labels: L,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) annotations: A,
}

impl<L, A> Metadata<L, A> {
    /// Key and version. A namespaced object without a namespace is in `default`, where `kubectl` puts it.
    pub(super) fn key_and_version(&self, kind: Kind) -> (Key, CompactString) {
        let namespace = match self.namespace.as_str() {
            _ if !kind.namespaced() => CompactString::default(),
            "" => "default".into(),
            _ => self.namespace.clone(),
        };
        (Key { namespace, name: self.name.clone() }, self.resource_version.clone())
    }
}

impl<L: Default, A: Default> Metadata<L, A> {
    /// Reads the names and the version; the labels and annotations by these functions.
    pub(super) fn scan<'a>(
        text: &mut Scanner<'a>,
        labels: fn(&mut Scanner<'a>) -> Option<L>,
        annotations: fn(&mut Scanner<'a>) -> Option<A>,
    ) -> Option<Self> {
        let (mut metadata, mut seen) = (Self::default(), SeenFields::default());
        text.object(|text, field| {
            match field {
                b"name" => (metadata.name, _) = (text.text()?, seen.add(0)?),
                b"namespace" => (metadata.namespace, _) = (text.text()?, seen.add(1)?),
                b"resourceVersion" => (metadata.resource_version, _) = (text.text()?, seen.add(2)?),
                b"labels" => (metadata.labels, _) = (labels(text)?, seen.add(3)?),
                b"annotations" => (metadata.annotations, _) = (annotations(text)?, seen.add(4)?),
                _ => text.skip()?,
            }
            Some(())
        })?;
        Some(metadata)
    }
}

/// As [`pick`], with a scanner.
pub(super) fn scan_pick<const N: usize>(
    text: &mut Scanner<'_>,
    names: [&'static str; N],
) -> Option<[CompactString; N]> {
    let mut values = [const { CompactString::const_new("") }; N];
    text.object(|text, name| {
        match names.iter().position(|known| known.as_bytes() == name) {
            Some(at) => values[at] = text.text()?,
            None => text.skip()?,
        }
        Some(())
    })?;
    Some(values)
}

/// Decodes an absent value and `null` alike, as Go does: both are the zero value.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    value: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(value).map(Option::unwrap_or_default)
}

/// As [`nullable`], for a list that mostly has one element.
pub(super) fn nullable_list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    value: D,
) -> Result<SmallVec<[T; 1]>, D::Error> {
    nullable::<D, Vec<T>>(value).map(SmallVec::from_vec)
}

/// A map of strings to values, in the order given.
#[derive(Default)]
pub(super) struct StringMap<V>(pub(super) Vec<(CompactString, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for StringMap<V> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Reader<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<V> {
            type Value = StringMap<V>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a map of text to text (quote numbers and true or false)")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(StringMap(entries))
            }
        }
        value.deserialize_map(Reader(std::marker::PhantomData))
    }
}

/// The values of these names in a map of strings, empty where there are none; other values are skipped.
pub(super) fn pick<'de, D: Deserializer<'de>, const N: usize>(
    map: D,
    names: [&'static str; N],
) -> Result<[CompactString; N], D::Error> {
    struct Reader<const N: usize>([&'static str; N]);
    impl<'de, const N: usize> Visitor<'de> for Reader<N> {
        type Value = [CompactString; N];

        fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
            f.write_str("a map of text to text (quote numbers and true or false)")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<[CompactString; N], M::Error> {
            let mut values = [const { CompactString::const_new("") }; N];
            while let Some(name) = map.next_key::<CompactString>()? {
                match self.0.iter().position(|known| *known == name) {
                    Some(at) => values[at] = map.next_value()?,
                    None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
            Ok(values)
        }
    }
    map.deserialize_map(Reader(names))
}

impl<V> StringMap<V> {
    /// The entries, sorted by name.
    pub(super) fn sorted(self) -> Vec<(CompactString, V)> {
        let mut entries = self.0;
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        entries
    }
}

/// `protocol`; TCP when missing.
#[derive(Deserialize, Clone, Copy, Default)]
pub(super) enum ProtocolName {
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "UDP")]
    Udp,
    #[serde(rename = "SCTP")]
    Sctp,
}

impl ProtocolName {
    pub(super) fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        Some(match text.string_bytes()? {
            b"TCP" => Self::Tcp,
            b"UDP" => Self::Udp,
            b"SCTP" => Self::Sctp,
            _ => return None,
        })
    }
}

impl From<ProtocolName> for Protocol {
    fn from(transport: ProtocolName) -> Self {
        match transport {
            ProtocolName::Tcp => Self::Tcp,
            ProtocolName::Udp => Self::Udp,
            ProtocolName::Sctp => Self::Sctp,
        }
    }
}

/// A port number, 1 to 65535.
#[derive(Clone, Copy)]
pub(super) struct PortNumber(pub(super) u16);

impl<'de> Deserialize<'de> for PortNumber {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = PortNumber;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a port number from 1 to 65535")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<PortNumber, E> {
                match u16::try_from(value) {
                    Ok(port) if port > 0 => Ok(PortNumber(port)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
                }
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<PortNumber, E> {
                match u64::try_from(value) {
                    Ok(value) => self.visit_u64(value),
                    Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
                }
            }
        }
        value.deserialize_any(Reader)
    }
}

/// A number or a name (Kubernetes' IntOrString), as text.
pub(super) struct NumberOrName(pub(super) CompactString);

impl NumberOrName {
    /// Reads a port number or a text.
    pub(super) fn scan(text: &mut Scanner<'_>) -> Option<Self> {
        if text.is_at_string() {
            return text.text().map(Self);
        }
        text.port().map(|number| Self(number.to_string().into()))
    }
}

impl<'de> Deserialize<'de> for NumberOrName {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = NumberOrName;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a port number or name")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<NumberOrName, E> {
                Ok(NumberOrName(value.to_string().into()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<NumberOrName, E> {
                Ok(NumberOrName(value.to_string().into()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<NumberOrName, E> {
                Ok(NumberOrName(value.into()))
            }
        }
        value.deserialize_any(Reader)
    }
}

/// Checks a DNS label (RFC 1123): names of Services, namespaces, ports and hosts.
pub(super) fn check_label(path: impl FieldPath, label: &str) -> Result<(), InvalidField> {
    if label.len() <= 63 && is_label(label) {
        return Ok(());
    }
    Err(InvalidField::new(path.text(), label, "1 to 63 lower-case letters, digits and inner hyphens"))
}

/// The path of a field, as a text or as the function that makes one, which is called for an invalid value only.
pub(super) trait FieldPath {
    fn text(self) -> String;
}

impl FieldPath for &str {
    fn text(self) -> String {
        self.to_owned()
    }
}

impl<F: FnOnce() -> String> FieldPath for F {
    fn text(self) -> String {
        self()
    }
}

/// Adds a defect for each port that has the same name as another port, or no name although there are other ports: the API
/// server rejects such objects.
pub(super) fn check_port_names<'a>(
    path: &str,
    names: impl Iterator<Item = &'a str> + Clone,
    defects: &mut Vec<InvalidField>,
) {
    let several = names.clone().nth(1).is_some();
    if !several {
        return;
    }
    let mut seen = HashSet::new();
    for (at, name) in names.enumerate() {
        let wanted = match seen.insert(name) {
            _ if name.is_empty() => "a name, because there are several ports",
            false => "a name that no other port has",
            true => continue,
        };
        defects.push(InvalidField::new(format!("{path}[{at}].name"), name, wanted));
    }
}

/// Checks DNS labels separated by dots: names of other objects.
pub(super) fn check_subdomain(path: impl Into<String>, name: &str) -> Result<(), InvalidField> {
    if name.len() <= 253 && name.split('.').all(is_label) {
        return Ok(());
    }
    Err(InvalidField::new(path, name, "1 to 253 lower-case letters, digits, inner hyphens and inner dots"))
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}
