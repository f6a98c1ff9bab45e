//! Where the spans go: a server that reads them and says yes.

use std::io;
use std::net::Ipv4Addr;

use axum::Router;
use tokio::net::TcpListener;

/// Starts it on a thread of its own; gives its URL.
pub(crate) fn start() -> io::Result<String> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}", listener.local_addr()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let accept = Router::new().fallback(|_: axum::body::Bytes| async {});
            if let Ok(listener) = TcpListener::from_std(listener) {
                // Runs until the process ends.
                let _ = axum::serve(listener, accept).await;
            }
        });
    });
    Ok(url)
}
