//! The demo shop.

use crate::site::Site;

const SHOP: &str = "http://shop.localhost:8080/";

pub(crate) fn the_page_shows_which_pod_answers_and_the_canary(site: &mut Site) {
    let browser = &mut site.browser;
    browser.open(SHOP);
    let pod = browser.text("pod");
    assert!(pod.starts_with("web-"), "{pod}");
    let mut pods = |canary: bool| {
        browser.evaluate(&format!("document.getElementById('canary').checked = {canary}"));
        browser.evaluate("document.getElementById('ask').click()");
        browser.wait_for("document.querySelectorAll('#answers li').length === 10");
        let pods =
            browser.evaluate("[...document.querySelectorAll('#answers li')].map((item) => item.textContent)");
        let pods = pods.as_array().expect("a list").clone();
        pods.into_iter().map(|pod| pod.as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let usual = pods(false);
    assert!(usual.iter().all(|pod| pod == "web-0" || pod == "web-1"), "{usual:?}");
    let canary = pods(true);
    assert!(canary.iter().all(|pod| pod == "web-canary-0"), "{canary:?}");
    // Each Pod has its colour.
    let colour = browser.evaluate("getComputedStyle(document.querySelector('#answers li')).backgroundColor");
    assert_eq!(colour, "rgb(179, 92, 0)");
    browser.screenshot("shop");
}

pub(crate) fn the_cart_stays_with_its_pod(site: &mut Site) {
    let browser = &mut site.browser;
    browser.open(SHOP);
    for lamps in 1..=8 {
        browser.evaluate("document.getElementById('add').click()");
        browser.wait_for(&format!("document.getElementById('cart').textContent.startsWith('{lamps} lamp')"));
    }
}
