//! Entry points of the fuzz targets: each takes arbitrary bytes and asserts what must always hold.

mod chunks;
mod heads;
mod records;

pub use chunks::chunked_body;
pub use heads::{cgi_head, head_writer, request_head, response_head};
pub use records::{client_hello, fastcgi, proxy_protocol};

#[cfg(test)]
mod tests {
    type EntryPoint = fn(&[u8]);

    #[test]
    fn the_kept_inputs_pass() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        let targets: [(&str, EntryPoint); 8] = [
            ("request_head", super::request_head),
            ("response_head", super::response_head),
            ("cgi_head", super::cgi_head),
            ("head_writer", super::head_writer),
            ("chunked_body", super::chunked_body),
            ("proxy_protocol", super::proxy_protocol),
            ("client_hello", super::client_hello),
            ("fastcgi", super::fastcgi),
        ];
        for (name, target) in targets {
            let inputs: Vec<_> = std::fs::read_dir(corpus.join(name)).expect(name).flatten().collect();
            assert!(!inputs.is_empty(), "{name} has inputs");
            for input in inputs {
                target(&std::fs::read(input.path()).expect("a kept input is readable"));
            }
        }
    }
}
