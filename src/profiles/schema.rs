//! JSON Schema of profiles, for editors.
//!
//! The custom resource definitions leave `template` and the items of `appContainers` open, because an expression can replace
//! most values. This schema defines the pod's fields there.

use k8s_openapi::api::core::v1::PodSpec;
use schemars::JsonSchema as _;
use schemars::generate::SchemaSettings;
use serde_json::{Map as Fields, Value, json};

use super::app_containers::{CONTAINERS, INIT_CONTAINERS};
use super::condition::WHEN;
use super::template::{METADATA_FIELDS, NO_TOKEN_VALUE, TEMPLATE_FIELDS, TOKEN};
use crate::api;
use crate::fields::{ContainerField, DnsList};
use crate::validation::CHOICES;

const CORE: &str = "io.k8s.api.core.v1.";
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// Pattern of a text that is a single expression. Its value has any type.
const EXPRESSION: &str = r"^\$\[\[[\s\S]*\]\]$";

/// Types whose values cannot be expressions: elements with a name, or fixed parts of the template.
const LITERAL: [&str; 6] =
    ["Container", "Volume", "PodResourceClaim", "PodDNSConfig", "PodSecurityContext", "PodOS"];

/// Fields of those types without expressions, and their values.
const LITERAL_CHOICES: [(&str, &str, &[&str]); 2] = [
    ("Container", "restartPolicy", &["Always", "OnFailure", "Never"]),
    ("PodOS", "name", &["linux", "windows"]),
];

/// Returns the JSON Schema of both kinds of profile, as draft-07, which editors support.
pub fn json_schema() -> Value {
    let mut pod = Pod::new();
    let [definition, _] = api::crds();
    let definition = serde_json::to_value(definition).unwrap_or_default();
    let root = definition.pointer("/spec/versions/0/schema/openAPIV3Schema/properties");
    let mut properties = root.and_then(Value::as_object).cloned().unwrap_or_default();
    properties.values_mut().for_each(close);
    if let Some(spec) = properties.get_mut("spec") {
        extend_property(spec, "template", pod.template());
        extend_property(spec, "appContainers", json!({ "items": pod.app_containers_item() }));
    }
    let own = [
        ("apiVersion", json!({ "type": "string", "enum": [format!("{}/v1alpha1", api::keys::GROUP)] })),
        ("kind", json!({ "type": "string", "enum": ["ClusterSidecarProfile", "SidecarProfile"] })),
        ("metadata", json!({ "allOf": [{ "$ref": reference(OBJECT_META) }], "required": ["name"] })),
    ];
    properties.extend(own.map(|(name, schema)| (name.to_owned(), schema)));
    let mut schema = closed(properties);
    extend(
        &mut schema,
        json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Outrigger profile",
            "required": ["apiVersion", "kind", "metadata", "spec"],
        }),
    );
    let definitions = pod.definitions_of(&schema);
    extend(&mut schema, json!({ "definitions": definitions }));
    schema.sort_all_objects();
    schema
}

/// Schemas of a pod's parts.
struct Pod {
    /// Fields of a pod's spec.
    spec: Fields<String, Value>,
    /// All referenced types by name.
    definitions: Fields<String, Value>,
}

impl Pod {
    fn new() -> Self {
        let mut generator = SchemaSettings::draft07().into_generator();
        let mut spec = PodSpec::json_schema(&mut generator).to_value();
        admit_expressions(&mut spec);
        let spec = spec.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut definitions = generator.take_definitions(true);
        definitions.values_mut().for_each(admit_expressions);
        if let Some(quantity) = definitions.get_mut(QUANTITY) {
            extend(quantity, json!({ "type": ["number", "string"] }));
        }
        let mut pod = Self { spec, definitions };
        pod.add_choices();
        pod.add_fields_of_profiles();
        pod
    }

    fn core_type(&mut self, name: &str) -> Option<&mut Value> {
        self.definitions.get_mut(&format!("{CORE}{name}"))
    }

    /// Adds the allowed values of fields, and rules out expressions where the engine requires literals.
    fn add_choices(&mut self) {
        for (kind, field, values) in CHOICES {
            let choice = json!({ "anyOf": [{ "enum": values }, { "pattern": EXPRESSION }] });
            self.core_type(kind).into_iter().for_each(|kind| extend_property(kind, field, choice.clone()));
        }
        for (kind, field, values) in LITERAL_CHOICES {
            let choice = json!({ "enum": values });
            self.core_type(kind).into_iter().for_each(|kind| extend_property(kind, field, choice.clone()));
        }
        for kind in LITERAL {
            self.core_type(kind).into_iter().for_each(make_literal);
        }
        for list in DnsList::ALL {
            let list = self.core_type("PodDNSConfig").and_then(|dns| property(dns, list.name()));
            list.into_iter().for_each(make_literal);
        }
    }

    /// Adds the fields that elements of a template have in addition to Kubernetes' own.
    fn add_fields_of_profiles(&mut self) {
        let when = condition("Condition in CEL under which the element is injected.");
        let token = json!({
            "description": "None keeps the pod's service account token from the container.",
            "type": "string",
            "enum": [NO_TOKEN_VALUE],
        });
        for (kind, name, schema) in
            [("Container", WHEN, &when), ("Volume", WHEN, &when), ("Container", TOKEN, &token)]
        {
            self.core_type(kind).into_iter().for_each(|kind| extend_property(kind, name, schema.clone()));
        }
    }

