//! What browsers do beside loading pages, through the proxy.

use crate::site::Site;

const STREAMS: &str = "https://streams.localhost:8443";

pub(crate) fn the_browser_speaks_http2_with_the_proxy(site: &mut Site) {
    site.browser.open(&format!("{STREAMS}/page"));
    let protocol = site.browser.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol");
    assert_eq!(protocol, "h2");
}

pub(crate) fn a_websocket_sends_messages_both_ways(site: &mut Site) {
    site.browser.open(&format!("{STREAMS}/page"));
    let answers = site.browser.evaluate(
        "new Promise((resolve, reject) => {
            const answers = [];
            const socket = new WebSocket('wss://streams.localhost:8443/socket');
            socket.onopen = () => socket.send('first');
            socket.onmessage = ({ data }) => {
                answers.push(data);
                if (answers.length === 2) resolve(answers);
                else socket.send('second');
            };
            socket.onerror = () => reject(new Error('the socket failed'));
        })",
    );
    assert_eq!(answers, serde_json::json!(["1 first", "2 second"]));
}

pub(crate) fn server_sent_events_arrive_one_by_one(site: &mut Site) {
    site.browser.open(&format!("{STREAMS}/page"));
    // Of ten events, sent within a second, none may wait for the next ones.
    let times = site.browser.evaluate(
        "new Promise((resolve) => {
            const times = [];
            const events = new EventSource('/events');
            events.onmessage = () => {
                times.push(performance.now());
                if (times.length === 10) { events.close(); resolve(times.map((time) => time - times[0])); }
            };
        })",
    );
    let times: Vec<f64> = times.as_array().expect("a list").iter().filter_map(|time| time.as_f64()).collect();
    assert!(times.len() == 10 && times[9] > 300.0, "they arrived together: {times:?}");
}

pub(crate) fn an_upload_of_ten_megabytes_arrives(site: &mut Site) {
    site.browser.open(&format!("{STREAMS}/page"));
    let answer = site.browser.evaluate(
        "(async () => {
            const response = await fetch('/upload', { method: 'POST', body: new Blob([new Uint8Array(10000000)]) });
            return await response.text();
        })()",
    );
    assert_eq!(answer, "/upload 10000000\n");
}
