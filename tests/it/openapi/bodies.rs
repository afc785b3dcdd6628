//! Does the schema of a body have the fields that are read from it? The type of each body is read with a deserializer
//! that offers every field that the type requests, and records these fields.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use guildhall::wire;
use schemars::JsonSchema;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor, value,
};
use serde_json::Value;

use super::document;

/// Fields that are read so that they can be refused, or that are read beside the one that is described: schema, field, why.
const NOT_DESCRIBED: &[(&str, &str, &str)] = &[
    ("CreateEnvironmentRequest", "autoscaling_schedule_settings", "is refused"),
    ("CreateEnvironmentRequest", "traffic_routing_settings", "is refused"),
    ("UpdateEnvironmentRequest", "autoscaling_schedule_settings", "is refused"),
    ("UpdateEnvironmentRequest", "traffic_routing_settings", "is refused"),
    ("PromoteRequest", "promotion_settings_override", "is refused"),
    ("PromoteRequest", "scale_down_previous_deployment", "is the other way's name"),
    ("PromoteToEnvironmentRequest", "promotion_settings_override", "is refused"),
    ("PromoteToEnvironmentRequest", "scale_down_previous_production", "is the other way's name"),
    ("CreateModelRequest", "source.deployment.autoscaling_schedule_settings", "is refused"),
    ("CreateModelRequest", "source.deployment.promotion_settings_override", "is refused"),
    ("CreateModelRequest", "source.deployment.region", "is refused"),
    ("CreateDeploymentRequest", "source.deployment.autoscaling_schedule_settings", "is refused"),
    ("CreateDeploymentRequest", "source.deployment.promotion_settings_override", "is refused"),
    ("CreateDeploymentRequest", "source.deployment.region", "is refused"),
    ("PrepareModelUploadRequest", "deployment.autoscaling_schedule_settings", "is refused"),
    ("PrepareModelUploadRequest", "deployment.promotion_settings_override", "is refused"),
    ("PrepareModelUploadRequest", "deployment.region", "is refused"),
];

/// What a type read, or what a schema describes.
#[derive(Debug, Default)]
struct Fields {
    /// `a.b[].c`
    named: BTreeSet<String>,
    /// Where anything may be: what is below, a handler reads.
    open: BTreeSet<String>,
    /// Where one of some names is wanted, the first of them.
    names: BTreeMap<String, String>,
}

impl Fields {
    fn of_schema(name: &str, schemas: &Value) -> Fields {
        let mut fields = Fields::default();
        fields.add("", &schemas[name], schemas);
        fields
    }

    fn add(&mut self, at: &str, schema: &Value, schemas: &Value) {
        if let Some(reference) = schema["$ref"].as_str() {
            self.add(at, &schemas[reference.rsplit('/').next().unwrap()], schemas);
        }
        for part in schema["anyOf"].as_array().into_iter().flatten() {
            self.add(at, part, schemas);
        }
        if let Some(first) = schema["enum"][0].as_str() {
            self.names.insert(at.to_owned(), first.to_owned());
        }
        if schema["items"].is_object() {
            self.add(&format!("{at}[]"), &schema["items"], schemas);
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            let at = below(at, name);
            self.named.insert(at.clone());
            self.add(&at, schema, schemas);
        }
    }
}

fn below(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// Offers a type whatever it asks for.
#[derive(Clone)]
struct Offer<'o> {
    at: String,
    names: &'o BTreeMap<String, String>,
    seen: &'o RefCell<Fields>,
}

/// The fields of an object, or the one item of a list.
struct Offers<'o> {
    names: std::vec::IntoIter<String>,
    next: Offer<'o>,
}

impl<'o> Offer<'o> {
    fn below(&self, at: String) -> Offer<'o> {
        Offer { at, ..self.clone() }
    }
}

