//! A server of a test's own, in place of one that the programs call.

use std::net::Ipv4Addr;

use axum::Router;
use tokio::net::TcpListener;

/// Serves a router on a free port, as long as the test's runtime lives; its base URL.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}
