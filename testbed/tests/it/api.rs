//! One `api` process of a test's own.

use std::net::Ipv4Addr;
use std::ops::{Deref, DerefMut};

use testbed::{http, ports};

use crate::pipeline::Pipeline;
use crate::program::Program;

/// An `api`; what it is as a program is reached through it.
pub(crate) struct Api {
    program: Program,
    port: u16,
    client: reqwest::Client,
}

impl Api {
    /// Starts one on a pipeline's database, with further settings. It need not be ready when this returns.
    pub(crate) fn start(pipeline: &Pipeline, settings: &[(&str, &str)]) -> Self {
        Self::start_at(ports::free().unwrap(), pipeline, settings)
    }

    /// The same at a port of 127.0.0.1.
    pub(crate) fn start_at(port: u16, pipeline: &Pipeline, settings: &[(&str, &str)]) -> Self {
        let url = pipeline.url_as("market_data_api");
        let listen = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let own = [
            ("FDA_DATABASE__URL", url.as_str()),
            ("FDA_HTTP__LISTEN", &listen),
        ];
        let settings = [&own, settings].concat();
        Self {
            program: Program::launch("api", pipeline.folder(), &["run"], &settings),
            port,
            client: http::local().unwrap(),
        }
    }

    /// Where it serves, `host:port`.
    pub(crate) fn public_address(&self) -> String {
        format!("{}:{}", Ipv4Addr::LOCALHOST, self.port)
    }

    /// The base URL of what it serves.
    pub(crate) fn base(&self) -> String {
        format!("http://{}", self.public_address())
    }

    /// The status and text of a public path.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Result<(u16, String)> {
        self.ask(path, &[]).await
    }

    /// The same for a request with headers.
    pub(crate) async fn ask(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> reqwest::Result<(u16, String)> {
        let mut request = self.client.get(format!("{}{path}", self.base()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    }
}

impl Deref for Api {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Api {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}
