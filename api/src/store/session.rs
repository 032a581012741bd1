//! A session of the database for one request.

use std::ops::{Deref, DerefMut};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

/// A session that is released when its work is done. One that is dropped before, because its client went away or a
/// statement failed, may still be at work for nobody: it is closed, so that its place is free at once, and the server
/// ends what it was doing (`client_connection_check_interval`).
pub(crate) struct Session {
    /// There until it is released or dropped.
    connection: Option<PoolConnection<Postgres>>,
}

impl Session {
    pub(super) const fn new(connection: PoolConnection<Postgres>) -> Self {
        Self {
            connection: Some(connection),
        }
    }

    /// Leaves it to other requests.
    pub(super) fn release(mut self) {
        drop(self.connection.take());
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("it is not released yet")
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("it is not released yet")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(connection.detach());
        }
    }
}
