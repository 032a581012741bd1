//! One `ingest` process whose probes and metrics a test asks.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::Duration;

use testbed::{eventually, http};

use crate::pipeline::{PATIENCE, Pipeline};
use crate::program::Program;

/// A worker; what it is as a program is reached through it.
pub(crate) struct Worker {
    program: Program,
}

impl Worker {
    /// Starts a worker of a pipeline, with further settings.
    pub(crate) fn start(pipeline: &Pipeline, settings: &[(&str, &str)]) -> Self {
        Self::start_with(pipeline, &["run"], settings)
    }

    /// Starts a worker of a pipeline, with other arguments and further settings.
    pub(crate) fn start_with(
        pipeline: &Pipeline,
        arguments: &[&str],
        settings: &[(&str, &str)],
    ) -> Self {
        let url = pipeline.url_as("market_data_ingest");
        let settings = [&pipeline.settings(&url), settings].concat();
        Self::launch(pipeline.folder(), arguments, &settings)
    }

    /// Starts a worker that belongs to no pipeline; its log goes to a file of `folder`.
    pub(crate) fn launch(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self {
            program: Program::launch("ingest", folder, arguments, settings),
        }
    }

    /// The process alone.
    pub(crate) fn into_process(self) -> testbed::Process {
        self.program.into_process()
    }

    /// The value of a series, such as `ingest_messages_total{outcome="added"}`.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let (_, text) = self.admin("/metrics").await.unwrap();
        http::metric(&text, series).unwrap_or_else(|| panic!("no series {series} in\n{text}"))
    }

    /// Waits until a series has a value that will do.
    pub(crate) async fn metric_becomes(&self, series: &str, enough: impl Fn(f64) -> bool) {
        let seen = eventually(series, PATIENCE, async || {
            // It may not listen yet.
            let (_, text) = self.admin("/metrics").await.map_err(|e| e.to_string())?;
            match http::metric(&text, series) {
                Some(value) if enough(value) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        if let Err(error) = seen.await {
            panic!("{error:#}\n{}", self.log());
        }
    }

    /// Waits until the worker ends by itself; returns its exit code and the end of its log.
    pub(crate) async fn ends(&mut self) -> (i32, String) {
        let process = self.program.process();
        let status = eventually("the worker ends", PATIENCE, async || {
            process
                .exited()
                .map_err(|error| error.to_string())?
                .ok_or_else(|| "it runs".to_owned())
        })
        .await;
        let status = status.unwrap_or_else(|error| panic!("{error:#}\n{}", self.log()));
        (status.code().unwrap(), self.log())
    }

    /// Asks the worker to stop, as an orchestrator does, and checks that it does so in time and in peace.
    pub(crate) async fn stops(&mut self) {
        let within = Duration::from_secs(5);
        self.process().signal(testbed::process::Signal::SIGTERM);
        let process = self.program.process();
        let ended = eventually("the worker stops", within, async || {
            process
                .exited()
                .map_err(|error| error.to_string())?
                .ok_or_else(|| "it runs".to_owned())
        });
        match ended.await {
            Ok(status) => assert_eq!(status.code(), Some(0), "{}", self.log()),
            Err(error) => panic!("{error:#}\n{}", self.log()),
        }
    }
}

impl Deref for Worker {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Worker {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}
