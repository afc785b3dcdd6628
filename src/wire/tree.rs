//! Values of any shape, built within a budget. The budget limits the size of the values, not only the size of the text.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How much may still be built.
pub struct Budget {
    nodes_left: Cell<usize>,
    bytes_left: Cell<usize>,
    is_spent: Cell<bool>,
}

impl Budget {
    pub fn new(nodes_max: usize, bytes_max: usize) -> Budget {
        Budget { nodes_left: Cell::new(nodes_max), bytes_left: Cell::new(bytes_max), is_spent: Cell::new(false) }
    }

    /// Whether more was requested than the budget had.
    pub fn is_spent(&self) -> bool {
        self.is_spent.get()
    }

    /// Charges one more node, with its bytes of JSON and the separator before the next node.
    fn spend<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.nodes_left.get().checked_sub(1).zip(self.bytes_left.get().checked_sub(bytes + 1));
        let Some((nodes, bytes)) = left else {
            self.is_spent.set(true);
            return Err(E::custom("the budget is spent"));
        };
        self.nodes_left.set(nodes);
        self.bytes_left.set(bytes);
        Ok(())
    }
}

/// The length of a text in JSON.
fn text_bytes(text: &str) -> usize {
    2 + text
        .bytes()
        .map(|byte| if byte < 0x20 { 6 } else { 1 + usize::from(matches!(byte, b'"' | b'\\')) })
        .sum::<usize>()
}

/// Builds a value within the budget.
#[derive(Clone, Copy)]
pub struct Tree<'b>(pub &'b Budget);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.0.spend(5).map(|()| Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.0.spend(20).map(|()| Value::from(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.0.spend(20).map(|()| Value::from(value))
    }

    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64) // as JSON's readers do with numbers of this size
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.0.spend(24).map(|()| Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.0.spend(text_bytes(text)).map(|()| Value::from(text))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.0.spend(4).map(|()| Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.deserialize(from)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.deserialize(from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.0.spend(2)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.0.spend(2)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.0.spend(text_bytes(&key))?;
            let value = entries.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The size of a value: its number of nodes, and its bytes as JSON.
pub fn size(value: &Value) -> (usize, usize) {
    let children = |sizes: &mut dyn Iterator<Item = (usize, usize)>| {
        sizes.fold((1, 2), |(nodes, bytes), (more_nodes, more_bytes)| (nodes + more_nodes, bytes + more_bytes + 1))
    };
    match value {
        Value::Null | Value::Bool(_) => (1, 5),
        Value::Number(_) => (1, 20),
        Value::String(text) => (1, text_bytes(text)),
        Value::Array(items) => children(&mut items.iter().map(size)),
        Value::Object(fields) => children(&mut fields.iter().map(|(name, field)| {
            let (nodes, bytes) = size(field);
            (nodes + 1, bytes + text_bytes(name) + 1)
        })),
    }
}
