//! Mount paths, compared like in the kubelet and the container runtime, and not as text.

use std::borrow::Cow;

/// Path at which the API server mounts the service account's token, unless the container has another mount there.
pub(crate) const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Returns the normalized path, like Go's `path.Clean`, without empty and `.` segments and a trailing slash: `/var/log/app/`,
/// `//var/log/app` and `/var/./log/../log/app` all are `/var/log/app`.
///
/// The API server compares mount paths as text and admits two spellings of one path. Runtimes normalize them, so the later
/// mount hides the earlier one.
///
/// A path with a drive letter is a Windows path, in which case is ignored and `\\` separates segments as well.
pub(crate) fn clean(path: &str) -> Cow<'_, str> {
    if has_drive(path) {
        let path = path.replace('\\', "/").to_lowercase();
        return Cow::Owned(clean_parts(&path).into_owned());
    }
    clean_parts(path)
}

fn has_drive(path: &str) -> bool {
    let mut letters = path.chars();
    letters.next().is_some_and(|letter| letter.is_ascii_alphabetic()) && letters.next() == Some(':')
}

fn clean_parts(path: &str) -> Cow<'_, str> {
    if is_clean(path) {
        return Cow::Borrowed(path);
    }
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            // The parent of the root is the root.
            ".." if is_absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    Cow::Owned(match (is_absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    })
}

/// Checks whether two spellings are the same path.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    clean(one) == clean(other)
}

/// Checks whether the first path is inside the second.
pub(crate) fn is_inside(path: &str, around: &str) -> bool {
    let (path, around) = (clean(path), clean(around));
    path.strip_prefix(around.trim_end_matches('/'))
        .is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
}

fn is_clean(path: &str) -> bool {
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
    path.is_empty() || path == "/" || parts.all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equivalent_paths_are_the_same() {
        for (path, wanted) in [
            ("/var/log/app", "/var/log/app"),
            ("/var/log/app/", "/var/log/app"),
            ("/var/log/app//", "/var/log/app"),
            ("//var//log/app", "/var/log/app"),
            ("/var/./log/app/.", "/var/log/app"),
            ("/var/log/../log/app", "/var/log/app"),
            ("/../var/log/app", "/var/log/app"),
            ("/", "/"),
            ("//", "/"),
            ("/..", "/"),
            ("var/log/", "var/log"),
            ("./var", "var"),
            ("../var", "../var"),
            ("./", "."),
            ("", ""),
            ("/a..b/...", "/a..b/..."),
        ] {
            assert_eq!(clean(path), wanted, "{path}");
        }
        for (path, wanted) in [
            ("C:\\Logs\\App\\", "c:/logs/app"),
            ("c:/logs\\app", "c:/logs/app"),
            ("/var/Log\\app", "/var/Log\\app"),
        ] {
            assert_eq!(clean(path), wanted, "{path}");
        }
        assert!(is_same("/var/log/app/", "/var//log/./app"));
        assert!(!is_same("/var/log/app", "/var/log/App"));
    }

    #[test]
    fn subdirectories_are_inside() {
        for (path, around, wanted) in [
            ("/data/cache", "/data", true),
            ("/data//cache/", "/data/", true),
            ("/data", "/data", false),
            ("/data", "/data/cache", false),
            ("/database", "/data", false),
            ("/data", "/", true),
            ("C:\\data\\cache", "c:/data", true),
        ] {
            assert_eq!(is_inside(path, around), wanted, "{path} {around}");
        }
    }
}
