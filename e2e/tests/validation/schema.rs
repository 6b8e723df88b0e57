//! The API server's schema of the fields that a profile may set.

use std::collections::BTreeSet;

use e2e::Cluster;
use outrigger::profiles::TEMPLATE_FIELDS;
use serde_json::Value;

const PREFIX: &str = "#/components/schemas/";
const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";

/// Types whose fields are not tested.
const LEFT_OUT: [&str; 5] = [
    // The engine does not validate these. Before Kubernetes 1.37, the API server drops them by default.
    "io.k8s.api.core.v1.ClusterTrustBundleProjection",
    "io.k8s.api.core.v1.PodCertificateProjection",
    // The claim of an ephemeral volume can have only labels and annotations.
    "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry",
    "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
];

/// The schemas of the core API.
pub(super) struct Schema(Value);

/// A schema with the name of its type.
pub(super) struct Typed<'s> {
    pub(super) name: String,
    pub(super) schema: &'s Value,
}

impl Schema {
    pub(super) fn read(cluster: &Cluster) -> Self {
        let output = cluster.kubectl(&["get", "--raw", "/openapi/v3/api/v1"]);
        Self(serde_json::from_str(&output.text).unwrap_or_else(|error| panic!("{error}: {}", output.text)))
    }

    pub(super) fn spec(&self) -> &Value {
        &self.0["components"]["schemas"][POD_SPEC]
    }

    /// Resolves a reference, and returns the schema with the name of its type.
    pub(super) fn resolve<'s>(&'s self, schema: &'s Value) -> Typed<'s> {
        let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        match reference.and_then(|reference| reference.strip_prefix(PREFIX)) {
            Some(name) => Typed { name: name.to_owned(), schema: &self.0["components"]["schemas"][name] },
            None => Typed { name: String::new(), schema },
        }
    }

    /// Returns every field that a profile may set, as the type's name and the field's name.
    pub(super) fn fields(&self) -> BTreeSet<String> {
        let mut fields = BTreeSet::new();
        for name in TEMPLATE_FIELDS.into_iter().filter(|name| *name != "os") {
            self.collect(&self.spec()["properties"][name], &mut fields);
        }
        fields
    }

    fn collect(&self, schema: &Value, fields: &mut BTreeSet<String>) {
        let Typed { name, schema } = self.resolve(schema);
        if LEFT_OUT.contains(&name.as_str()) {
            return;
        }
        for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
            if fields.insert(format!("{name}.{field}")) {
                self.collect(inner, fields);
            }
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                self.collect(&schema[inner], fields);
            }
        }
    }
}
