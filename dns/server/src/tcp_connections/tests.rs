use std::time::Duration;

use futures_util::FutureExt;

use super::*;

fn table(
    connections: usize,
    connections_per_client: usize,
    buffered_bytes: usize,
) -> Arc<TcpConnectionTable> {
    let limits = TcpLimits { connections, connections_per_client, buffered_bytes };
    Arc::new(TcpConnectionTable::new(limits, &Registry::new()))
}

fn is_evicted(slot: &ConnectionSlot) -> bool {
    slot.evicted().now_or_never().is_some()
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_connection_is_evicted_and_none_in_use() {
    let table = table(3, 3, 0);
    let client = |last: u8| IpAddr::from([10, 0, 0, last]);
    let slots: Vec<_> = (1..=3).map(|last| table.admit(client(last)).unwrap()).collect();
    for (slot, idle) in slots.iter().zip([2, 1, 3]) {
        slot.set_idle(Instant::now() + Duration::from_secs(idle));
    }
    slots[1].set_in_use();
    let fourth = table.admit(client(4)).expect("the first one makes room");
    assert!(is_evicted(&slots[0]) && !is_evicted(&slots[2]));
    fourth.set_in_use();
    let fifth = table.admit(client(5)).expect("the third one makes room");
    assert!(is_evicted(&slots[2]));
    fifth.set_in_use();
    assert!(table.admit(client(6)).is_none(), "all are in use");
    drop(slots);
    assert!(table.admit(client(6)).is_some(), "a closed connection makes room");
}

#[tokio::test(start_paused = true)]
async fn a_candidate_that_was_used_since_is_not_evicted() {
    let table = table(2, 2, 0);
    let client = |last: u8| IpAddr::from([10, 0, 0, last]);
    let [first, second] = [1, 2].map(|last| table.admit(client(last)).unwrap());
    first.set_idle(Instant::now());
    second.set_idle(Instant::now() + Duration::from_secs(1));
    table.lock().find_candidates();
    first.set_idle(Instant::now() + Duration::from_secs(2));
    let _third = table.admit(client(3)).expect("the second one makes room");
    assert!(!is_evicted(&first) && is_evicted(&second));
}

#[tokio::test(start_paused = true)]
async fn a_client_at_its_limit_loses_its_own_idle_connection() {
    let table = table(8, 1, 0);
    let other = table.admit("10.0.0.9".parse().unwrap()).unwrap();
    for same in [["10.0.0.1", "::ffff:10.0.0.1"], ["2001:db8::1", "2001:db8::ffff:1"]] {
        let [first, second] = same.map(|address| table.admit(address.parse().unwrap()).unwrap());
        assert!(is_evicted(&first) && !is_evicted(&second), "{same:?}");
        second.set_in_use();
        assert!(table.admit(same[0].parse().unwrap()).is_none(), "{same:?}");
    }
    assert!(!is_evicted(&other));
}

#[tokio::test(start_paused = true)]
async fn buffered_bytes_are_counted_over_all_connections() {
    let table = table(8, 8, 100);
    let [mut first, mut second] = [1, 2].map(|last| table.admit([10, 0, 0, last].into()).unwrap());
    assert!(first.set_buffered(60) && !second.set_buffered(41));
    assert!(second.set_buffered(40) && first.set_buffered(50) && second.set_buffered(50));
    drop((first, second));
    assert_eq!(table.buffered.load(Relaxed), 0);
}

#[test]
fn the_default_limits_leave_descriptors_to_others() {
    let limits = TcpLimits::default();
    assert!(limits.connections <= DescriptorShares::of_process().clients.max(1));
    assert!((1..=limits.connections).contains(&limits.connections_per_client));
}
