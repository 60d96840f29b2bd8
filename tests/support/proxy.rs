//! A TCP proxy before a server on loopback: it counts round trips, and disturbs them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What happens to the bytes that pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// They pass.
    #[default]
    None,
    /// When this many more bytes have gone to the server, the connection is cut. Then the
    /// fault is over.
    CutRequest(usize),
    /// When this many more bytes have gone to the client, the connection is cut. Then the
    /// fault is over.
    CutReply(usize),
    /// The server's bytes wait until another fault, or none, is set. A reply that comes too
    /// late is made by this and then [`Fault::None`].
    Stall,
}

/// A proxy on its own port. Dropping it cuts its connections.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    round_trips: AtomicU64,
    connections: AtomicU64,
    stopped: AtomicBool,
    fault: Mutex<Fault>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts a proxy before what listens on `port`.
    ///
    /// # Errors
    ///
    /// Where there is no free port.
    pub fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let own_port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    if shared.stopped.load(SeqCst) {
                        return;
                    }
                    // A server that is gone is for the client to notice.
                    let _ = connect(client, port, &shared);
                }
            })
        };
        Ok(Proxy {
            port: own_port,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often a server answered: the turns from client-to-server to server-to-client,
    /// of all connections since the start.
    pub fn round_trips(&self) -> u64 {
        self.shared.round_trips.load(SeqCst)
    }

    /// The round trips that `work` makes, and its result.
    pub fn count<T>(&self, work: impl FnOnce() -> T) -> (u64, T) {
        let before = self.round_trips();
        let result = work();
        (self.round_trips() - before, result)
    }

    /// How many connections were made since the start.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }

    /// What happens from now on, on all connections together.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault() = fault;
        self.shared.changed.notify_all();
    }

    /// Whether a fault is still to come.
    pub fn is_armed(&self) -> bool {
        *self.shared.fault() != Fault::None
    }

    /// Cuts all present connections.
    pub fn cut(&self) {
        self.shared.cut();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.set(Fault::None);
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut();
    }
}

impl Shared {
    fn fault(&self) -> MutexGuard<'_, Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut(&self) {
        for stream in self.open().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many of `length` bytes to the client, or to the server, may pass, and whether the
    /// connection is cut after them. Waits while they are held up.
    fn allowed(&self, length: usize, to_client: bool) -> (usize, bool) {
        let mut fault = self.fault();
        while *fault == Fault::Stall && to_client {
            fault = self
                .changed
                .wait(fault)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let left = match &mut *fault {
            Fault::CutReply(left) if to_client => left,
            Fault::CutRequest(left) if !to_client => left,
            _ => return (length, false),
        };
        if length < *left {
            *left -= length;
            return (length, false);
        }
        let allowed = *left;
        *fault = Fault::None;
        (allowed, true)
    }
}

/// Joins a client and the server by two threads, which end with the connection.
fn connect(client: TcpStream, port: u16, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        shared.open().push(stream.try_clone()?);
    }
    shared.connections.fetch_add(1, SeqCst);
    // Set while the last bytes that passed were the client's.
    let asked = Arc::new(AtomicBool::new(false));
    for (from, to, to_client) in [
        (client.try_clone()?, server.try_clone()?, false),
        (server, client, true),
    ] {
        let (shared, asked) = (Arc::clone(shared), Arc::clone(&asked));
        std::thread::spawn(move || {
            // However it ends, both sides are told.
            let _ = pass(&from, &to, to_client, &asked, &shared);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

fn pass(
    mut from: &TcpStream,
    mut to: &TcpStream,
    to_client: bool,
    asked: &AtomicBool,
    shared: &Shared,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let (allowed, cut) = shared.allowed(length, to_client);
        // Counted before the bytes are passed on, so that whoever has the answer finds it
        // counted.
        if asked.swap(!to_client, SeqCst) && to_client {
            shared.round_trips.fetch_add(1, SeqCst);
        }
        to.write_all(&buffer[..allowed])?;
        if cut {
            return Ok(());
        }
    }
}