macro_rules! offers {
    ($($method:ident: $visit:ident($($value:expr)?);)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
            visitor.$visit($($value)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Offer<'_> {
    type Error = value::Error;

    offers! {
        deserialize_bool: visit_bool(true);
        deserialize_i8: visit_i8(1);
        deserialize_i16: visit_i16(1);
        deserialize_i32: visit_i32(1);
        deserialize_i64: visit_i64(1);
        deserialize_u8: visit_u8(1);
        deserialize_u16: visit_u16(1);
        deserialize_u32: visit_u32(1);
        deserialize_u64: visit_u64(1);
        deserialize_f32: visit_f32(1.0);
        deserialize_f64: visit_f64(1.0);
        deserialize_char: visit_char('a');
        deserialize_bytes: visit_bytes(&[]);
        deserialize_byte_buf: visit_bytes(&[]);
        deserialize_unit: visit_unit();
        deserialize_ignored_any: visit_unit();
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        self.seen.borrow_mut().open.insert(self.at);
        visitor.visit_str("text")
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_str(self.names.get(&self.at).map_or("text", String::as_str))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_unit()
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_seq(Offers { names: vec![String::new()].into_iter(), next: self })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, value::Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, value::Error> {
        visitor.visit_map(Offers { names: Vec::new().into_iter(), next: self })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        let names: Vec<String> = fields.iter().map(|name| (*name).to_owned()).collect();
        self.seen.borrow_mut().named.extend(names.iter().map(|name| below(&self.at, name)));
        visitor.visit_map(Offers { names: names.into_iter(), next: self })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, value::Error> {
        let first: StrDeserializer<'_, value::Error> = variants[0].into_deserializer();
        visitor.visit_enum(first)
    }
}

impl<'de> SeqAccess<'de> for Offers<'_> {
    type Error = value::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, value::Error> {
        let item = self.next.below(format!("{}[]", self.next.at));
        self.names.next().map(|_| seed.deserialize(item)).transpose()
    }
}

impl<'de> MapAccess<'de> for Offers<'_> {
    type Error = value::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, value::Error> {
        let Some(name) = self.names.as_slice().first() else { return Ok(None) };
        let name: StrDeserializer<'_, value::Error> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, value::Error> {
        let name = self.names.next().expect("its key was given");
        seed.deserialize(self.next.below(below(&self.next.at, &name)))
    }
}

/// Where what a type reads and what its schema describes differ.
fn differences<T: DeserializeOwned + JsonSchema>(schemas: &Value) -> Vec<String> {
    let name = T::schema_name();
    let described = Fields::of_schema(&name, schemas);
    let seen = RefCell::default();
    let offer = Offer { at: String::new(), names: &described.names, seen: &seen };
    if let Err(cause) = T::deserialize(offer) {
        return vec![format!("{name} cannot be read: {cause}")];
    }
    let Fields { named: mut read, open, .. } = seen.into_inner();
    for (schema, field, _) in NOT_DESCRIBED.iter().filter(|(schema, ..)| *schema == name) {
        assert!(read.remove(*field), "{schema} reads no {field}");
    }
    let is_open = |field: &String| open.iter().any(|open| field.len() > open.len() && field.starts_with(open.as_str()));
    let unread = described.named.iter().filter(|field| !read.contains(*field) && !is_open(field));
    let undescribed = read.difference(&described.named);
    unread
        .map(|field| format!("{name}.{field} is described and not read"))
        .chain(undescribed.map(|field| format!("{name}.{field} is read and not described")))
        .collect()
}

#[test]
fn bodies_are_described_as_they_are_read() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let (mut checked, mut found) = (BTreeSet::new(), Vec::new());
    macro_rules! check {
        ($($Body:ty,)*) => {$(
            checked.insert(<$Body>::schema_name().into_owned());
            found.extend(differences::<$Body>(schemas));
        )*};
    }
    check! {
        wire::api_keys::CreateApiKey,
        wire::api_keys::RotateApiKey,
        wire::chains::environments::CreateChainEnvironment,
        wire::chains::environments::PromoteChain,
        wire::chains::environments::UpdateChainEnvironment,
        wire::chains::environments::UpdateChainletAutoscaling,
        wire::chains::environments::UpdateChainletInstanceTypes,
        wire::deployments::CreateDeployment,
        wire::deployments::CreateModel,
        wire::deployments::CreatePatch,
        wire::deployments::LogsAsked,
        wire::deployments::PrepareUpload,
        wire::deployments::UpdateDeployment,
        wire::environment_groups::CreateEnvironmentGroup,
        wire::environment_groups::UpdateEnvironmentGroup,
        wire::environments::CreateEnvironment,
        wire::environments::PromoteToEnvironment,
        wire::environments::PromoteToProduction,
        wire::settings::UpdateAutoscaling,
        wire::settings::UpdateBackpressure,
        wire::environments::UpdateSettings,
        wire::invitations::AcceptInvitation,
        wire::invitations::CreateInvitation,
        wire::members::AddMember,
        wire::members::UpdateMember,
        wire::models::UpdateModel,
        wire::organizations::UpdateOrganization,
        wire::secrets::UpsertSecret,
        wire::teams::CreateTeam,
        wire::teams::UpdateTeam,
        wire::training_capacity::UpdateTeamCapacity,
        wire::training_jobs::MetricsOf,
        wire::training_jobs::Search,
        wire::training_jobs::UpdateTrainingJob,
        wire::training_jobs::pushed::CreateTrainingJob,
        wire::training_projects::UpsertTrainingProject,
        wire::users::SetPassword,
        wire::users::UpdateMe,
        wire::users::UpdateUser,
    }
    assert!(found.is_empty(), "{found:#?}");
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let bodies = operations.filter_map(|operation| {
        let schema = operation.pointer("/requestBody/content/application~1json/schema/$ref")?;
        Some(schema.as_str()?.rsplit('/').next()?.to_owned())
    });
    assert_eq!(bodies.collect::<BTreeSet<_>>(), checked, "every body is checked");
}

#[test]
fn a_body_that_is_described_otherwise_is_seen() {
    #[derive(serde::Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "only how it is read matters")]
    struct Body {
        described: String,
        #[schemars(skip)]
        hidden: Option<String>,
        items: Vec<Item>,
    }

    #[derive(serde::Deserialize, JsonSchema)]
    #[allow(dead_code, reason = "only how it is read matters")]
    struct Item {
        #[schemars(rename = "title")]
        name: String,
    }

    let mut generator = schemars::SchemaGenerator::default();
    generator.subschema_for::<Body>();
    let schemas = Value::Object(generator.take_definitions(true));
    assert_eq!(
        differences::<Body>(&schemas),
        [
            "Body.items[].title is described and not read",
            "Body.hidden is read and not described",
            "Body.items[].name is read and not described",
        ]
    );
}
