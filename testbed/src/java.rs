//! Java and Maven, which fetch and run Kafka and the schema registry.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// Checks that Java runs.
pub(crate) async fn check() -> Result<()> {
    let mut command = Command::new("java");
    command.arg("-version");
    process::run("looking for Java", command)
        .await
        .context("Kafka and the schema registry need Java 17 or newer: install a JRE and put `java` on the PATH")?;
    Ok(())
}

/// Runs Maven in a folder and returns what it printed, without colours.
pub(crate) async fn maven(what: &str, folder: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("mvn");
    command
        .args(["--batch-mode", "--quiet", "-Dstyle.color=never"])
        .args(arguments)
        .current_dir(folder);
    let text = process::run(what, command).await.context(
        "Maven did not do it: install `mvn`, and check the network and the free disk space",
    )?;
    // Some terminals' reset sequence gets through even so.
    Ok(text.replace("\u{1b}[0m", "").trim().to_owned())
}
