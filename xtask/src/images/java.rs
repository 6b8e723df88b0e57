//! Java programs: a runtime with the required modules, and the jars of a Maven project.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{sh, tools, workspace};

/// Packages for these images only, so they are not installed for other tasks.
const NEEDED: [tools::Needed; 2] = [(&["javac"], "default-jdk-headless"), (&["mvn"], "maven")];

/// The version is explicit, because Maven would use the newest one.
const COPY_JARS: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// Creates `/opt/java` and `/opt/app` of an image from a project's `pom.xml`, `modules` and `src`.
pub(super) fn install(project: &Path, root: &Path) -> Result<()> {
    tools::install_named(&NEEDED)?;
    let log = workspace::cache().join("log/image-java.log");
    let app = root.join("opt/app");
    std::fs::create_dir_all(&app)?;
    let option = |name: &str, path: PathBuf| format!("-D{name}={}", path.display());
    let maven = || {
        sh::logged(
            Command::new("mvn")
                .args(["--quiet", "--batch-mode", "--file"])
                .arg(project.join("pom.xml"))
                .arg(option("maven.repo.local", workspace::cache().join("maven")))
                .arg(option("outputDirectory", app.clone()))
                .arg(COPY_JARS),
            &log,
        )
    };
    // A download can be interrupted; Maven keeps the finished ones.
    maven().or_else(|_| maven())?;
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(project.join("src"))? {
        sources.push(entry?.path());
    }
    sources.sort();
    sh::logged(
        Command::new("javac")
            .args(["--release", "17", "-proc:none", "-classpath"])
            .arg(app.join("*"))
            .arg("-d")
            .arg(&app)
            .args(&sources),
        &log,
    )?;
    let modules = std::fs::read_to_string(project.join("modules"))
        .context("a Java project must have a file `modules`")?;
    sh::logged(
        Command::new("jlink")
            .args(["--strip-debug", "--no-header-files", "--no-man-pages", "--compress", "2"])
            .args(["--add-modules", &modules.lines().collect::<Vec<_>>().join(",")])
            .arg("--output")
            .arg(root.join("opt/java")),
        &log,
    )
}
