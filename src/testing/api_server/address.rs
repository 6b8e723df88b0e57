//! Addresses of collections and objects in the API.

/// A collection, or the objects of this kind in all namespaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Collection {
    /// Group and version, as in `apiVersion`.
    pub(super) version: String,
    /// Plural name of the kind.
    pub(super) resource: String,
    pub(super) namespace: Option<String>,
}

/// Path of a request.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) collection: Collection,
    /// Name of the object; `None` for the collection.
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

impl Address {
    /// Parses a path below `/api/v1` or `/apis/GROUP/VERSION`; returns `None` for other paths.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let (version, rest) = if let Some(rest) = path.strip_prefix("/api/v1/") {
            ("v1".to_owned(), rest)
        } else {
            let (group, rest) = path.strip_prefix("/apis/")?.split_once('/')?;
            let (version, rest) = rest.split_once('/')?;
            (format!("{group}/{version}"), rest)
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let (namespace, parts) = match parts.as_slice() {
            ["namespaces", namespace, parts @ ..] if !parts.is_empty() => (Some(*namespace), parts),
            parts => (None, parts),
        };
        let (resource, parts) = parts.split_first()?;
        let owned = |part: &&str| (*part).to_owned();
        Some(Self {
            collection: Collection {
                version,
                resource: (*resource).to_owned(),
                namespace: namespace.map(str::to_owned),
            },
            name: parts.first().map(owned),
            subresource: parts.get(1).map(owned),
        })
    }
}

impl Collection {
    /// Parses the path of a collection.
    pub(super) fn parse(path: &str) -> Self {
        let address = Address::parse(path).unwrap_or_else(|| panic!("{path} is not a path of the API"));
        assert_eq!(address.name, None, "{path} is not the path of a collection");
        address.collection
    }

    /// Returns whether this collection contains the objects of the other one.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.version == other.version
            && self.resource == other.resource
            && (self.namespace.is_none() || self.namespace == other.namespace)
    }

    /// Returns whether the kind has a status subresource.
    pub(super) fn has_status(&self) -> bool {
        self.version.starts_with("outrigger.dev/")
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.resource.as_str() {
            "clustersidecarprofiles" => "ClusterSidecarProfile",
            "configmaps" => "ConfigMap",
            "events" => "Event",
            "leases" => "Lease",
            "mutatingwebhookconfigurations" => "MutatingWebhookConfiguration",
            "namespaces" => "Namespace",
            "podtemplates" => "PodTemplate",
            "secrets" => "Secret",
            "sidecarprofiles" => "SidecarProfile",
            "validatingwebhookconfigurations" => "ValidatingWebhookConfiguration",
            other => panic!("the stand-in for the API server does not serve {other}"),
        }
    }
}
