//! Containers of a pod after a decision, with their profiles.

use serde_json::Value;

use crate::api::InjectedProfile;

/// Container at its position in the start order.
pub(crate) struct Container<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: Role,
    /// Profile that added or overlaid it; `None` for an app container.
    pub(crate) profile: Option<&'a str>,
    pub(crate) object: &'a Value,
}

/// Role of a container in the pod.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Init container that ends before the next one starts.
    Init,
    /// Init container that keeps running.
    NativeSidecar,
    /// Ordinary container.
    App,
}

impl Role {
    /// Returns the name of the role in output.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init container",
            Self::NativeSidecar => "native sidecar",
            Self::App => "container",
        }
    }
}

/// Returns all containers of a pod after a decision, in their start order.
pub(crate) fn containers<'a>(profiles: &'a [InjectedProfile], after: &'a Value) -> Vec<Container<'a>> {
    let mut all = Vec::new();
    for list in ["initContainers", "containers"] {
        let objects = after.get("spec").and_then(|spec| spec.get(list)).and_then(Value::as_array);
        for object in objects.into_iter().flatten() {
            let text = |field: &str| object.get(field).and_then(Value::as_str);
            let name = text("name").unwrap_or_default();
            let role = match (list, text("restartPolicy")) {
                ("containers", _) => Role::App,
                (_, Some("Always")) => Role::NativeSidecar,
                _ => Role::Init,
            };
            let profile = profiles.iter().find(|profile| has(profile, list, name));
            let profile = profile.map(|profile| profile.name.as_str());
            all.push(Container { name, role, profile, object });
        }
    }
    all
}

fn has(profile: &InjectedProfile, list: &str, name: &str) -> bool {
    let added = profile.added.get(list).is_some_and(|names| names.iter().any(|added| added == name));
    let overlays = profile.overlays.get(list);
    added || overlays.into_iter().flatten().any(|own| own.get("name").and_then(Value::as_str) == Some(name))
}
