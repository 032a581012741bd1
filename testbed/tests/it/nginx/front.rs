//! A running nginx with a test's settings, and requests to it, byte by byte.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use testbed::nginx::Nginx;
use testbed::process::{Signal, tail};
use testbed::{Process, eventually, ports};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::pipeline::PATIENCE;

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads one answer. It ends where its head says so: nginx closes a connection only after what it fetches in the
    /// background for a later request.
    async fn read(stream: &mut TcpStream, to_head: bool) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        loop {
            let ended = stream.read_buf(&mut bytes).await? == 0;
            let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let Some(end) = end else {
                if ended {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                continue;
            };
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let answer = Self {
                status: head.split(' ').nth(1).unwrap().parse().unwrap(),
                head,
                body: bytes[end + 4..].to_vec(),
            };
            let length = answer.header("content-length").parse().ok();
            let bodiless = to_head || [204, 304].contains(&answer.status);
            if bodiless || length.is_some_and(|length: usize| answer.body.len() >= length) {
                return Ok(answer);
            }
            if ended {
                // Without a length the end of the connection is the end of the answer.
                return length.map_or(
                    Ok(answer),
                    |_| Err(std::io::ErrorKind::UnexpectedEof.into()),
                );
            }
        }
    }

    /// All values of a header, joined.
    pub(crate) fn header(&self, name: &str) -> String {
        let values: Vec<&str> = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect();
        values.join(", ")
    }

    /// What the cache says that it did.
    pub(crate) fn cache(&self) -> String {
        self.header("x-cache-status")
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A running nginx.
pub(crate) struct Front {
    nginx: Nginx,
    pub(crate) process: Process,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    settings: Vec<(String, String)>,
}

impl Front {
    /// Starts nginx with these settings on a free port; `None`, said aloud, where it is not installed.
    pub(crate) async fn start(test: &str, settings: &[(&str, &str)]) -> Option<Self> {
        let Some(program) = Nginx::find() else {
            let reason = "SKIPPED: nginx is not installed";
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "{reason}"
            );
            // Past the test harness, which would show nothing of a test that passes.
            let text = format!("\n{reason}\n");
            std::io::stderr().write_all(text.as_bytes()).unwrap();
            return None;
        };
        let port = ports::free().unwrap();
        let folder =
            std::env::temp_dir().join(format!("testbed-it-{}-nginx-{test}", std::process::id()));
        let listen = format!("127.0.0.1:{port}");
        let mut all = vec![("NGINX_LISTEN".to_owned(), listen)];
        all.extend(
            settings
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned())),
        );
        let nginx = Nginx::prepare_with(program, &folder, &borrowed(&all))
            .await
            .unwrap();
        let process = nginx.start(&folder.join("log")).unwrap();
        let front = Self {
            nginx,
            process,
            port,
            folder,
            settings: all,
        };
        eventually("nginx listens", PATIENCE, async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
        })
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", front.log()));
        Some(front)
    }

    /// Changes one setting and reloads.
    pub(crate) async fn reload_with(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self.nginx
            .configure(&borrowed(&self.settings))
            .await
            .unwrap();
        self.process.signal(Signal::SIGHUP);
    }

    pub(crate) fn log(&self) -> String {
        tail(self.process.log(), 40)
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[]).await
    }

    pub(crate) async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask_from(Ipv4Addr::LOCALHOST, method, target, headers)
            .await
    }

    /// A request from one of this machine's loopback addresses, on a connection of its own.
    pub(crate) async fn ask_from(
        &self,
        from: Ipv4Addr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let lines = lines.concat();
        self.raw(
            from,
            &format!(
                "{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{lines}\r\n"
            ),
        )
        .await
        .unwrap_or_else(|error| panic!("{method} {target}: {error}\n{}", self.log()))
    }

    /// The answer to these bytes.
    pub(crate) async fn raw(&self, from: Ipv4Addr, request: &str) -> std::io::Result<Answer> {
        let mut stream = self.send(from, request).await?;
        Answer::read(&mut stream, request.starts_with("HEAD ")).await
    }

    /// Sends bytes and leaves the answer to be read.
    pub(crate) async fn send(&self, from: Ipv4Addr, request: &str) -> std::io::Result<TcpStream> {
        send(self.port, from, request).await
    }
}

/// Sends bytes to a port of this machine.
pub(crate) async fn send(port: u16, from: Ipv4Addr, request: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Reads the answer to a GET.
pub(crate) async fn receive(mut stream: TcpStream) -> std::io::Result<Answer> {
    Answer::read(&mut stream, false).await
}

impl Drop for Front {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.process.stop(std::time::Duration::from_secs(5));
            drop(std::fs::remove_dir_all(&self.folder));
        }
    }
}

fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}
