//! A value of a database as text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A text, number or truth value, in the format of `ngx_http_geoip2_module`. Lists and maps have none.
#[derive(Debug, PartialEq)]
pub(super) struct GeoValue<'d>(Cow<'d, str>);

impl<'d> GeoValue<'d> {
    pub(super) fn into_text(self) -> Cow<'d, str> {
        self.0
    }
}

impl<'de> Deserialize<'de> for GeoValue<'de> {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = GeoValue<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a truth value")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<GeoValue<'de>, E> {
                Ok(GeoValue(text.into()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<GeoValue<'de>, E> {
                Ok(GeoValue(text.to_owned().into()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<GeoValue<'de>, E> {
                Ok(GeoValue(if value { "1" } else { "0" }.into()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<GeoValue<'de>, E> {
                Ok(GeoValue(number.to_string().into()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<GeoValue<'de>, E> {
                Ok(GeoValue(number.to_string().into()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<GeoValue<'de>, E> {
                Ok(GeoValue(format!("{number:.5}").into()))
            }
        }
        value.deserialize_any(Reader)
    }
}
