use std::fmt;
use std::str::FromStr;

/// A list or map of the pod that takes elements of profiles, one by one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Labels,
    Annotations,
    InitContainers,
    Containers,
    Volumes,
    /// A list of one of the pod's own containers.
    Container {
        kind: ContainerKind,
        name: String,
        field: ContainerField,
    },
}

/// The list that a container is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ContainerKind {
    Init,
    App,
}

/// A list of a container that takes elements of profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ContainerField {
    Env,
    EnvFrom,
    VolumeMounts,
}

impl ContainerKind {
    pub(super) const ALL: [Self; 2] = [Self::Init, Self::App];

    pub(super) fn list(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::App => "containers",
        }
    }
}

impl ContainerField {
    const ALL: [Self; 3] = [Self::Env, Self::EnvFrom, Self::VolumeMounts];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::EnvFrom => "envFrom",
            Self::VolumeMounts => "volumeMounts",
        }
    }
}

impl Place {
    /// The name of the field that holds the list or map.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
            Self::InitContainers => "initContainers",
            Self::Containers => "containers",
            Self::Volumes => "volumes",
            Self::Container { field, .. } => field.name(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Labels | Self::Annotations => write!(f, "metadata.{}", self.field()),
            Self::InitContainers | Self::Containers | Self::Volumes => f.write_str(self.field()),
            Self::Container { kind, name, field } => write!(f, "{}[{name}].{}", kind.list(), field.name()),
        }
    }
}

impl FromStr for Place {
    type Err = ();

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, ()> {
        for place in [Self::Labels, Self::Annotations, Self::InitContainers, Self::Containers, Self::Volumes]
        {
            if place.to_string() == text {
                return Ok(place);
            }
        }
        let (list, rest) = text.split_once('[').ok_or(())?;
        let (name, field) = rest.split_once("].").ok_or(())?;
        let kind = ContainerKind::ALL.into_iter().find(|kind| kind.list() == list).ok_or(())?;
        let field = ContainerField::ALL.into_iter().find(|known| known.name() == field).ok_or(())?;
        Ok(Self::Container { kind, name: name.to_owned(), field })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_reads_back() {
        let mut places =
            vec![Place::Labels, Place::Annotations, Place::InitContainers, Place::Containers, Place::Volumes];
        for kind in ContainerKind::ALL {
            for field in ContainerField::ALL {
                places.push(Place::Container { kind, name: "app".to_owned(), field });
            }
        }
        for place in places {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for bad in ["", "spec", "containers[app]", "containers[app].args", "pods[app].env"] {
            assert_eq!(bad.parse::<Place>(), Err(()), "{bad}");
        }
    }
}
