use std::io::IoSlice;
use std::rc::Rc;

use bytes::BytesMut;
use ingress_wire::request::ParsedRequest;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::io::transport_stream::ClientStream;
use crate::wire::http1_stream::{Http1Stream, NextHead};

/// A body that a client sends in chunks.
async fn chunks(text: &'static [u8]) -> RequestBodySource {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (stream, accepted) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    accepted.unwrap();
    let input = [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", text].concat();
    let stream = Http1Stream::new(ClientStream::Plain(stream.unwrap()), BytesMut::from(&input[..]));
    let mut request = ParsedRequest::default();
    let head = std::future::poll_fn(|cx| stream.poll_head(cx, &mut request)).await;
    assert!(matches!(head, Ok(NextHead::Complete)));
    RequestBodySource::Http1(Rc::new(stream))
}

/// What the next call puts into a send buffer.
async fn fill(body: &mut RequestBody) -> Result<Bytes, UpstreamError> {
    let mut send_buffer = SendBuffer::default();
    std::future::poll_fn(|cx| match body.poll_fill(cx, &mut send_buffer) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(())) => Poll::Ready(Ok(())),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await?;
    let mut slices = [IoSlice::new(&[]); SendBuffer::SLICES];
    let count = send_buffer.slices(&mut slices);
    Ok(slices[..count].iter().flat_map(|slice| slice.to_vec()).collect())
}

#[tokio::test]
async fn a_malformed_or_too_large_body_fails_at_every_further_call() {
    let mut whole = RequestBody::new(chunks(b"4\r\nfour\r\n0\r\n\r\n").await, true, 10, None);
    assert_eq!(fill(&mut whole).await.unwrap(), "4\r\nfour\r\n");
    assert_eq!(fill(&mut whole).await.unwrap(), "0\r\n\r\n");
    let mut broken = RequestBody::new(chunks(b"4\r\nfour\r\nx\r\n").await, true, 10, None);
    assert_eq!(fill(&mut broken).await.unwrap(), "4\r\nfour\r\n");
    let mut large =
        RequestBody::new(chunks(b"4\r\nfour\r\n7\r\ntoo big\r\n1\r\nx\r\n0\r\n\r\n").await, true, 10, None);
    assert_eq!(fill(&mut large).await.unwrap(), "4\r\nfour\r\n");
    for _ in 0..3 {
        assert!(matches!(fill(&mut broken).await, Err(UpstreamError::Client)));
        assert!(matches!(fill(&mut large).await, Err(UpstreamError::TooLarge)));
    }
}

#[tokio::test]
async fn small_pieces_are_kept_in_one_buffer_and_sent_again_in_order() {
    let mut body = RequestBody::new(chunks(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n").await, true, 10, None);
    while !body.is_over() {
        fill(&mut body).await.unwrap();
    }
    let mut body = body.restart().unwrap();
    assert_eq!(body.content.as_ref().unwrap().kept.pieces[..], ["abc"]);
    assert_eq!(fill(&mut body).await.unwrap(), "3\r\nabc\r\n");
    assert_eq!(fill(&mut body).await.unwrap(), "0\r\n\r\n");
}

/// What a send buffer gets of the rest of a body.
async fn rest(body: &mut RequestBody) -> Vec<u8> {
    let mut sent = Vec::new();
    while !body.is_over() {
        sent.extend_from_slice(&fill(body).await.unwrap());
    }
    sent
}

async fn receive(body: &mut RequestBody) -> Result<Option<u64>, UpstreamError> {
    std::future::poll_fn(|cx| body.poll_receive(cx)).await
}

#[tokio::test]
async fn a_body_that_is_received_first_has_a_length() {
    let text = b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n";
    let mut body = RequestBody::new(chunks(text).await, true, 10, None);
    assert_eq!(receive(&mut body).await.unwrap(), Some(3));
    let mut body = body.encoded(BodyEncoding::Plain);
    assert_eq!(rest(&mut body).await, b"abc");
    let mut again = body.restart().unwrap();
    assert_eq!(rest(&mut again).await, b"abc", "another endpoint gets it, too");
    let mut large = RequestBody::new(chunks(text).await, true, 2, None);
    assert!(matches!(receive(&mut large).await, Err(UpstreamError::TooLarge)));
}

#[tokio::test]
async fn a_body_that_must_not_be_retried_is_sent_whole_and_then_dropped() {
    let text = format!("{SMALL:x}\r\n{0}\r\n{SMALL:x}\r\n{0}\r\n0\r\n\r\n", "x".repeat(SMALL));
    let mut body = RequestBody::new(chunks(text.leak().as_bytes()).await, true, 1 << 20, None);
    assert_eq!(receive(&mut body).await.unwrap(), Some(2 * SMALL as u64));
    let mut body = body.encoded(BodyEncoding::Plain);
    let first = fill(&mut body).await.unwrap().len();
    body.forget();
    assert_eq!(first + rest(&mut body).await.len(), 2 * SMALL);
    assert_eq!(body.content.as_ref().unwrap().kept.bytes, 0);
    assert!(body.restart().is_none());
}

#[tokio::test]
async fn of_a_large_body_the_rest_is_sent_as_it_arrives() {
    let size = 3 * RECEIVED_FIRST;
    let chunk = format!("{RECEIVED_FIRST:x}\r\n{}\r\n", "x".repeat(RECEIVED_FIRST));
    let text = format!("{chunk}{chunk}{chunk}0\r\n\r\n");
    let mut body = RequestBody::new(chunks(text.leak().as_bytes()).await, true, u64::MAX, None);
    assert_eq!(receive(&mut body).await.unwrap(), None);
    let mut body = body.encoded(BodyEncoding::Plain);
    assert_eq!(rest(&mut body).await.len(), size);
    assert!(body.restart().is_none(), "it is too large to keep");
}

#[test]
fn kept_small_pieces_do_not_hold_the_buffers_they_were_read_into() {
    let (small, large) = (Bytes::from(vec![b's'; SMALL - 1]), Bytes::from(vec![b'l'; SMALL]));
    let mut kept = KeptBody::default();
    for piece in [&small, &small, &large, &small] {
        kept.push(piece);
    }
    kept.close_tail();
    let lengths: Vec<_> = kept.pieces.iter().map(Bytes::len).collect();
    assert_eq!(lengths, [2 * small.len(), large.len(), small.len()]);
    assert!(small.is_unique() && !large.is_unique());
}

#[tokio::test]
async fn the_body_of_a_request_that_must_not_be_retried_is_not_kept() {
    let mut body = RequestBody::new(chunks(b"1\r\na\r\n0\r\n\r\n").await, true, 10, None);
    body.forget();
    fill(&mut body).await.unwrap();
    assert!(body.content.as_ref().unwrap().kept.tail.is_empty() && body.restart().is_none());
}
