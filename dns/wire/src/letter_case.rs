//! The letter case of the question. A reply has to repeat that of its query, so a random one is hard to forge
//! (draft-vixie-dnsext-dns0x20).

use crate::query::HEADER;

/// How a reply repeats the question of the query that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoedCase {
    /// With the letter case that was sent.
    Same,
    /// With another letter case.
    Changed,
    /// The reply has no question, or another one.
    OtherQuestion,
}

/// Changes the case of each letter of the question of an encoded query whose bit of `bits` is 1. After the last bit the first one
/// follows.
pub fn set_letter_case(message: &mut [u8], bits: &[u8]) {
    let mut bits = bits.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)).cycle();
    let mut at = HEADER;
    while let Some(length) = message.get(at).copied().filter(|length| *length > 0) {
        let label = at + 1..(at + 1 + usize::from(length)).min(message.len());
        for byte in &mut message[label] {
            if byte.is_ascii_alphabetic() && bits.next() == Some(true) {
                *byte ^= 0x20;
            }
        }
        at += 1 + usize::from(length);
    }
}

/// Compares the question name of a reply with that of the query as it was sent, and gives it the letter case of `name`, to
/// which other names of the reply may point.
pub fn restore_letter_case(reply: &mut [u8], sent: &[u8], name: &[u8]) -> EchoedCase {
    let end = HEADER + name.len();
    let (Some(echoed), Some(sent)) = (reply.get_mut(HEADER..end), sent.get(HEADER..end)) else {
        return EchoedCase::OtherQuestion;
    };
    // Length octets are below the letters, so that this compares names.
    if !echoed.eq_ignore_ascii_case(name) {
        return EchoedCase::OtherQuestion;
    }
    let same = echoed == sent;
    echoed.copy_from_slice(name);
    if same { EchoedCase::Same } else { EchoedCase::Changed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::rtype;
    use crate::{Owner, Query, Reply, Section};

    fn encoded(name: &str) -> (Query, Vec<u8>) {
        let query = Query::new(7, &name.parse().unwrap(), rtype::A);
        let mut message = vec![0; 512];
        let length = query.encode(7, &mut message);
        message.truncate(length);
        (query, message)
    }

    #[test]
    fn each_letter_whose_bit_is_1_changes_its_case() {
        for (name, bits, wanted) in [
            ("www.example.org.", &[0b1010_0101_u8, 0xff][..], "WwW.exAmPLE.ORG."),
            ("a-1.b2.", &[0b10], "a-1.B2."),
            ("www.", &[0], "www."),
            ("WwW.", &[0xff], "wWw."),
            (".", &[0xff], "."),
        ] {
            let (_, mut message) = encoded(name);
            set_letter_case(&mut message, bits);
            let (_, same) = encoded(wanted);
            assert_eq!(message, same, "{name}");
        }
    }

    #[test]
    fn a_reply_gets_the_letter_case_of_the_client_back() {
        let (query, original) = encoded("www.Example.org.");
        let mut sent = original.clone();
        set_letter_case(&mut sent, &[0x5a, 0xc3]);
        let mut reply = Reply::default();
        reply.push(Section::Answer, Owner::Question, rtype::A, 60, &[192, 0, 2, 1]);
        let mut packet = vec![0; 512];
        let length = reply.encode(&query, 512, &mut packet);
        packet.truncate(length);
        let with_name_of = |message: &[u8]| {
            let mut reply = packet.clone();
            reply[HEADER..HEADER + query.name().len()]
                .copy_from_slice(&message[HEADER..HEADER + query.name().len()]);
            reply
        };
        let other = encoded("www.example.net.").1;
        for (mut reply, wanted) in [
            (with_name_of(&sent), EchoedCase::Same),
            (with_name_of(&original), EchoedCase::Changed),
            (with_name_of(&original).to_ascii_lowercase(), EchoedCase::Changed),
        ] {
            assert_eq!(restore_letter_case(&mut reply, &sent, query.name()), wanted);
            assert_eq!(reply[HEADER..HEADER + query.name().len()], *query.name());
        }
        for mut reply in [with_name_of(&other), packet[..20].to_vec(), Vec::new()] {
            let before = reply.clone();
            let echoed = restore_letter_case(&mut reply, &sent, query.name());
            assert_eq!((echoed, reply), (EchoedCase::OtherQuestion, before));
        }
    }
}
