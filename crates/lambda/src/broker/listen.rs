//! The listener: loopback in both address families, a bound on connections, an end that does not wait for anybody.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Broker;

/// A client that has opened a connection must say what it wants within this time.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests are a few hundred bytes; eight kilobytes are the least that the HTTP library works with.
const BUFFER: usize = 8 * 1024;
/// Connections over the limit that are told so at a time. More are closed without a word.
const TURNED_AWAY: usize = 64;
/// What requests under way get when the broker is asked to end. Lambda kills an environment two seconds after it has
/// asked for its end, and the runtime wants some of that.
const GRACE: Duration = Duration::from_millis(300);
/// Free ports to try where any will do and the other address family has the first one taken.
const PORTS_TO_TRY: usize = 16;

/// The broker cannot listen where it should.
#[derive(Debug, thiserror::Error)]
#[error("the broker cannot listen on {address}: {reason}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    reason: String,
    hint: &'static str,
}

impl BindError {
    /// The next act.
    pub fn hint(&self) -> &str {
        self.hint
    }
}

/// Sockets that are bound and not yet served: who connects waits.
#[derive(Debug)]
pub struct Listeners {
    sockets: Vec<TcpListener>,
    port: u16,
}

impl Listeners {
    /// Binds the address, and the same port of the other address family's loopback where this machine has one.
    ///
    /// `localhost` means either: a client that takes the other one must find the broker there too, and nobody else, who
    /// would be sent the secret.
    ///
    /// # Errors
    /// When the address is not of loopback, or is taken in either family.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        if !address.ip().is_loopback() {
            return Err(BindError {
                address,
                reason: "it could be reached from other machines".to_owned(),
                hint: "listen on 127.0.0.1 or [::1]; a broker runs beside each program that asks it",
            });
        }
        let mut last = None;
        for _ in 0..if address.port() == 0 { PORTS_TO_TRY } else { 1 } {
            match Self::bind_both(address).await {
                Ok(listeners) => return Ok(listeners),
                Err((address, error)) => last = Some((address, error)),
            }
        }
        let (address, error) = last.unwrap_or_else(|| (address, io::ErrorKind::AddrInUse.into()));
        Err(BindError {
            address,
            reason: error.to_string(),
            hint: "another program listens there: choose another port (--listen or TIELINE_BROKER_LISTEN, and \
                   TIELINE_BROKER_PORT for those who ask; in Lambda that alone), or 0 for any \
                   free one",
        })
    }

    async fn bind_both(address: SocketAddr) -> Result<Self, (SocketAddr, io::Error)> {
        let first = TcpListener::bind(address).await.map_err(|e| (address, e))?;
        let port = first.local_addr().map_err(|e| (address, e))?.port();
        let other: IpAddr = if address.is_ipv4() { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let other = SocketAddr::new(other, port);
        let mut sockets = vec![first];
        match TcpListener::bind(other).await {
            Ok(second) => sockets.push(second),
            Err(error) if is_without(&error) => {}
            Err(error) => return Err((other, error)),
        }
        Ok(Self { sockets, port })
    }

    /// The port, the same in both families.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// This machine does not have the address family.
fn is_without(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        // EAFNOSUPPORT, which has no kind of its own.
        || (cfg!(target_os = "linux") && error.raw_os_error() == Some(97))
}

/// Serves until `stop` resolves; then requests under way have a moment to be answered.
pub async fn serve(listeners: Listeners, broker: Broker, stop: impl Future<Output = ()>) {
    let (ending, ended) = watch::channel(false);
    let seats = Arc::new(Semaphore::new(broker.limit()));
    let mut accepting = JoinSet::new();
    for socket in listeners.sockets {
        accepting.spawn(accept(socket, broker.clone(), seats.clone(), ended.clone()));
    }
    stop.await;
    let _ = ending.send(true);
    let _ = tokio::time::timeout(GRACE, async { while accepting.join_next().await.is_some() {} }).await;
}

async fn accept(socket: TcpListener, broker: Broker, seats: Arc<Semaphore>, mut ended: watch::Receiver<bool>) {
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = ended.changed() => break,
        };
        let stream = match stream {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, most likely: wait for some to close.
                tracing::warn!(%error, "the broker could not accept a connection");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        // What leaves this machine after all is dropped by the first router.
        let _ = match stream.local_addr() {
            Ok(address) if address.is_ipv4() => stream.set_ttl(1),
            _ => Ok(()),
        };
        let (broker, ended) = (broker.clone(), ended.clone());
        if let Ok(seat) = seats.clone().try_acquire_owned() {
            connections.spawn(async move {
                connection(stream, broker, true, ended).await;
                drop(seat);
            });
        } else if let Ok(place) = turned_away.clone().try_acquire_owned() {
            connections.spawn(async move {
                connection(stream, broker, false, ended).await;
                drop(place);
            });
        }
        while connections.try_join_next().is_some() {}
    }
    drop(socket);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, broker: Broker, seated: bool, mut ended: watch::Receiver<bool>) {
    let keep_alive = seated && broker.keeps_alive();
    let service = service_fn(move |request: Request<Incoming>| {
        let broker = broker.clone();
        async move { Ok::<_, std::convert::Infallible>(broker.respond(&request, seated).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .keep_alive(keep_alive)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // A client that goes away, or speaks something else, is no news.
    tokio::select! {
        _ = connection.as_mut() => {}
        _ = ended.changed() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
