//! The two digests that ingress-nginx's balancer uses. Neither is used for security.

use md5::{Digest, Md5};

/// MD5 of several texts in sequence.
pub(crate) fn md5(parts: &[&str]) -> [u8; 16] {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part.as_bytes());
    }
    digest.finalize().into()
}

/// The bytes written as 32 lower-case hexadecimal digits. Upper case is refused, because ingress-nginx never writes it.
pub(crate) fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let is_lower_case = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_lower_case && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

/// CRC-32 (ISO 3309) as nginx computes it, without the final inversion.
pub(crate) fn crc32_update(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| CRC32[usize::from(crc as u8 ^ byte)] ^ (crc >> 8))
}

/// CRC-32 of a text.
pub(crate) fn crc32(text: &str) -> u32 {
    !crc32_update(!0, text.as_bytes())
}

const CRC32: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_known_ones() {
        assert_eq!(crc32("123456789"), 0xCBF4_3926);
        assert_eq!(hex::encode(md5(&["a", "bc"])), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(unhex("900150983cd24fb0d6963f7d28e17f72"), Some(md5(&["abc"])));
        for bad in ["", "900150983CD24FB0D6963F7D28E17F72", "x00150983cd24fb0d6963f7d28e17f72", "90"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
