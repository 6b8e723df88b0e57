//! Pod template of a profile without a pod: every parameter has its default.

use serde_json::{Map as Fields, Value, json};

use super::samples::{is_all_known, samples};
use super::{Element, Profile, TemplateValue};
use crate::expression::{Budget, NamespaceView, Variables};
use crate::fields::{DnsList, Map, Place, SpecList};
use crate::json::Json;
use crate::string_map::StringMap;

/// Name of the containers that represent the app containers. Each of a profile's `appContainers` has one.
const SAMPLE: &str = "outrigger-sample";

const SAMPLE_IMAGE: &str = "sample:1";

/// Grace period in seconds that is long enough for every hook of a sample.
const GRACE_PERIOD: i64 = 365 * 24 * 3600;

/// Returns a pod template for the API server to validate.
///
/// Elements with an expression over the pod are left out. A placeholder element with the same name replaces a container or
/// volume, so that indexes and mounts stay valid.
pub fn sample_template(profile: &Profile) -> Value {
    let pod = json!({ "metadata": {}, "spec": {} });
    let pod = Json::from(&pod);
    let (none, cluster) = (StringMap::default(), json!({}));
    let params = samples(&profile.parameters).next().unwrap_or_default();
    let variables = Variables {
        pod: &pod,
        container: None,
        namespace: NamespaceView { name: "sample", labels: &none, annotations: &none },
        params: &params,
        profile: profile.name.as_str(),
        cluster: &cluster,
    };
    let mut sample = Sample { variables, budget: Budget::new() };
    let mut spec = sample.maps(profile, Map::Spec);
    spec.insert("terminationGracePeriodSeconds".to_owned(), json!(GRACE_PERIOD));
    spec.insert("securityContext".to_owned(), Value::Object(sample.maps(profile, Map::SecurityContext)));
    for list in SpecList::ALL {
        let elements = profile.template.list(&Place::Spec(list)).iter();
        let mut items: Vec<Value> = elements.filter_map(|element| sample.element(list, element)).collect();
        if list == SpecList::Containers {
            items.extend(sample.app_containers(profile));
        }
        spec.insert(list.name().to_owned(), Value::Array(items));
    }
    let mut dns = Fields::new();
    for list in DnsList::ALL {
        let elements = profile.template.list(&Place::Dns(list)).iter();
        let items = elements.filter_map(|element| sample.value(&element.value)).collect();
        dns.insert(list.name().to_owned(), Value::Array(items));
    }
    spec.insert("dnsConfig".to_owned(), Value::Object(dns));
    let metadata = json!({
        "labels": sample.maps(profile, Map::Labels),
        "annotations": sample.maps(profile, Map::Annotations),
    });
    json!({ "metadata": metadata, "spec": spec })
}

/// Returns the field of the profile for a field of the template.
pub fn field_of_profile(template_field: &str) -> String {
    format!("spec.template.{}", template_field.strip_prefix("template.").unwrap_or(template_field))
}

struct Sample<'v> {
    variables: Variables<'v>,
    budget: Budget,
}

impl Sample<'_> {
    /// Returns the value if no part of it depends on a pod.
    fn value(&mut self, value: &TemplateValue) -> Option<Value> {
        if !is_all_known(value) {
            return None;
        }
        let rendered = value.render(&self.variables, &mut self.budget).ok()?;
        Some(Value::from(&*rendered)).filter(|value| !value.is_null())
    }

    fn element(&mut self, list: SpecList, element: &Element) -> Option<Value> {
        // Ordinary containers with a condition may be mutually exclusive, and share a host port.
        let is_certain = list != SpecList::Containers || element.when.is_none();
        let value = self.value(&element.value).filter(|_| is_certain);
        value.or_else(|| match list {
            SpecList::InitContainers | SpecList::Containers => Some(container(&element.name)),
            SpecList::Volumes => Some(json!({ "name": element.name, "emptyDir": {} })),
            _ => None,
        })
    }

    fn maps(&mut self, profile: &Profile, map: Map) -> Fields<String, Value> {
        let keys = profile.template.map(map).iter();
        keys.filter_map(|(key, value)| Some((key.to_string(), self.value(value)?))).collect()
    }

    /// Returns a container for each of the profile's `appContainers`; one if there are none.
    fn app_containers(&mut self, profile: &Profile) -> Vec<Value> {
        let mut containers = vec![container(SAMPLE)];
        for (index, app) in profile.app_containers.iter().enumerate() {
            let mut sample = Fields::new();
            sample.insert("name".to_owned(), json!(format!("{SAMPLE}-{index}")));
            sample.insert("image".to_owned(), json!(SAMPLE_IMAGE));
            for (field, values) in &app.lists {
                let items = values.iter().filter_map(|value| self.value(value)).collect();
                sample.insert(field.name().to_owned(), Value::Array(items));
            }
            containers.push(Value::Object(sample));
        }
        containers
    }
}

fn container(name: &str) -> Value {
    json!({ "name": name, "image": SAMPLE_IMAGE })
}
