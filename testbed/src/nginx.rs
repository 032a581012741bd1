//! nginx in front of the `api`, by the configuration that is also in the image; no file of the system is touched.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::process::{self, Launch, Process};
use crate::workspace;

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
        let (listen, api) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{upstream}"));
        let settings = [("NGINX_LISTEN", listen.as_str()), ("NGINX_API", &api)];
        Self::prepare_with(program, folder, &settings).await
    }

    /// The same with any variables of `docker/nginx/05-defaults.envsh`.
    ///
    /// # Errors
    ///
    /// As [`Self::prepare`].
    pub async fn prepare_with(
        program: PathBuf,
        folder: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let nginx = Self { program, folder };
        nginx.configure(settings).await?;
        Ok(nginx)
    }

    /// Writes another configuration, which a running nginx takes at SIGHUP.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written or nginx does not take the configuration.
    pub async fn configure(&self, settings: &[(&str, &str)]) -> Result<()> {
        let text = render(&self.folder, settings).await?;
        std::fs::write(self.folder.join("nginx.conf"), text)
            .with_context(|| format!("cannot write to {}", self.folder.display()))?;
        let mut check = self.command();
        check.arg("-t");
        process::run("nginx checks its configuration", check).await?;
        Ok(())
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
        // As root, workers would become `nobody`, who may not reach a folder below /root.
        let user = match (nix::unistd::geteuid().is_root(), cfg!(target_os = "macos")) {
            (false, _) => "",
            (true, false) => "user root;",
            (true, true) => "user root wheel;",
        };
        let mut command = Command::new(&self.program);
        command
            .arg("-p")
            .arg(&self.folder)
            .args(["-c", "nginx.conf", "-e", "stderr", "-g"])
            .arg(format!("daemon off; {user}"));
        command
    }
}

/// The configuration with its files in `folder`. The image does the same: its entrypoint sources the defaults and puts
/// the variables into the template.
async fn render(folder: &Path, settings: &[(&str, &str)]) -> Result<String> {
    let source = workspace::root().join("docker/nginx");
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-euc", r#". "$1"; env"#, "sh"])
        .arg(source.join("05-defaults.envsh"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("NGINX_") {
            shell.env_remove(name);
        }
    }
    shell
        .env("NGINX_DIR", folder)
        .envs(settings.iter().copied());
    let variables = process::run("reading nginx's defaults", shell).await?;

    let template = source.join("nginx.conf.template");
    let mut text = std::fs::read_to_string(&template)
        .with_context(|| format!("cannot read {}", template.display()))?;
    for (name, value) in variables.lines().filter_map(|line| line.split_once('=')) {
        if name.starts_with("NGINX_") {
            text = text.replace(&format!("${{{name}}}"), value);
        }
    }
    ensure!(
        !text.contains("${NGINX_"),
        "{} has a variable without a default",
        template.display()
    );
    Ok(text)
}
