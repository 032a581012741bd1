//! nginx in front of the `api`, from a configuration made for the run; no file of the system is touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{self, Launch, Process};

/// Where nginx may be installed beside the PATH.
const FOLDERS: [&str; 4] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
];

/// nginx with a configuration that it has accepted.
#[derive(Debug)]
pub struct Nginx {
    program: PathBuf,
    folder: PathBuf,
}

impl Nginx {
    /// The installed program, if there is one.
    pub fn find() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .chain(FOLDERS.iter().map(PathBuf::from))
            .map(|folder| folder.join("nginx"))
            .find(|program| program.is_file())
    }

    /// Writes a configuration into `folder` that passes 127.0.0.1:`port` on to 127.0.0.1:`upstream`, and lets nginx
    /// check it.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written or nginx does not take the configuration.
    pub async fn prepare(
        program: PathBuf,
        folder: &Path,
        port: u16,
        upstream: u16,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        std::fs::write(folder.join("nginx.conf"), configuration(port, upstream))
            .with_context(|| format!("cannot write to {}", folder.display()))?;
        let nginx = Self { program, folder };
        let mut check = nginx.command();
        check.arg("-t");
        process::run("nginx checks its configuration", check).await?;
        Ok(nginx)
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(&self, log: &Path) -> Result<Process> {
        Launch::new("nginx", self.command(), log).start()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("-p")
            .arg(&self.folder)
            .args(["-c", "nginx.conf", "-e", "stderr"]);
        command
    }
}

fn configuration(port: u16, upstream: u16) -> String {
    // As root, workers would become `nobody`, who may not reach a folder below /root.
    let user = match (nix::unistd::geteuid().is_root(), cfg!(target_os = "macos")) {
        (false, _) => "",
        (true, false) => "user root;",
        (true, true) => "user root wheel;",
    };
    format!(
        "{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            # Rows and events go out as they come.
            proxy_buffering off;
        }}
    }}
}}
"
    )
}
