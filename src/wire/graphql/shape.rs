//! The values of root fields, and the selection of fields from them.
//!
//! The fields of a type are known without a value of it. So selecting a field that does not exist is an error even if a
//! list is empty or an object is null.

use crate::error::{Error, quoted};
use crate::wire::graphql::selection::Selected;

/// The value of a field: a leaf, an object, a list of values, or null.
pub trait Shape {
    const TYPE: Type;

    /// Writes the selected fields. The selection was checked against `TYPE`.
    fn write(&self, selected: &Selected, out: &mut Output);
}

#[derive(Clone, Copy, Debug)]
pub enum Type {
    Leaf,
    Object(&'static ObjectType),
}

#[derive(Debug)]
pub struct ObjectType {
    pub name: &'static str,
    pub fields: &'static [(&'static str, Type)],
}

/// The JSON output that is being written.
pub struct Output {
    json: Vec<u8>,
    bytes_max: usize,
}

impl Output {
    pub fn push(&mut self, byte: u8) {
        self.json.push(byte);
    }

    fn is_full(&self) -> bool {
        self.json.len() > self.bytes_max
    }
}

/// The value of a root field as JSON, with only its selected fields.
#[derive(Debug)]
pub struct Given(Vec<u8>);

impl Given {
    /// Writes the selected fields of `shape`. Writing of a list stops once the output is longer than `bytes_max`; such
    /// an output must not be sent.
    ///
    /// # Errors
    ///
    /// An error that names a selected field that does not exist.
    pub fn select(shape: &impl Shape, selected: &Selected, bytes_max: usize) -> Result<Given, Error> {
        type_of(shape).check(selected)?;
        let mut out = Output { json: Vec::new(), bytes_max };
        shape.write(selected, &mut out);
        Ok(Given(out.json))
    }

    /// Adds fields that the client did not select but needs.
    pub fn with(mut self, fields: &[(&str, &str)]) -> Given {
        assert_eq!(self.0.pop(), Some(b'}'), "only an object takes more fields");
        for (name, value) in fields {
            if self.0.last() != Some(&b'{') {
                self.0.push(b',');
            }
            for (text, end) in [(name, Some(b':')), (value, None)] {
                serde_json::to_writer(&mut self.0, text).expect("text always serializes");
                self.0.extend(end);
            }
        }
        self.0.push(b'}');
        self
    }

    pub fn as_json(&self) -> &[u8] {
        &self.0
    }
}

fn type_of<T: Shape>(_: &T) -> Type {
    T::TYPE
}

impl Type {
    fn check(self, selected: &Selected) -> Result<(), Error> {
        let name = &selected.name;
        match (self, &selected.fields[..]) {
            (Type::Leaf, []) => Ok(()),
            (Type::Leaf, [_, ..]) => {
                Err(Error::Invalid(format!("`{}` has no fields: leave its braces away", quoted(name))))
            }
            (Type::Object(object), []) => Err(Error::Invalid(format!(
                "`{}` has fields: say in braces which of {} you want",
                quoted(name),
                object.fields_in_words()
            ))),
            (Type::Object(object), fields) => fields.iter().try_for_each(|field| object.check(field)),
        }
    }
}

impl ObjectType {
    fn check(&self, field: &Selected) -> Result<(), Error> {
        let ObjectType { name: object, .. } = self;
        let name = &field.name;
        if let Some(of) = field.of.as_deref().filter(|of| of != object) {
            let of = quoted(of);
            return Err(Error::Invalid(format!("`... on {of}` does not fit here: this is `{object}`")));
        }
        if !field.arguments.is_empty() {
            return Err(Error::Invalid(format!("`{}` of `{object}` takes no arguments", quoted(name))));
        }
        let known = self.fields.iter().find(|(known, _)| known == name).map(|(_, field_type)| *field_type);
        let typename = (name == "__typename").then_some(Type::Leaf);
        let field_type = known.or(typename).ok_or_else(|| {
            Error::Invalid(format!("`{object}` has no field `{}`: it has {}", quoted(name), self.fields_in_words()))
        })?;
        field_type.check(field)
    }

    fn fields_in_words(&self) -> String {
        self.fields.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

/// Declares an object type. Its name and its fields are those of the struct.
macro_rules! object {
    ($(
        $(#[$doc:meta])*
        pub struct $Name:ident$(<$life:lifetime>)? {
            $($(#[$field_doc:meta])* pub $field:ident: $Type:ty,)*
        }
    )*) => {$(
        $(#[$doc])*
        pub struct $Name$(<$life>)? {
            $($(#[$field_doc])* pub $field: $Type,)*
        }

        impl$(<$life>)? $crate::wire::graphql::shape::Shape for $Name$(<$life>)? {
            const TYPE: $crate::wire::graphql::shape::Type =
                $crate::wire::graphql::shape::Type::Object(&$crate::wire::graphql::shape::ObjectType {
                    name: stringify!($Name),
                    fields: &[$((stringify!($field), <$Type as $crate::wire::graphql::shape::Shape>::TYPE),)*],
                });

            fn write(&self, selected: &$crate::wire::graphql::selection::Selected, out: &mut $crate::wire::graphql::shape::Output) {
                out.push(b'{');
                for (at, field) in selected.fields.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    $crate::wire::graphql::shape::write_leaf(&field.key, out);
                    out.push(b':');
                    match field.name.as_str() {
                        $(stringify!($field) => self.$field.write(field, out),)*
                        _ => $crate::wire::graphql::shape::write_leaf(stringify!($Name), out), // `__typename`: no other is left
                    }
                }
                out.push(b'}');
            }
        }
    )*};
}

pub(crate) use object;

/// Declares types without fields.
macro_rules! leaf {
    ($($Type:ty),*) => {$(
        impl Shape for $Type {
            const TYPE: Type = Type::Leaf;

            fn write(&self, _: &Selected, out: &mut Output) {
                write_leaf(self, out);
            }
        }
    )*};
}

leaf!(&str, String, bool, u32, u64, f64);

impl<T: Shape> Shape for Option<T> {
    const TYPE: Type = T::TYPE;

    fn write(&self, selected: &Selected, out: &mut Output) {
        match self {
            Some(shape) => shape.write(selected, out),
            None => write_leaf(&(), out),
        }
    }
}

impl<T: Shape> Shape for Vec<T> {
    const TYPE: Type = T::TYPE;

    fn write(&self, selected: &Selected, out: &mut Output) {
        out.push(b'[');
        for (at, shape) in self.iter().enumerate() {
            if out.is_full() {
                break;
            }
            if at > 0 {
                out.push(b',');
            }
            shape.write(selected, out);
        }
        out.push(b']');
    }
}

pub(crate) fn write_leaf(leaf: &(impl serde::Serialize + ?Sized), out: &mut Output) {
    serde_json::to_writer(&mut out.json, leaf).expect("text and numbers always serialize");
}
