use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Wake;

use super::request_hold::RECEIVED_OF_CONNECTION;
use super::*;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

const LARGE: usize = 64 * 1024;

fn budget(limit: usize) -> Rc<BufferBudget> {
    BufferBudget::new(limit, 1, Arc::default())
}

fn piece(length: usize) -> Bytes {
    vec![0; length].into()
}

fn allowance(charge: &Rc<BufferCharge>) -> Poll<usize> {
    charge.poll_allowance(&mut Context::from_waker(Waker::noop()), LARGE)
}

#[test]
fn the_bytes_buffered_for_a_slow_client_are_bounded() {
    let budget = budget(64 << 20);
    let connection = BufferUse::new(budget.clone());
    let charge = BufferCharge::new(connection.clone());
    let mut pieces = Vec::new();
    while let Poll::Ready(allowed) = allowance(&charge) {
        pieces.push(charge.charge(piece(allowed)));
    }
    assert_eq!((connection.bytes(), budget.used.get()), (CONNECTION, CONNECTION));
    // Another stream of the connection may buffer one small piece, and no more.
    let other = BufferCharge::new(connection.clone());
    assert_eq!(allowance(&other), Poll::Ready(SMALL_PIECE));
    pieces.push(other.charge(piece(SMALL_PIECE)));
    assert_eq!(allowance(&other), Poll::Pending);
    pieces.clear();
    assert_eq!((connection.bytes(), budget.used.get()), (0, 0));
    assert_eq!(allowance(&other), Poll::Ready(LARGE));
}

#[test]
fn a_waiting_response_continues_when_the_client_has_taken_half() {
    let connection = BufferUse::new(budget(64 << 20));
    let (charge, other) = (BufferCharge::new(connection.clone()), BufferCharge::new(connection));
    let _rest = charge.charge(piece(CONNECTION / 2));
    let mut first = charge.charge(piece(CONNECTION / 2));
    let _small = other.charge(piece(1));
    let woken = Arc::new(Woken::default());
    let waker = woken.clone().into();
    assert_eq!(other.poll_allowance(&mut Context::from_waker(&waker), LARGE), Poll::Pending);
    first.advance(CONNECTION / 2);
    assert!(!woken.0.load(Relaxed), "a byte more than half is left");
    drop(_rest);
    assert!(woken.0.load(Relaxed));
}

#[test]
fn in_a_tight_budget_each_response_has_one_small_piece() {
    let budget = budget(16 << 20);
    let (first, second) = (BufferUse::new(budget.clone()), BufferUse::new(budget.clone()));
    let large = BufferCharge::new(first).charge(piece((8 << 20) + 1));
    assert!(budget.is_tight() && budget.excess() == 0);
    let charge = BufferCharge::new(second);
    assert_eq!(allowance(&charge), Poll::Ready(SMALL_PIECE));
    let mut small = charge.charge(piece(SMALL_PIECE));
    let woken = Arc::new(Woken::default());
    let waker = woken.clone().into();
    assert_eq!(charge.poll_allowance(&mut Context::from_waker(&waker), LARGE), Poll::Pending);
    small.advance(SMALL_PIECE);
    assert!(woken.0.load(Relaxed), "its own piece is written");
    drop(large);
    assert_eq!(allowance(&charge), Poll::Ready(LARGE));
}

#[test]
fn a_piece_of_an_http1_response_counts_while_it_waits() {
    let budget = budget(16 << 20);
    let connection = BufferUse::new(budget.clone());
    let mut buffered = Buffered::new(connection.clone());
    buffered.release_to(5);
    assert_eq!((connection.bytes(), buffered.allowance()), (0, usize::MAX));
    buffered.hold((8 << 20) + 1);
    assert_eq!(buffered.allowance(), SMALL_PIECE);
    buffered.hold(7);
    buffered.release_to(9);
    assert_eq!((connection.bytes(), budget.used.get()), (7, 7));
    buffered.hold(9);
    buffered.release_to(3);
    assert_eq!((connection.bytes(), budget.used.get()), (3, 3));
    drop(buffered);
    assert_eq!((connection.bytes(), budget.used.get()), (0, 0));
}

#[tokio::test]
async fn an_exceeded_budget_is_reported() {
    let budget = budget(16 << 20);
    let connection = BufferUse::new(budget.clone());
    let _most = BufferCharge::new(connection.clone()).charge(piece(16 << 20));
    let exceeding = async {
        tokio::task::yield_now().await;
        BufferCharge::new(connection).charge(piece(1))
    };
    let ((), _last) = tokio::join!(budget.exceeded(), exceeding);
    assert_eq!(budget.excess(), 1);
}

#[test]
fn unread_bodies_count_until_no_request_is_open() {
    let budget = budget(16 << 20);
    let connection = BufferUse::new(budget.clone());
    connection.receive(1000);
    connection.take(600);
    assert_eq!((connection.bytes(), budget.used.get()), (400, 400));
    connection.take(600);
    assert_eq!(connection.bytes(), 0, "never more than was received");
    for _ in 0..20 {
        connection.receive(1 << 20);
    }
    assert_eq!(connection.bytes(), UPLOAD_WINDOW as usize, "bodies that were dropped do not add up");
    assert_eq!(budget.excess(), 0);
    connection.forget_received();
    assert_eq!((connection.bytes(), budget.used.get()), (0, 0));
    connection.receive(5);
    drop(connection);
    assert_eq!(budget.used.get(), 0, "a closed connection buffers nothing");
}

#[test]
fn kept_bytes_count_and_none_are_kept_when_the_budget_is_tight() {
    let budget = budget(1000);
    let connection = BufferUse::new(budget.clone());
    let mut hold = BufferHold::new(connection.clone());
    assert!(hold.add(501));
    assert!(!hold.add(1));
    assert_eq!(connection.bytes(), 501);
    hold.clear();
    assert!(hold.add(1));
    drop(hold);
    assert_eq!((connection.bytes(), budget.used.get()), (0, 0));
}

#[test]
fn bodies_that_are_received_first_leave_room_for_responses() {
    let budget = budget(16 << 20);
    let connection = BufferUse::new(budget.clone());
    let mut hold = BufferHold::new(connection.clone());
    assert!(hold.add_received(RECEIVED_OF_CONNECTION));
    assert!(!hold.add_received(1), "the part of a connection");
    let mut others: Vec<_> = (0..3).map(|_| BufferHold::new(BufferUse::new(budget.clone()))).collect();
    let held: Vec<_> = others.iter_mut().map(|hold| hold.add_received(RECEIVED_OF_CONNECTION)).collect();
    assert_eq!(held, [true, true, false], "a quarter of the budget, which was exceeded by one body");
    assert!(!connection.is_tight());
}

#[test]
fn the_metrics_show_the_bytes_of_all_workers() {
    let shown = Arc::new(AtomicU64::new(0));
    let workers = [(); 2].map(|()| BufferUse::new(BufferBudget::new(64 << 20, 2, shown.clone())));
    for worker in &workers {
        worker.receive(5);
        worker.budget.show();
    }
    assert_eq!(shown.load(Relaxed), 10);
    let [one, two] = workers;
    drop(one);
    assert_eq!(shown.load(Relaxed), 5);
    drop(two);
    assert_eq!(shown.load(Relaxed), 0);
}
