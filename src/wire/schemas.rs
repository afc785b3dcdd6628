//! JSON schemas that are not derived from a wire type: those of values of `domain` and `policy`, and of lists.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use crate::domain::Category;
use crate::domain::Time;
use crate::domain::serving::{Backpressure, Cleanup, Level, RollingStrategy, Status};
use crate::domain::training::{Availability, JobStatus};
use crate::wire::{Items, List, Pagination};

/// An object whose fields are in no schema.
pub type Object = Map<String, Value>;

/// An item of a list, with the name of its schema.
pub trait Listed: JsonSchema {
    const SCHEMA: &'static str;
    /// The field that contains the items, in lists without pages.
    const FIELD: &'static str = "items";
}

/// A page of items. Baseten's lists of this form carry `PaginationResponseV1`.
impl<T: Listed> JsonSchema for Items<T> {
    fn schema_name() -> Cow<'static, str> {
        T::SCHEMA.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": ["items", "pagination"],
            "properties": {
                "items": { "type": "array", "items": generator.subschema_for::<T>() },
                "pagination": generator.subschema_for::<Pagination>(),
            },
        })
    }
}

/// A list without pages.
impl<T: Listed> JsonSchema for List<T> {
    fn schema_name() -> Cow<'static, str> {
        T::SCHEMA.into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": [T::FIELD],
            "properties": { (T::FIELD): { "type": "array", "items": generator.subschema_for::<T>() } },
        })
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

fn one_of(names: impl IntoIterator<Item = &'static str>) -> Schema {
    json_schema!({ "type": "string", "enum": names.into_iter().collect::<Vec<_>>() })
}

/// Schemas of closed sets of names. They are made from the sets.
macro_rules! named_sets {
    ($($Set:ty: $schema:literal, $values:expr;)*) => {$(
        impl JsonSchema for $Set {
            fn schema_name() -> Cow<'static, str> {
                $schema.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                one_of($values.iter().map(|value| value.as_str()))
            }
        }
    )*};
}

named_sets! {
    Availability: "AvailabilityModel", Availability::ALL;
    Backpressure: "BackpressurePolicy", Backpressure::ALL;
    Category: "APIKeyCategory", Category::all();
    Cleanup: "CleanupStrategy", Cleanup::ALL;
    JobStatus: "TrainingJobStatus", JobStatus::ALL;
    Level: "LogLevel", Level::ALL;
    RollingStrategy: "RollingDeployStrategy", RollingStrategy::ALL;
    Status: "DeploymentStatus", Status::ALL;
}
