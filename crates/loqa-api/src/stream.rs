//! Answers that are written as they are read, and only as fast as they are taken.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use std::io::{BufWriter, Error, ErrorKind, Write};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Bytes of one piece. Chosen.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait for a client. Chosen.
const PIECES: usize = 4;
/// Longest wait for a client that takes nothing. Chosen.
const TAKE_TIME: Duration = Duration::from_secs(30);

/// The way to the client.
#[derive(Clone)]
pub(crate) struct Pieces(mpsc::Sender<Result<Bytes, Error>>);

/// An answer to be saved as `name`, which `write` fills on a thread that may block.
pub(crate) fn answer(media_type: &'static str, name: &str, write: impl FnOnce(Pieces) + Send + 'static) -> Response {
    let (pieces, waiting) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || write(Pieces(pieces)));
    let stream = futures_util::stream::unfold(waiting, async |mut waiting| Some((waiting.recv().await?, waiting)));
    let disposition = format!("attachment; filename=\"{name}\"");
    let fields = [(header::CONTENT_TYPE, media_type.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    (fields, Body::from_stream(stream)).into_response()
}

impl Pieces {
    /// Gathers what is written into pieces.
    pub(crate) fn writer(self) -> impl Write {
        BufWriter::with_capacity(PIECE, PieceWriter(self))
    }

    /// Has the client see that the answer broke off, not that it was short.
    pub(crate) fn break_off(&self, why: String) {
        let _gone = self.0.blocking_send(Err(Error::other(why)));
    }
}

/// Hands pieces over to the connection; waits for a slow client, but not for ever.
struct PieceWriter(Pieces);

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let end = Instant::now() + TAKE_TIME;
        let mut piece = Ok(Bytes::copy_from_slice(bytes));
        loop {
            match self.0.0.try_send(piece) {
                Ok(()) => return Ok(bytes.len()),
                Err(mpsc::error::TrySendError::Closed(_)) => return Err(ErrorKind::BrokenPipe.into()),
                Err(mpsc::error::TrySendError::Full(_)) if Instant::now() > end => {
                    return Err(ErrorKind::TimedOut.into());
                }
                Err(mpsc::error::TrySendError::Full(again)) => piece = again,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
