//! A slow link: a TCP relay that delays every byte by the same time in each direction, as distance does. It
//! makes the network gap of one edge visible on a single machine.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// One way.
pub(super) const DELAY: Duration = Duration::from_millis(8);

/// The link; it goes down when dropped.
#[derive(Debug)]
pub(super) struct Link(AbortHandle);

impl Drop for Link {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Relays connections from one loopback port to another.
pub(super) async fn start(from: u16, to: u16, delay: Duration) -> std::io::Result<Link> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, from)).await?;
    let relay = tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(async move {
                // A peer that cannot be reached shows as a closed connection, as it would without the link.
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await else {
                    return;
                };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::join!(
                    carry(near_in, far_out, delay),
                    carry(far_in, near_out, delay)
                );
            });
        }
    });
    Ok(Link(relay.abort_handle()))
}

/// Reads and writes run side by side, so that the delay costs no throughput.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(64);
    let read = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender
                .send((Instant::now() + delay, buffer[..length].to_vec()))
                .await
                .is_err()
            {
                break;
            }
        }
    };
    let write = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The other side may have closed first.
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