    /// Returns the schema of `spec.template`.
    fn template(&mut self) -> Value {
        let mut metadata = Fields::new();
        for name in METADATA_FIELDS {
            let field = self.definitions.get_mut(OBJECT_META).and_then(|kind| property(kind, name));
            let mut field = field.cloned().unwrap_or_default();
            make_literal(&mut field);
            metadata.insert(name.to_owned(), field);
        }
        let mut spec = Fields::new();
        for name in TEMPLATE_FIELDS {
            let mut field = self.spec.get(name).cloned().unwrap_or_default();
            if field.get("items").is_some() {
                make_literal(&mut field);
            }
            spec.insert(name.to_owned(), field);
        }
        let parts = [("metadata", closed(metadata)), ("spec", closed(spec))];
        closed(parts.into_iter().map(|(name, part)| (name.to_owned(), part)).collect())
    }

    /// Returns the schema of an item of `spec.appContainers`.
    fn app_containers_item(&mut self) -> Value {
        let names = json!({
            "description": "Names of the pod's containers, or globs such as \"*\".",
            "type": "array",
            "minItems": 1,
            "items": { "type": "string" },
        });
        let init_containers = json!({
            "description": "True includes the pod's own init containers.",
            "type": "boolean",
        });
        let when = condition("Condition in CEL, which may read `container`.");
        let own = [(CONTAINERS, names), (INIT_CONTAINERS, init_containers), (WHEN, when)];
        let mut properties: Fields<_, _> =
            own.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        for list in ContainerField::ALL {
            let field = self.core_type("Container").and_then(|kind| property(kind, list.name()));
            let mut field = field.cloned().unwrap_or_default();
            make_literal(&mut field);
            properties.insert(list.name().to_owned(), field);
        }
        let mut item = closed(properties);
        extend(&mut item, json!({ "required": [CONTAINERS] }));
        item
    }

    /// Returns the definitions that a schema refers to, directly and indirectly.
    fn definitions_of(mut self, schema: &Value) -> Fields<String, Value> {
        let mut used = Fields::new();
        let mut names = Vec::new();
        collect_references(schema, &mut names);
        while let Some(name) = names.pop() {
            if let Some(definition) = self.definitions.remove(&name) {
                collect_references(&definition, &mut names);
                used.insert(name, definition);
            }
        }
        used
    }
}

fn condition(description: &str) -> Value {
    json!({ "description": description, "type": "string" })
}

fn reference(name: &str) -> String {
    format!("#/definitions/{name}")
}

fn collect_references(schema: &Value, names: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let target = fields.get("$ref").and_then(Value::as_str);
            names.extend(target.and_then(|target| target.strip_prefix(&reference(""))).map(str::to_owned));
            fields.values().for_each(|inner| collect_references(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, names)),
        _ => {}
    }
}

/// Returns the schema of an object with these fields and no others.
fn closed(properties: Fields<String, Value>) -> Value {
    json!({ "type": "object", "properties": Value::Object(properties), "additionalProperties": false })
}

fn extend(schema: &mut Value, with: Value) {
    if let (Value::Object(schema), Value::Object(with)) = (schema, with) {
        schema.extend(with);
    }
}

fn property<'s>(schema: &'s mut Value, name: &str) -> Option<&'s mut Value> {
    schema.get_mut("properties")?.get_mut(name)
}

/// Extends the schema of a field, which is added if it is missing.
fn extend_property(schema: &mut Value, name: &str, with: Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        extend(properties.entry(name).or_insert_with(|| json!({})), with);
    }
}

/// Applies a function to the schemas of an object's fields and of the elements of a list or map.
fn for_each_inner(fields: &mut Fields<String, Value>, change: fn(&mut Value)) {
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flat_map(Fields::values_mut).for_each(change);
    for key in ["items", "additionalProperties"] {
        fields.get_mut(key).into_iter().for_each(change);
    }
}

/// Rejects unknown fields, and replaces Kubernetes' extensions of JSON Schema.
fn close(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    for_each_inner(fields, close);
    if fields.contains_key("properties") {
        fields.insert("additionalProperties".to_owned(), json!(false));
    }
    if fields.contains_key(INT_OR_STRING) {
        fields.insert("type".to_owned(), json!(["integer", "string"]));
    }
    fields.retain(|key, _| !key.starts_with("x-kubernetes-"));
}

/// Closes the schema of a pod's part, and admits an expression in place of every value that is not a text.
fn admit_expressions(schema: &mut Value) {
    close(schema);
    admit_expression(schema);
}

fn admit_expression(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    for_each_inner(fields, admit_expression);
    let kind = fields.get("type").filter(|kind| kind.is_string() && *kind != "string").cloned();
    if let Some(kind) = kind {
        fields.insert("type".to_owned(), json!([kind, "string"]));
        fields.insert("pattern".to_owned(), json!(EXPRESSION));
    }
}

/// Removes the alternative of an expression.
fn make_literal(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(kind) = fields.get("type").and_then(|kinds| kinds.get(0)).cloned() {
        fields.insert("type".to_owned(), kind);
        fields.remove("pattern");
    }
}
