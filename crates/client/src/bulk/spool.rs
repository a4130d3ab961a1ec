//! A file that is read while it is written, and again if need be: what is uploaded as it is produced, from a source that
//! cannot be asked twice.

use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tempfile::NamedTempFile;
use tokio::sync::watch;

/// Read at once.
const CHUNK: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    written: u64,
    complete: bool,
}

/// The writer's side. Dropped before it is complete, its readers fail: half a file must not pass for a whole one.
#[derive(Debug)]
pub(super) struct Spool {
    file: Arc<NamedTempFile>,
    progress: watch::Sender<Progress>,
}

/// From which readers begin.
#[derive(Debug, Clone)]
pub(super) struct Spooled {
    file: Arc<NamedTempFile>,
    progress: watch::Receiver<Progress>,
}

impl Spool {
    /// An empty file in the folder for temporary ones.
    pub(super) fn new() -> std::io::Result<Self> {
        let file = tempfile::Builder::new().prefix("tieline-upload-").tempfile()?;
        Ok(Self { file: Arc::new(file), progress: watch::Sender::default() })
    }

    pub(super) fn spooled(&self) -> Spooled {
        Spooled { file: self.file.clone(), progress: self.progress.subscribe() }
    }

    /// Writes on, and hands the buffer back empty.
    pub(super) async fn write(&self, mut buffer: Vec<u8>) -> std::io::Result<Vec<u8>> {
        let file = self.file.clone();
        let length = buffer.len() as u64;
        let buffer = blocking(move || {
            file.as_file().write_all(&buffer)?;
            buffer.clear();
            Ok(buffer)
        })
        .await?;
        self.progress.send_modify(|progress| progress.written += length);
        Ok(buffer)
    }

    /// All is written.
    pub(super) fn complete(&self) {
        self.progress.send_modify(|progress| progress.complete = true);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

impl Spooled {
    /// The file from its beginning, as far as it is written, and then what is still to come.
    pub(super) fn body(&self) -> reqwest::Body {
        struct State {
            spooled: Spooled,
            file: Option<std::fs::File>,
            at: u64,
        }
        let state = State { spooled: self.clone(), file: None, at: 0 };
        reqwest::Body::wrap_stream(stream::try_unfold(state, |mut state| async move {
            loop {
                let Progress { written, complete } = *state.spooled.progress.borrow_and_update();
                if state.at < written {
                    break;
                }
                if complete {
                    return Ok(None);
                }
                let gone = |_| std::io::Error::other("what is uploaded was given up");
                state.spooled.progress.changed().await.map_err(gone)?;
            }
            let (mut file, at, spool) = (state.file.take(), state.at, state.spooled.file.clone());
            let (chunk, file) = blocking(move || {
                let mut reader = match file.take() {
                    Some(file) => file,
                    None => {
                        debug_assert_eq!(at, 0);
                        spool.reopen()?
                    }
                };
                let mut chunk = vec![0; CHUNK];
                let read = reader.read(&mut chunk)?;
                chunk.truncate(read);
                Ok((chunk, reader))
            })
            .await?;
            state.file = Some(file);
            state.at += chunk.len() as u64;
            Ok::<_, std::io::Error>(Some((Bytes::from(chunk), state)))
        }))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn readers_follow_the_writer_and_begin_again_at_the_beginning() {
        let spool = Spool::new().unwrap();
        let spooled = spool.spooled();
        let early = tokio::spawn({
            let spooled = spooled.clone();
            async move { spooled.body().collect().await.unwrap().to_bytes() }
        });
        let mut all = Vec::new();
        let mut buffer = Vec::new();
        for n in 0..1_000u32 {
            let line = format!("{n}\n").repeat(100);
            all.extend_from_slice(line.as_bytes());
            buffer.extend_from_slice(line.as_bytes());
            buffer = spool.write(buffer).await.unwrap();
            tokio::task::yield_now().await;
        }
        spool.complete();
        assert_eq!(early.await.unwrap(), all);
        assert_eq!(spooled.body().collect().await.unwrap().to_bytes(), all);
        // Though it was complete, the file goes with its last reader and not before.
        drop(spool);
        assert_eq!(spooled.body().collect().await.unwrap().to_bytes(), all);
    }

    #[tokio::test]
    async fn half_a_file_is_no_file() {
        let spool = Spool::new().unwrap();
        let spooled = spool.spooled();
        spool.write(b"half".to_vec()).await.unwrap();
        drop(spool);
        assert!(spooled.body().collect().await.is_err());
    }
}
