//! The wire between the service and an org: what passes over it is kept, and the secrets in it are known afterwards.

use std::sync::{Arc, Mutex};

use regex::bytes::Regex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::search::Secrets;

/// A socket that leads to the org.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) url: String,
    kept: Arc<Mutex<Vec<u8>>>,
}

impl Wire {
    pub(super) async fn to(org: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Self { url: format!("http://{}", listener.local_addr().unwrap()), kept: Arc::default() };
        let (org, kept) = (org.trim_start_matches("http://").trim_end_matches('/').to_owned(), wire.kept.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&org).await else { continue };
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                tokio::spawn(copy(near_in, far_out, kept.clone()));
                tokio::spawn(copy(far_in, near_out, kept.clone()));
            }
        });
        wire
    }

    /// What passed that nobody else may see.
    pub(super) fn secrets(&self, into: &mut Secrets) {
        let kept = self.kept.lock().unwrap();
        for (name, pattern) in [
            ("access token", r#""access_token":\s*"([^"]+)""#),
            ("refresh token", r#""refresh_token":\s*"([^"]+)""#),
            ("refresh token", r"\brefresh_token=([^&\s]+)"),
            ("authorization code", r"\bcode=([^&\s]+)"),
            ("PKCE verifier", r"\bcode_verifier=([^&\s]+)"),
        ] {
            for found in Regex::new(pattern).unwrap().captures_iter(&kept) {
                into.add(name, unescaped(&found[1]));
            }
        }
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    kept: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        kept.lock().unwrap().extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text).into_owned();
    url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().unwrap().1.into_owned().into_bytes()
}
