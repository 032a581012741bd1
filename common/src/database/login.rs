//! The login of a secret: read once and kept, and read again when the database refuses it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use sqlx::postgres::{PgConnectOptions, PgPool};
use tokio::time::Instant;
use tracing::{info, warn};

use super::explain;
use crate::lock::lock;
use crate::secrets::{Login, Secret};

/// Longest time between two askings for a secret, while its login is of no use.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The login in use, and when the secret may be asked again.
pub(super) struct SecretLogin {
    secret: Secret,
    session: PgConnectOptions,
    /// Raised with each login that differs from the one before; 0: none yet.
    version: AtomicU64,
    state: Mutex<LoginState>,
    /// The asking under way, or the last one.
    asking: Mutex<Option<Shared<BoxFuture<'static, ()>>>>,
}

impl fmt::Debug for SecretLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretLogin({})", self.secret.name())
    }
}

#[derive(Default)]
struct LoginState {
    login: Option<Login>,
    /// Why the secret cannot be read.
    unreadable: Option<String>,
    /// Why the database refuses the login.
    refused: Option<String>,
    /// Askings in a row that brought nothing new.
    in_vain: u32,
    not_before: Option<Instant>,
}

impl LoginState {
    /// The next asking waits longer than this one did: 0.2 s to 30 s.
    fn put_off(&mut self) {
        let wait = Duration::from_millis(200).saturating_mul(1 << self.in_vain.min(8));
        self.in_vain += 1;
        self.not_before = Some(Instant::now() + wait.min(LONGEST_WAIT));
    }
}

impl SecretLogin {
    pub(super) fn new(secret: &str, session: PgConnectOptions) -> Self {
        Self {
            secret: Secret::new(secret),
            session,
            version: AtomicU64::new(0),
            state: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// Which login is in use, counted from 1; 0: none yet.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Notes that the database takes the login, which it may have refused for a while.
    pub(super) fn accepted(&self) {
        lock(&self.state).refused = None;
    }

    /// Notes that the database refuses the login of that version.
    pub(super) fn refused(&self, version: u64, error: &sqlx::Error) {
        let mut state = lock(&self.state);
        if self.version() == version {
            state.refused = Some(format!(
                "the database refuses the login of secret {}: {}",
                self.secret.name(),
                explain(error)
            ));
        }
    }

    /// Why there is no login that works.
    pub(super) fn trouble(&self) -> Option<String> {
        let state = lock(&self.state);
        let reasons: Vec<&str> = [&state.refused, &state.unreadable]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if !reasons.is_empty() {
            return Some(reasons.join("; "));
        }
        let unasked = || format!("no answer yet about secret {}", self.secret.name());
        state.login.is_none().then(unasked)
    }

    /// Waits until the secret was read again after `version`; `pools` connect with it.
    pub(super) async fn renewed(self: &Arc<Self>, pools: [&PgPool; 2], version: u64) {
        let asking = {
            let mut asking = lock(&self.asking);
            if self.version() != version {
                return;
            }
            if let Some(asking) = asking.as_ref().filter(|asking| asking.peek().is_none()) {
                asking.clone()
            } else {
                // A task of its own: whoever began it may give up, and leaves it to the others.
                let (login, pools) = (self.clone(), pools.map(Clone::clone));
                let task = tokio::spawn(async move { login.renew(&pools).await });
                asking.insert(task.map(drop).boxed().shared()).clone()
            }
        };
        asking.await;
    }

    /// Reads the secret, when it is time to.
    async fn renew(&self, pools: &[PgPool]) {
        let time = lock(&self.state).not_before;
        if let Some(time) = time {
            if time.elapsed() > LONGEST_WAIT {
                // The trouble of then is over.
                lock(&self.state).in_vain = 0;
            }
            tokio::time::sleep_until(time).await;
        }
        let secret = self.secret.name();
        let answer = self.secret.login().await;
        let mut state = lock(&self.state);
        match answer {
            Err(error) => {
                warn!(%error, "cannot read the database login");
                state.unreadable = Some(error.to_string());
                state.put_off();
            }
            Ok(login) if state.login.as_ref() == Some(&login) => {
                let username = login.username();
                warn!(
                    secret,
                    username, "the database refuses the login of the secret"
                );
                state.unreadable = None;
                state.put_off();
            }
            Ok(login) => {
                let username = login.username();
                info!(secret, username, "read the database login");
                for pool in pools {
                    pool.set_connect_options(with_login(self.session.clone(), &login));
                }
                *state = LoginState {
                    login: Some(login),
                    ..LoginState::default()
                };
                self.version.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

pub(super) fn with_login(options: PgConnectOptions, login: &Login) -> PgConnectOptions {
    options
        .username(login.username())
        .password(login.expose_password())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_no_trouble_once_the_login_is_taken_again() {
        // GIVEN a login that the database refuses
        let login = SecretLogin::new("db", PgConnectOptions::new());
        lock(&login.state).refused = Some("the database refuses the login".into());
        assert!(login.trouble().is_some_and(|why| why.contains("refuses")));
        // WHEN a session begins with it THEN nothing is said of that any more
        login.accepted();
        assert!(!login.trouble().is_some_and(|why| why.contains("refuses")));
    }
}
