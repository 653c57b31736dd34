//! A parsed document in which every value has its line.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_saphyr::Spanned;

/// A value and its position.
#[derive(Clone, Debug)]
pub(crate) struct DocumentNode {
    /// The line, counted from 1 within the document; 0 where it is unknown.
    pub(crate) line: u32,
    pub(crate) value: Value,
}

/// A value. Plain YAML scalars have the type that they look like, so that `"true"` and `true` differ, as they do for the
/// API server.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Flag(bool),
    Whole(i64),
    Large(u64),
    Real(f64),
    Text(String),
    List(Vec<DocumentNode>),
    Map(Vec<(String, DocumentNode)>),
}

impl DocumentNode {
    /// The value of a field of a map.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Value::Map(fields) = &self.value else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, node)| node)
    }

    /// The text of a field of a map.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value at a path such as `spec.ports[0].name`.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        let (mut here, mut path) = (self, path);
        while !path.is_empty() {
            (here, path) = here.step(path)?;
        }
        Some(here)
    }

    /// The line of a path such as `spec.ports[0].name`, or of the longest part of it that exists.
    pub(super) fn line_of(&self, path: &str) -> u32 {
        let (mut here, mut path) = (self, path);
        while let Some((next, rest)) = here.step(path) {
            (here, path) = (next, rest);
        }
        here.line
    }

    /// The value at the first step of a path, and the rest of the path. The name of a field may contain dots.
    fn step<'n, 'p>(&'n self, path: &'p str) -> Option<(&'n Self, &'p str)> {
        match &self.value {
            Value::List(items) => {
                let (at, rest) = path.strip_prefix('[')?.split_once(']')?;
                Some((items.get(at.parse::<usize>().ok()?)?, rest))
            }
            Value::Map(fields) => {
                let path = path.strip_prefix('.').unwrap_or(path);
                let rest = |name: &str| {
                    path.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
                };
                let found = fields.iter().filter_map(|(name, node)| Some((name.len(), node, rest(name)?)));
                found.max_by_key(|(length, ..)| *length).map(|(_, node, rest)| (node, rest))
            }
            _ => None,
        }
    }

    /// Adds a number of lines to every position.
    pub(super) fn shift(&mut self, lines: u32) {
        self.line += lines;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Value::Map(fields) => fields.iter_mut().for_each(|(_, node)| node.shift(lines)),
            _ => {}
        }
    }
}

impl<'de> Deserialize<'de> for DocumentNode {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Value>::deserialize(value)?;
        Ok(Self { line: u32::try_from(referenced.line()).unwrap_or(u32::MAX), value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Value, D::Error> {
                value.deserialize_any(self)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Flag(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Whole(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(i64::try_from(value).map_or(Value::Large(value), Value::Whole))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Real(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(Value::Text(value))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Value, S::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Value::List(items))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Value, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Value::Map(fields))
            }
        }
        value.deserialize_any(Reader)
    }
}

/// Why a document could not be decoded as an object, and where.
#[derive(Debug)]
pub(crate) struct NodeError {
    pub(crate) line: Option<u32>,
    /// The path, innermost step first.
    steps: Vec<String>,
    pub(crate) message: String,
}

impl NodeError {
    /// The path as [`crate::decode::InvalidField`] writes it.
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }

    fn at(mut self, line: u32) -> Self {
        self.line.get_or_insert(line);
        self
    }

    fn within(mut self, step: String) -> Self {
        self.steps.push(step);
        self
    }
}

impl Display for NodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for NodeError {}

impl de::Error for NodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self { line: None, steps: Vec::new(), message: message.to_string() }
    }
}

impl<'de> Deserializer<'de> for &'de DocumentNode {
    type Error = NodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        let read = match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Flag(value) => visitor.visit_bool(*value),
            Value::Whole(value) => visitor.visit_i64(*value),
            Value::Large(value) => visitor.visit_u64(*value),
            Value::Real(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Value::Map(fields) => visitor.visit_map(Fields { left: fields.iter(), value: None }),
        };
        read.map_err(|error| error.at(self.line))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        match &self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        visitor.visit_enum(self).map_err(|error| error.at(self.line))
    }

    /// Rejects a list, from which serde would otherwise read the fields of a struct in their order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NodeError> {
        match &self.value {
            Value::List(_) => {
                let error: NodeError = de::Error::invalid_type(de::Unexpected::Seq, &"an object");
                Err(error.at(self.line))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NodeError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier
    }
}

/// An enum value, `pathType: Exact`.
impl<'de> EnumAccess<'de> for &'de DocumentNode {
    type Error = NodeError;
    type Variant = UnitOnly;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, UnitOnly), NodeError> {
        seed.deserialize(self).map(|variant| (variant, UnitOnly))
    }
}

/// The content of an enum variant: enums of Kubernetes carry no data.
pub(crate) struct UnitOnly;

impl<'de> de::VariantAccess<'de> for UnitOnly {
    type Error = NodeError;

    fn unit_variant(self) -> Result<(), NodeError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, NodeError> {
        Err(de::Error::custom("a string instead of a map"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, NodeError> {
        Err(de::Error::custom("a string instead of a map"))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, NodeError> {
        Err(de::Error::custom("a string instead of a map"))
    }
}

struct Items<'a>(std::iter::Enumerate<std::slice::Iter<'a, DocumentNode>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = NodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, NodeError> {
        let Some((at, node)) = self.0.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|error| error.within(format!("[{at}]")))
    }
}

struct Fields<'a> {
    left: std::slice::Iter<'a, (String, DocumentNode)>,
    value: Option<(&'a str, &'a DocumentNode)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = NodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NodeError> {
        let Some((name, node)) = self.left.next() else { return Ok(None) };
        self.value = Some((name, node));
        let name: StrDeserializer<'_, NodeError> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NodeError> {
        let Some((name, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was requested before its key"));
        };
        seed.deserialize(node).map_err(|error| error.within(name.to_owned()))
    }
}
