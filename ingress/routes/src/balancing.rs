//! How the endpoint of a request is chosen where no cookie decides it.

use std::num::NonZeroUsize;

use crate::digest::crc32_update;
use crate::exchange::Exchange;
use crate::template::{CompiledPart, CompiledText};
use crate::variables::RequestVariable;

/// How the endpoints of an upstream share its requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Balancing {
    /// They take turns.
    #[default]
    RoundRobin,
    /// The faster of two random ones, by moving averages of their response times.
    Ewma,
    /// A hash of the request decides.
    Hash(Box<HashBy>),
}

/// `upstream-hash-by`: requests with the same text go to the same endpoint, or to the same few of them.
#[derive(Clone, Debug, PartialEq)]
pub struct HashBy {
    /// The text.
    pub key: CompiledText<RequestVariable>,
    /// `upstream-hash-by-subset`: the text selects so many endpoints, of which each request gets a random one.
    pub subset_size: Option<NonZeroUsize>,
}

impl HashBy {
    /// The CRC-32 of the text's value, whose place on the hash ring selects the endpoint. Hot: allocates only for variables that are
    /// not part of the request, such as `$remote_addr`.
    pub(crate) fn hash(&self, exchange: &Exchange) -> u32 {
        let crc = self.key.parts().iter().fold(!0, |crc, part| match part {
            CompiledPart::Text(text) => crc32_update(crc, text.as_bytes()),
            CompiledPart::Variable(variable) => crc32_update(crc, variable.value(exchange).as_bytes()),
        });
        !crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::crc32;
    use crate::exchange::tests::get;

    #[test]
    fn the_hash_is_that_of_the_whole_text() {
        let exchange = get("http://shop.example/cart?user=7", &[("x-user", "ann"), ("cookie", "id=c1")]);
        for (text, value) in [
            ("$request_uri", "/cart?user=7"),
            ("$host-$arg_user", "shop.example-7"),
            ("${http_x_user}/$cookie_id/$remote_addr", "ann/c1/192.0.2.7"),
            ("$http_none", ""),
            ("fixed", "fixed"),
        ] {
            let key = CompiledText::compile(text, RequestVariable::parse).expect(text);
            assert_eq!(HashBy { key, subset_size: None }.hash(&exchange), crc32(value), "{text}");
        }
    }
}
