use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

use super::{ClusterSidecarProfile, SidecarProfile};

/// Returns the CustomResourceDefinitions of both kinds, as `outrigger crds` prints them.
pub fn crds() -> [CustomResourceDefinition; 2] {
    [ClusterSidecarProfile::crd(), SidecarProfile::crd()].map(|mut definition| {
        for version in &mut definition.spec.versions {
            if let Some(schema) =
                version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
            {
                unwrap_lines(schema);
            }
        }
        definition
    })
}

/// Removes the source's line breaks from descriptions, because `kubectl explain` wraps lines itself.
fn unwrap_lines(schema: &mut JSONSchemaProps) {
    if let Some(description) = &mut schema.description {
        *description =
            description.split("\n\n").map(|part| part.replace('\n', " ")).collect::<Vec<_>>().join("\n\n");
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(unwrap_lines);
    if let Some(JSONSchemaPropsOrBool::Schema(inner)) = &mut schema.additional_properties {
        unwrap_lines(inner);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(inner)) => unwrap_lines(inner),
        Some(JSONSchemaPropsOrArray::Schemas(schemas)) => schemas.iter_mut().for_each(unwrap_lines),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn descriptions_have_no_line_breaks_of_the_source() {
        let text = serde_json::to_string(&super::crds()).unwrap();
        assert!(text.contains("A partial pod, with the field names of a pod. Allowed fields: metadata.labels, metadata.annotations, and of spec:"));
    }
}
