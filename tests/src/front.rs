//! What stands before the pods of a Service: new connections go to one of the endpoints in the list, those that are there stay
//! where they are, nothing is retried. So does kube-proxy; the list is its endpoint controller's, which takes its time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// The running front; it stops when dropped.
#[derive(Debug)]
pub struct Front {
    /// Where it listens.
    pub address: SocketAddr,
    endpoints: Arc<Endpoints>,
    removals: mpsc::UnboundedSender<(SocketAddr, Instant)>,
    _stop: oneshot::Sender<()>,
}

/// The list, and whose turn it is.
#[derive(Debug, Default)]
struct Endpoints(Mutex<(Vec<SocketAddr>, usize)>);

impl Endpoints {
    fn lock(&self) -> MutexGuard<'_, (Vec<SocketAddr>, usize)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<SocketAddr> {
        let (list, turn) = &mut *self.lock();
        *turn = turn.wrapping_add(1);
        list.get(*turn % list.len().max(1)).copied()
    }
}

impl Front {
    /// Starts one without endpoints on a thread of its own.
    ///
    /// # Panics
    /// When it cannot listen.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free loopback port");
        let address = listener.local_addr().expect("a bound address");
        let endpoints = Arc::new(Endpoints::default());
        let (removals, asked) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let for_thread = Arc::clone(&endpoints);
        std::thread::spawn(move || serve(listener, &for_thread, asked, stopped));
        Self {
            address,
            endpoints,
            removals,
            _stop: stop,
        }
    }

    /// Sends connections there from now on, too.
    pub fn add(&self, endpoint: SocketAddr) {
        self.endpoints.lock().0.push(endpoint);
    }

    /// Sends none there any more from then on.
    ///
    /// # Panics
    /// When the front has died.
    pub fn remove_at(&self, endpoint: SocketAddr, when: Instant) {
        self.removals
            .send((endpoint, when))
            .expect("a front that runs");
    }

    /// Whether connections are still sent there.
    pub fn has(&self, endpoint: SocketAddr) -> bool {
        self.endpoints.lock().0.contains(&endpoint)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn serve(
    listener: std::net::TcpListener,
    endpoints: &Arc<Endpoints>,
    mut asked: mpsc::UnboundedReceiver<(SocketAddr, Instant)>,
    mut stopped: oneshot::Receiver<()>,
) {
    listener
        .set_nonblocking(true)
        .expect("a non-blocking listener");
    let listener = TcpListener::from_std(listener).expect("a listener");
    loop {
        tokio::select! {
            // An error when the front is dropped, which is the signal.
            _ = &mut stopped => return,
            Some((endpoint, when)) = asked.recv() => {
                let endpoints = Arc::clone(endpoints);
                tokio::spawn(async move {
                    tokio::time::sleep_until(when.into()).await;
                    endpoints.lock().0.retain(|other| *other != endpoint);
                });
            }
            Ok((client, _)) = listener.accept() => {
                let endpoint = endpoints.next();
                tokio::spawn(async move { forward(client, endpoint?).await });
            }
        }
    }
}

/// `None` when the endpoint is gone: the client's connection is closed then.
async fn forward(mut client: TcpStream, endpoint: SocketAddr) -> Option<()> {
    let mut server = TcpStream::connect(endpoint).await.ok()?;
    client.set_nodelay(true).ok()?;
    server.set_nodelay(true).ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}
