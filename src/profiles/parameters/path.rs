//! Parameter values of type `path`.

/// Maximum length of a path in bytes: the limit of Linux.
const LONGEST: usize = 4096;

/// Returns a path in normalized form: no empty segments, no `.` and no slash at the end.
///
/// # Errors
/// The path is relative, contains `..`, or has a character that a mount path cannot have.
pub(super) fn normalized(text: &str) -> Result<String, &'static str> {
    if text.len() > LONGEST {
        return Err("is longer than 4096 bytes");
    }
    if !text.starts_with('/') {
        return Err("is not an absolute path; begin it with /");
    }
    if text.contains(':') || text.contains(char::is_control) {
        return Err("contains a colon or a control character, which no mount path may have");
    }
    let segments = || text.split('/').filter(|segment| !segment.is_empty() && *segment != ".");
    if segments().any(|segment| segment == "..") {
        return Err("contains .., which leads out of its directory; write the path without it");
    }
    Ok(segments().fold(String::new(), |path, segment| path + "/" + segment))
        .map(|path| if path.is_empty() { "/".to_owned() } else { path })
}

/// Checks whether a path is a directory or inside it; both must be normalized.
pub(super) fn is_within(path: &str, directory: &str) -> bool {
    directory == "/"
        || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalized() {
        for (text, expected) in [
            ("/var/log", "/var/log"),
            ("/var//log/./app/", "/var/log/app"),
            ("/", "/"),
            ("//.//", "/"),
            ("/a..b/...", "/a..b/..."),
            ("/ä b", "/ä b"),
        ] {
            assert_eq!(normalized(text).as_deref(), Ok(expected), "{text}");
        }
        for text in ["", "var/log", "/var/log/../../etc", "/..", "/a:b", "/a\0", "/a\n", "~/x", "./a"] {
            assert!(normalized(text).is_err(), "{text:?}");
        }
        assert!(normalized(&"/a".repeat(2049)).is_err());
    }

    #[test]
    fn a_directory_contains_itself_and_its_subdirectories() {
        for (path, directory, expected) in [
            ("/var/log", "/var/log", true),
            ("/var/log/app", "/var/log", true),
            ("/var/logs", "/var/log", false),
            ("/var", "/var/log", false),
            ("/etc", "/", true),
        ] {
            assert_eq!(is_within(path, directory), expected, "{path} in {directory}");
        }
    }
}
