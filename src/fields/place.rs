use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// List or map of the pod to which profiles add elements, one by one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Map(Map),
    Spec(SpecList),
    Dns(DnsList),
    /// List of an app container.
    Container {
        kind: ContainerKind,
        name: String,
        field: ContainerField,
    },
}

/// Map of the pod whose keys are set one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Map {
    Labels,
    Annotations,
    SecurityContext,
    /// The pod's spec itself, in which profiles set a few scalars.
    Spec,
}

/// List in the pod's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpecList {
    InitContainers,
    Containers,
    Volumes,
    ImagePullSecrets,
    HostAliases,
    Tolerations,
    ReadinessGates,
    ResourceClaims,
}

/// List in the pod's DNS configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DnsList {
    Nameservers,
    Searches,
    Options,
}

/// List of containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ContainerKind {
    Init,
    App,
}

/// List of a container to which profiles add elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ContainerField {
    Env,
    EnvFrom,
    VolumeMounts,
}

impl Map {
    pub(crate) const ALL: [Self; 4] = [Self::Labels, Self::Annotations, Self::SecurityContext, Self::Spec];

    /// Returns the path of the map in the pod.
    pub(crate) fn path(self) -> &'static [&'static str] {
        match self {
            Self::Labels => &["metadata", "labels"],
            Self::Annotations => &["metadata", "annotations"],
            Self::SecurityContext => &["spec", "securityContext"],
            Self::Spec => &["spec"],
        }
    }
}

impl SpecList {
    pub(crate) const ALL: [Self; 8] = [
        Self::InitContainers,
        Self::Containers,
        Self::Volumes,
        Self::ImagePullSecrets,
        Self::HostAliases,
        Self::Tolerations,
        Self::ReadinessGates,
        Self::ResourceClaims,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InitContainers => "initContainers",
            Self::Containers => "containers",
            Self::Volumes => "volumes",
            Self::ImagePullSecrets => "imagePullSecrets",
            Self::HostAliases => "hostAliases",
            Self::Tolerations => "tolerations",
            Self::ReadinessGates => "readinessGates",
            Self::ResourceClaims => "resourceClaims",
        }
    }
}

impl DnsList {
    pub(crate) const ALL: [Self; 3] = [Self::Nameservers, Self::Searches, Self::Options];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nameservers => "nameservers",
            Self::Searches => "searches",
            Self::Options => "options",
        }
    }
}

impl ContainerKind {
    pub(crate) const ALL: [Self; 2] = [Self::Init, Self::App];

    pub(crate) fn list(self) -> SpecList {
        match self {
            Self::Init => SpecList::InitContainers,
            Self::App => SpecList::Containers,
        }
    }
}

impl ContainerField {
    pub(crate) const ALL: [Self; 3] = [Self::Env, Self::EnvFrom, Self::VolumeMounts];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::EnvFrom => "envFrom",
            Self::VolumeMounts => "volumeMounts",
        }
    }
}

impl Place {
    pub(crate) const ANNOTATIONS: Self = Self::Map(Map::Annotations);
    pub(crate) const INIT_CONTAINERS: Self = Self::Spec(SpecList::InitContainers);
    pub(crate) const CONTAINERS: Self = Self::Spec(SpecList::Containers);
    pub(crate) const VOLUMES: Self = Self::Spec(SpecList::Volumes);
    /// Lists for name resolution, in which earlier elements take precedence.
    pub(crate) const RESOLUTION: [Self; 3] =
        [Self::Spec(SpecList::HostAliases), Self::Dns(DnsList::Nameservers), Self::Dns(DnsList::Searches)];

    /// Returns the text form without an allocation, except for a place in a container.
    pub(crate) fn text(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Map(Map::Labels) => "metadata.labels",
            Self::Map(Map::Annotations) => "metadata.annotations",
            Self::Map(Map::SecurityContext) => "securityContext",
            Self::Map(Map::Spec) => "spec",
            Self::Spec(list) => list.name(),
            Self::Dns(DnsList::Nameservers) => "dnsConfig.nameservers",
            Self::Dns(DnsList::Searches) => "dnsConfig.searches",
            Self::Dns(DnsList::Options) => "dnsConfig.options",
            Self::Container { kind, name, field } => {
                return Cow::Owned(format!("{}[{name}].{}", kind.list().name(), field.name()));
            }
        })
    }

    /// Returns the name of the field with the list or map.
    pub(crate) fn field(&self) -> &'static str {
        match self {
            Self::Map(map) => map.path().last().copied().unwrap_or_default(),
            Self::Spec(list) => list.name(),
            Self::Dns(list) => list.name(),
            Self::Container { field, .. } => field.name(),
        }
    }
}

impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Place::Map(*self).text())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl FromStr for Place {
    type Err = ();

    /// Parses the output of [`fmt::Display`].
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some((list, rest)) = text.split_once('[') {
            let (name, field) = rest.split_once("].").ok_or(())?;
            let kind = ContainerKind::ALL.into_iter().find(|kind| kind.list().name() == list).ok_or(())?;
            let field = ContainerField::ALL.into_iter().find(|known| known.name() == field).ok_or(())?;
            return Ok(Self::Container { kind, name: name.to_owned(), field });
        }
        let maps = Map::ALL.into_iter().map(Self::Map);
        let lists = SpecList::ALL.into_iter().map(Self::Spec);
        let dns = DnsList::ALL.into_iter().map(Self::Dns);
        maps.chain(lists).chain(dns).find(|place| place.text() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatted_places_are_parsed_back() {
        let mut places: Vec<Place> = Map::ALL.into_iter().map(Place::Map).collect();
        places.extend(SpecList::ALL.into_iter().map(Place::Spec));
        places.extend(DnsList::ALL.into_iter().map(Place::Dns));
        for kind in ContainerKind::ALL {
            for field in ContainerField::ALL {
                places.push(Place::Container { kind, name: "app".to_owned(), field });
            }
        }
        for place in places {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in ["", "status", "containers[app]", "containers[app].args", "pods[app].env"] {
            assert_eq!(bad.parse::<Place>(), Err(()), "{bad}");
        }
    }
}
