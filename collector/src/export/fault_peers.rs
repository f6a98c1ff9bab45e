//! Peers that do wrong, on raw loopback sockets: for the tests of the exporters and of the collector as a process, which
//! read this file too.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpSocket;

/// An address where nobody listens: whoever connects is refused. As long as this is there, no other test is given its port,
/// and whoever asks for the port by number can still listen there.
pub(crate) struct Nobody {
    pub(crate) address: SocketAddr,
    _bound: TcpSocket,
}

impl Nobody {
    pub(crate) fn start() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any).expect("a free port");
        Self {
            address: socket.local_addr().expect("an address"),
            _bound: socket,
        }
    }
}

/// What a peer does with every connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Reads what comes and never answers.
    Hang,
    /// Accepts and never reads.
    Deaf,
    /// Hangs up in the middle of the request, with bytes unread: a reset.
    Reset,
    /// Says that it will say nothing more, and goes on listening.
    HalfClose,
    /// Answers so once the first bytes have come, then hangs up.
    Say(&'static [u8]),
    /// The same, and then says nothing that ends: so many more bytes.
    SayAndFlood(&'static [u8], u64),
    /// The same, one byte at a time, and never all.
    Drip(&'static [u8]),
}

/// A running peer; it stops when dropped.
pub(crate) struct FaultPeer {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    stopped: AtomicBool,
    connections: AtomicU64,
    /// Bytes that somebody took from it.
    said: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
}

/// Between two bytes that drip.
const DRIP: Duration = Duration::from_millis(20);

impl FaultPeer {
    pub(crate) fn start(fault: Fault) -> Self {
        Self::listen(
            TcpListener::bind("127.0.0.1:0").expect("a free port"),
            fault,
        )
    }

    pub(crate) fn listen(listener: TcpListener, fault: Fault) -> Self {
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let (accepting, of) = (
            listener.try_clone().expect("a listener"),
            Arc::clone(&state),
        );
        let accepting = std::thread::spawn(move || {
            for stream in accepting.incoming().map_while(Result::ok) {
                if of.stopped.load(Ordering::SeqCst) {
                    return;
                }
                of.connections.fetch_add(1, Ordering::SeqCst);
                let Ok(mut serving) = stream.try_clone() else {
                    return;
                };
                of.streams().push(stream);
                let of = Arc::clone(&of);
                // Whoever hangs up on it ends the thread.
                std::thread::spawn(move || drop(of.serve(&mut serving, fault)));
            }
        });
        Self {
            address,
            listener,
            state,
            accepting: Some(accepting),
        }
    }

    /// How often somebody connected.
    pub(crate) fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Bytes that were taken from it.
    pub(crate) fn said(&self) -> u64 {
        self.state.said.load(Ordering::SeqCst)
    }

    /// Ends all connections; the listener for a better peer.
    pub(crate) fn stop(mut self) -> TcpListener {
        self.end();
        self.listener.try_clone().expect("a listener")
    }

    fn end(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        // To have the accepting thread look.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            accepting.join().expect("no panic");
        }
        for stream in self.state.streams().drain(..) {
            // Closed already by the other side, perhaps.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for FaultPeer {
    fn drop(&mut self) {
        if self.accepting.is_some() {
            self.end();
        }
    }
}

impl State {
    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &mut TcpStream, fault: Fault) -> std::io::Result<()> {
        match fault {
            Fault::Hang => drain(stream),
            Fault::Deaf => wait_until_closed(stream),
            Fault::Reset => {
                stream.read_exact(&mut [0; 20])?;
                self.hang_up(stream);
                Ok(())
            }
            Fault::HalfClose => {
                stream.read_exact(&mut [0; 20])?;
                stream.shutdown(Shutdown::Write)?;
                drain(stream)
            }
            Fault::Say(answer) => {
                self.say(stream, answer)?;
                stream.shutdown(Shutdown::Write)?;
                drain(stream)
            }
            Fault::SayAndFlood(answer, mut bytes) => {
                self.say(stream, answer)?;
                let flood = [b'x'; 64 * 1024];
                while bytes > 0 {
                    let written = stream.write(&flood)? as u64;
                    self.said.fetch_add(written, Ordering::SeqCst);
                    bytes = bytes.saturating_sub(written);
                }
                drain(stream)
            }
            Fault::Drip(answer) => {
                stream.read_exact(&mut [0; 20])?;
                for byte in answer.iter().cycle() {
                    stream.write_all(&[*byte])?;
                    std::thread::park_timeout(DRIP);
                }
                Ok(())
            }
        }
    }

    fn say(&self, stream: &mut TcpStream, answer: &[u8]) -> std::io::Result<()> {
        // All of a small request, so that the answer is not lost to a reset.
        let mut request = [0; 64 * 1024];
        let _ = stream.read(&mut request)?;
        stream.write_all(answer)?;
        self.said.fetch_add(answer.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    /// Closes every handle of a connection, which is what resets it.
    fn hang_up(&self, stream: &TcpStream) {
        let peer = stream.peer_addr().ok();
        self.streams().retain(|kept| kept.peer_addr().ok() != peer);
    }
}

fn drain(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Looks without taking anything, so that the sender's window stays full.
fn wait_until_closed(stream: &TcpStream) -> std::io::Result<()> {
    let mut one = [0];
    while stream.peek(&mut one)? > 0 {
        std::thread::park_timeout(DRIP);
    }
    Ok(())
}
