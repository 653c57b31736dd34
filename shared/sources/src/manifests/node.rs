//! A document as a tree in which every value knows its line.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_saphyr::Spanned;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Counted from 1 within the document; 0 where the reader could not say.
    pub(super) line: u32,
    pub(super) tree: Tree,
}

/// A value. What YAML writes without quotes is what it looks like, so that `"true"` and `true` differ here as they do
/// for the API server.
#[derive(Clone, Debug)]
pub(super) enum Tree {
    Null,
    Flag(bool),
    Whole(i64),
    Large(u64),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of a field of a map.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Tree::Map(fields) = &self.tree else { return None };
        fields.iter().find(|(field, _)| field == name).map(|(_, node)| node)
    }

    /// The text of a field of a map.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.tree {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The line of a path such as `spec.ports[0].name`, or of as much of it as is there.
    pub(super) fn line_of(&self, path: &str) -> u32 {
        let mut here = self;
        for step in path.split(['.', '[', ']']).filter(|step| !step.is_empty()) {
            let next = match (&here.tree, step.parse::<usize>()) {
                (Tree::List(items), Ok(at)) => items.get(at),
                _ => here.get(step),
            };
            let Some(next) = next else { break };
            here = next;
        }
        here.line
    }

    /// Moves the document down by so many lines.
    pub(super) fn shift(&mut self, lines: u32) {
        self.line += lines;
        match &mut self.tree {
            Tree::List(items) => items.iter_mut().for_each(|item| item.shift(lines)),
            Tree::Map(fields) => fields.iter_mut().for_each(|(_, node)| node.shift(lines)),
            _ => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        let Spanned { value: tree, referenced, .. } = Spanned::<Tree>::deserialize(value)?;
        Ok(Self { line: u32::try_from(referenced.line()).unwrap_or(u32::MAX), tree })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Tree;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }

            fn visit_none<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Tree, D::Error> {
                value.deserialize_any(self)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Flag(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Whole(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(i64::try_from(value).map_or(Tree::Large(value), Tree::Whole))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(Tree::Real(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Tree, E> {
                Ok(Tree::Text(value))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Tree, S::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Tree, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Tree::Map(fields))
            }
        }
        value.deserialize_any(Reader)
    }
}

/// Why a tree could not be read as an object, and where.
#[derive(Debug)]
pub(super) struct Misread {
    pub(super) line: Option<u32>,
    /// Steps from the inside out.
    steps: Vec<String>,
    pub(super) message: String,
}

impl Misread {
    /// The path as [`crate::decode::InvalidField`] writes it.
    pub(super) fn path(&self) -> String {
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

impl Display for Misread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Misread {}

impl de::Error for Misread {
    fn custom<T: Display>(message: T) -> Self {
        Self { line: None, steps: Vec::new(), message: message.to_string() }
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Misread;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        let read = match &self.tree {
            Tree::Null => visitor.visit_unit(),
            Tree::Flag(value) => visitor.visit_bool(*value),
            Tree::Whole(value) => visitor.visit_i64(*value),
            Tree::Large(value) => visitor.visit_u64(*value),
            Tree::Real(value) => visitor.visit_f64(*value),
            Tree::Text(text) => visitor.visit_borrowed_str(text),
            Tree::List(items) => visitor.visit_seq(Items(items.iter().enumerate())),
            Tree::Map(fields) => visitor.visit_map(Fields { left: fields.iter(), value: None }),
        };
        read.map_err(|error| error.at(self.line))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        match &self.tree {
            Tree::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misread> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misread> {
        visitor.visit_enum(self).map_err(|error| error.at(self.line))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misread> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier
    }
}

/// A word of a fixed choice, `pathType: Exact`.
impl<'de> EnumAccess<'de> for &'de Node {
    type Error = Misread;
    type Variant = UnitOnly;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, UnitOnly), Misread> {
        seed.deserialize(self).map(|variant| (variant, UnitOnly))
    }
}

/// Enums of Kubernetes carry no data.
pub(super) struct UnitOnly;

impl<'de> de::VariantAccess<'de> for UnitOnly {
    type Error = Misread;

    fn unit_variant(self) -> Result<(), Misread> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Misread> {
        Err(de::Error::custom("a word stands where data should"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Misread> {
        Err(de::Error::custom("a word stands where data should"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Misread> {
        Err(de::Error::custom("a word stands where data should"))
    }
}

struct Items<'a>(std::iter::Enumerate<std::slice::Iter<'a, Node>>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Misread;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Misread> {
        let Some((at, node)) = self.0.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|error| error.within(format!("[{at}]")))
    }
}

struct Fields<'a> {
    left: std::slice::Iter<'a, (String, Node)>,
    value: Option<(&'a str, &'a Node)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Misread;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misread> {
        let Some((name, node)) = self.left.next() else { return Ok(None) };
        self.value = Some((name, node));
        let name: StrDeserializer<'_, Misread> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misread> {
        let Some((name, node)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its name"));
        };
        seed.deserialize(node).map_err(|error| error.within(name.to_owned()))
    }
}
