//! Futures that are built on the heap.

use std::pin::Pin;

/// Boxes the future that `make` returns.
///
/// In an async function `Box::pin(future()).await` reserves room for the future in the caller's own state, too: an idle
/// connection would hold 15 KiB that it does not use. Here it is built in this function's stack frame.
#[inline(never)]
pub(crate) fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn large() -> u8 {
        let bytes = [1; 4096];
        tokio::task::yield_now().await;
        bytes[4095]
    }

    #[tokio::test]
    async fn a_future_that_awaits_a_boxed_one_is_small() {
        let outer = async { boxed(large).await };
        assert!(size_of_val(&outer) < 256, "{}", size_of_val(&outer));
        assert_eq!(outer.await, 1);
    }
}
