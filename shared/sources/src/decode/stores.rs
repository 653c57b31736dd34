//! Secrets and ConfigMaps (core/v1).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cluster::{CompactString, ConfigMap, Key, Kind, Object, Secret};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Expected, MapAccess, Visitor};

use super::fields::{Metadata, StringMap, nullable};
use super::{InvalidField, Slim, shorten};

/// The data is kept for any `type`: in old clusters TLS Secrets are often `Opaque`, and password lists always are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SlimSecret {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    data: Entries<Encoded>,
    /// Only in manifests: the API server merges it into `data`, over which it takes precedence.
    #[serde(default, deserialize_with = "nullable")]
    string_data: Entries<String>,
}

/// The longest entry that is kept, apart from certificates, `auth`, `ca.crt` and `ca.crl`: an entry of a Secret with
/// `auth-secret-type: auth-map` is a password. Without the limit, all that is stored in the Secrets of a cluster would be held.
const MAX_ENTRY: usize = 1024;

/// The entries of a map.
struct Entries<V> {
    certificate: Option<V>,
    private_key: Option<V>,
    /// As written.
    other: Vec<(CompactString, String)>,
}

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self { certificate: None, private_key: None, other: Vec::new() }
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(data: D) -> Result<Self, D::Error> {
        struct Reader<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Reader<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a map of names to data")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut data: M) -> Result<Entries<V>, M::Error> {
                let mut entries = Entries::default();
                while let Some(name) = data.next_key::<CompactString>()? {
                    match name.as_str() {
                        "tls.crt" => entries.certificate = data.next_value()?,
                        "tls.key" => entries.private_key = data.next_value()?,
                        _ => {
                            if let Some(value) = data.next_value()? {
                                entries.other.push((name, value));
                            }
                        }
                    }
                }
                Ok(entries)
            }
        }
        data.deserialize_map(Reader(std::marker::PhantomData))
    }
}

/// Bytes as base64. Line breaks are allowed, as in Go: manifests often have the text in blocks.
struct Encoded(Vec<u8>);

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Encoded;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("base64 (plain text belongs under stringData)")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Encoded, E> {
                // The value itself is not quoted: it may be a private key.
                let wrong = |_| E::custom(format_args!("invalid value, expected {}", &self as &dyn Expected));
                decode(text).map(Encoded).map_err(wrong)
            }
        }
        value.deserialize_str(Reader)
    }
}

/// Decodes base64, in which line breaks are allowed.
fn decode(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    if text.contains(['\r', '\n']) {
        STANDARD.decode(text.replace(['\r', '\n'], ""))
    } else {
        STANDARD.decode(text)
    }
}

impl Slim for SlimSecret {
    const KIND: Kind = Kind::Secret;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn object(self, key: Key, _: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let certificate = entry(self.string_data.certificate, self.data.certificate);
        let private_key = entry(self.string_data.private_key, self.data.private_key);
        let plain = self.string_data.other.into_iter().map(|(name, text)| (name, text.into_bytes()));
        // An entry that cannot be decoded is missing for those who need it, and hides nothing else.
        let encoded =
            self.data.other.into_iter().filter_map(|(name, text)| Some((name, decode(&text).ok()?)));
        let mut other: Vec<(CompactString, Box<[u8]>)> =
            plain.chain(encoded).filter(is_kept).map(|(name, bytes)| (name, bytes.into())).collect();
        // Stable, so that plain text takes precedence.
        other.sort_by(|(one, _), (other, _)| one.cmp(other));
        other.dedup_by(|(later, _), (first, _)| later == first);
        let other = other.into();
        Ok(Some(Object::Secret(Arc::new(Secret { key, certificate, private_key, other }))))
    }
}

fn is_kept((name, value): &(CompactString, Vec<u8>)) -> bool {
    value.len() <= MAX_ENTRY || matches!(name.as_str(), "auth" | "ca.crt" | "ca.crl")
}

fn entry(plain: Option<String>, encoded: Option<Encoded>) -> Box<[u8]> {
    match (plain, encoded) {
        (Some(plain), _) => plain.into_bytes().into(),
        (None, Some(Encoded(bytes))) => bytes.into(),
        (None, None) => Box::default(),
    }
}

#[derive(Deserialize)]
pub(super) struct SlimConfigMap {
    #[serde(default, deserialize_with = "nullable")]
    metadata: Metadata,
    #[serde(default, deserialize_with = "nullable")]
    data: StringMap<DataValue>,
}

/// A value of `data`. The API server accepts text only, and reads `null` as empty text. In a manifest an unquoted number or
/// boolean is taken as text and reported, so that one of them does not hide the keys beside it. A list or map is an error, and
/// the whole object is refused.
#[derive(Default)]
struct DataValue {
    text: String,
    /// The type that the value has instead of text.
    not_text: Option<&'static str>,
}

impl DataValue {
    fn of(value: impl ToString, not_text: &'static str) -> Self {
        Self { text: value.to_string(), not_text: Some(not_text) }
    }
}

impl<'de> Deserialize<'de> for DataValue {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = DataValue;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("text (quote numbers and true or false)")
            }

            fn visit_str<E>(self, text: &str) -> Result<DataValue, E> {
                Ok(DataValue { text: text.to_owned(), not_text: None })
            }

            fn visit_string<E>(self, text: String) -> Result<DataValue, E> {
                Ok(DataValue { text, not_text: None })
            }

            fn visit_bool<E>(self, value: bool) -> Result<DataValue, E> {
                Ok(DataValue::of(value, "a boolean"))
            }

            fn visit_i64<E>(self, value: i64) -> Result<DataValue, E> {
                Ok(DataValue::of(value, "a number"))
            }

            fn visit_u64<E>(self, value: u64) -> Result<DataValue, E> {
                Ok(DataValue::of(value, "a number"))
            }

            fn visit_f64<E>(self, value: f64) -> Result<DataValue, E> {
                Ok(DataValue::of(value, "a number"))
            }

            fn visit_unit<E>(self) -> Result<DataValue, E> {
                Ok(DataValue::of("", "null"))
            }

            fn visit_none<E>(self) -> Result<DataValue, E> {
                Ok(DataValue::of("", "null"))
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<DataValue, D::Error> {
                value.deserialize_any(self)
            }
        }
        value.deserialize_any(Reader)
    }
}

impl Slim for SlimConfigMap {
    const KIND: Kind = Kind::ConfigMap;

    fn key_and_version(&self) -> (Key, CompactString) {
        self.metadata.key_and_version(Self::KIND)
    }

    fn object(self, key: Key, defects: &mut Vec<InvalidField>) -> Result<Option<Object>, InvalidField> {
        let mut data = Vec::with_capacity(self.data.0.len());
        for (name, DataValue { text, not_text }) in self.data.sorted() {
            if let Some(not_text) = not_text {
                let what = format!("{not_text}, taken as the text {:?}", shorten(&text));
                let wanted = "text in quotes (the API server refuses numbers and booleans)";
                defects.push(InvalidField { path: format!("data.{name}"), what, wanted: wanted.into() });
            }
            data.push((name, text));
        }
        Ok(Some(Object::ConfigMap(Arc::new(ConfigMap { key, data }))))
    }
}
