//! A body that comes once, from somebody who sends it while it is passed on.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::watch;

type Failed = Box<dyn std::error::Error + Send + Sync>;
type Source = Pin<Box<dyn Stream<Item = Result<Bytes, Failed>> + Send>>;

/// A stream that can be read once. A call with it is repeated only as long as nothing of it has been taken: what was
/// sent is not here any more. Clones are the same stream.
#[derive(Clone)]
pub struct Once {
    source: Arc<Mutex<Source>>,
    stage: Arc<watch::Sender<Stage>>,
    length: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Untouched,
    Begun,
    Ended,
}

impl Once {
    /// A stream, and how many bytes it has, if that is known. A known length is told to the org, which then refuses what
    /// is too long before it is sent; a stream that turns out shorter breaks the connection.
    pub fn new<E: Into<Failed> + 'static>(
        stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        use futures_util::TryStreamExt;
        let source: Source = Box::pin(stream.map_err(Into::into));
        let stage = Arc::new(watch::Sender::new(Stage::Untouched));
        Self { source: Arc::new(Mutex::new(source)), stage, length }
    }

    /// Whether something of it has been taken.
    pub fn has_begun(&self) -> bool {
        *self.stage.borrow() > Stage::Untouched
    }

    /// Waits until nothing of it was taken for so long: because the org takes no more, or because it has all and does
    /// not answer.
    pub async fn quiet_for(&self, patience: Duration) {
        let mut stage = self.stage.subscribe();
        // It is told of every piece. This holds a sender itself, so there is always somebody who might tell.
        while tokio::time::timeout(patience, stage.changed()).await.is_ok() {}
    }

    /// How many bytes it has, if that is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    pub(crate) fn body(&self) -> reqwest::Body {
        reqwest::Body::wrap_stream(self.clone())
    }
}

impl Stream for Once {
    type Item = Result<Bytes, Failed>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if *self.stage.borrow() == Stage::Ended {
            return Poll::Ready(None);
        }
        let next = source.as_mut().poll_next(cx);
        match &next {
            Poll::Ready(Some(_)) => drop(self.stage.send_replace(Stage::Begun)),
            Poll::Ready(None) => drop(self.stage.send_replace(Stage::Ended)),
            Poll::Pending => {}
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn it_tells_how_far_it_is() {
        let pieces = ["a", "b"].map(|text| Ok::<_, std::io::Error>(Bytes::from_static(text.as_bytes())));
        let once = Once::new(futures_util::stream::iter(pieces), Some(2));
        let mut view = once.clone();
        assert!(!once.has_begun());
        assert_eq!(view.try_next().await.unwrap().unwrap(), "a");
        assert!(once.has_begun());
        assert_eq!(view.try_collect::<Vec<_>>().await.unwrap(), ["b"]);
        once.quiet_for(Duration::from_millis(1)).await;
        assert!(once.clone().try_next().await.unwrap().is_none());
    }
}
