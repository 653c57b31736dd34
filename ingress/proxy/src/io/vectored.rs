//! Writing several slices at once.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncWrite, ReadBuf};

/// Up to this many bytes are copied and written with `send`: `writev` takes 0.2 µs longer, and the copy of
/// a small response costs a tenth of that.
const PIECE: usize = 2 * 1024;

/// Writes as much of the slices as the writer accepts, and returns how many bytes that was.
pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
    writer: &mut W,
    cx: &mut Context<'_>,
    slices: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let writer = Pin::new(writer);
    if let [slice] = slices {
        return writer.poll_write(cx, slice);
    }
    if slices.iter().map(|slice| slice.len()).sum::<usize>() > PIECE {
        return writer.poll_write_vectored(cx, slices);
    }
    let mut space = [MaybeUninit::uninit(); PIECE];
    let mut piece = ReadBuf::uninit(&mut space);
    slices.iter().for_each(|slice| piece.put_slice(slice));
    writer.poll_write(cx, piece.filled())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records each write, and how many slices it had.
    #[derive(Default)]
    struct Writes(Vec<(usize, Vec<u8>)>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push((1, bytes.to_vec()));
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let length = bytes.len();
            self.0.push((slices.len(), bytes));
            Poll::Ready(Ok(length))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn small_slices_are_written_as_one_piece_and_nothing_is_lost() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        for (lengths, slices) in
            [(vec![5], 1), (vec![300, 86], 1), (vec![1, PIECE - 1], 1), (vec![1, PIECE], 2)]
        {
            let parts: Vec<Vec<u8>> =
                (b'a'..).zip(&lengths).map(|(byte, &length)| vec![byte; length]).collect();
            let mut writes = Writes::default();
            let list: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
            let sent = poll_write(&mut writes, cx, &list);
            assert!(matches!(sent, Poll::Ready(Ok(length)) if length == lengths.iter().sum::<usize>()));
            assert_eq!(writes.0, [(slices, parts.concat())], "{lengths:?}");
        }
    }
}
