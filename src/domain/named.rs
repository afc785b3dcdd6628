//! Enums whose variants have names.

/// Declares an enum whose variants have names. A name is the same on the wire and in the database.
macro_rules! named {
    ($(#[$doc:meta])* $Enum:ident { $($(#[$variant_doc:meta])* $Variant:ident: $name:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Enum { $($(#[$variant_doc])* $Variant),* }

        impl $Enum {
            pub const ALL: &[$Enum] = &[$($Enum::$Variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $($Enum::$Variant => stringify!($name)),* }
            }

            pub fn parse(name: &str) -> Option<$Enum> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }

        impl serde::Serialize for $Enum {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $Enum {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<$Enum, D::Error> {
                let name: String = serde::Deserialize::deserialize(from)?;
                $Enum::parse(&name).ok_or_else(|| {
                    let names: Vec<_> = Self::ALL.iter().map(|value| value.as_str()).collect();
                    serde::de::Error::custom(format!("must be {}", $crate::domain::named::any_of(&names)))
                })
            }
        }
    };
}

pub(crate) use named;

/// Joins names for a sentence: `A, B or C`.
pub(crate) fn any_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
