//! A wire between client and org that breaks where a test wants: after so many bytes, one way or the other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::server::{End, end};

/// What happens to one connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// Bytes of requests that reach the org.
    pub(crate) up: usize,
    /// Bytes of answers that reach the client.
    pub(crate) down: usize,
    pub(crate) end: End,
    /// Before each piece of an answer.
    pub(crate) latency: Duration,
}

impl Fault {
    pub(crate) fn down(bytes: usize, end: End) -> Self {
        Self { up: usize::MAX, down: bytes, end, latency: Duration::ZERO }
    }

    pub(crate) fn up(bytes: usize, end: End) -> Self {
        Self { up: bytes, ..Self::down(usize::MAX, end) }
    }
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    /// Bytes of answers that the connection which ended last has carried.
    carried: Arc<Mutex<usize>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// A wire to `host:port`.
    pub(crate) async fn to(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let faults = Arc::new(Mutex::new(VecDeque::new()));
        let carried = Arc::new(Mutex::new(0));
        let task = tokio::spawn({
            let (upstream, faults, carried) = (upstream.to_owned(), faults.clone(), carried.clone());
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let fault = faults.lock().unwrap().pop_front();
                    let fault = fault.unwrap_or(Fault::down(usize::MAX, End::Close));
                    let org = TcpStream::connect(&upstream).await.unwrap();
                    tokio::spawn(carry(client, org, fault, carried.clone()));
                }
            }
        });
        Self { url, faults, carried, task }
    }

    /// For the next connection that nothing is planned for.
    pub(crate) fn next(&self, fault: Fault) {
        self.faults.lock().unwrap().push_back(fault);
    }

    /// Nothing is planned any more.
    pub(crate) fn mend(&self) {
        self.faults.lock().unwrap().clear();
    }

    pub(crate) fn carried(&self) -> usize {
        *self.carried.lock().unwrap()
    }
}

async fn carry(mut client: TcpStream, mut org: TcpStream, fault: Fault, carried: Arc<Mutex<usize>>) {
    let (mut up, mut down) = (0, 0);
    let (mut from_client, mut from_org) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(read @ 1..) = read else { return };
                let pass = read.min(fault.up - up);
                if org.write_all(&from_client[..pass]).await.is_err() {
                    return;
                }
                up += pass;
                if up == fault.up {
                    drop(org);
                    return end(client, fault.end).await;
                }
            }
            read = org.read(&mut from_org) => {
                let Ok(read @ 1..) = read else { return end(client, End::Close).await };
                tokio::time::sleep(fault.latency).await;
                let pass = read.min(fault.down - down);
                if client.write_all(&from_org[..pass]).await.is_err() {
                    return;
                }
                down += pass;
                *carried.lock().unwrap() = down;
                if down == fault.down {
                    return end(client, fault.end).await;
                }
            }
        }
    }
}
