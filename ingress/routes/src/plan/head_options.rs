//! Which header fields the proxy passes on, apart from the changes of filters.

/// Which header fields the proxy passes on and which it makes itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadOptions {
    /// The names of fields that clients may send to endpoints.
    pub names: FieldNames,
    /// A request without X-Request-ID gets one.
    pub makes_request_ids: bool,
    /// The Server field of endpoints is passed on.
    pub passes_server: bool,
}

/// ingress-nginx's defaults.
impl Default for HeadOptions {
    fn default() -> Self {
        Self { names: FieldNames::Plain, makes_request_ids: true, passes_server: false }
    }
}

/// The names of fields that are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldNames {
    /// Letters, digits and hyphens.
    Plain,
    /// Also underscores.
    WithUnderscores,
    /// Every name that HTTP allows (RFC 9110 §5.1).
    All,
}

impl FieldNames {
    /// Whether fields of a name, which HTTP allows, are passed on.
    pub fn contain(self, name: &[u8]) -> bool {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        match self {
            Self::Plain => name.iter().all(is_plain),
            Self::WithUnderscores => name.iter().all(|byte| is_plain(byte) || *byte == b'_'),
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FieldNames::{self, All, Plain, WithUnderscores};

    #[test]
    fn names_are_passed_on_as_configured() {
        let passed = |name: &[u8]| [Plain, WithUnderscores, All].map(|names: FieldNames| names.contain(name));
        assert_eq!(passed(b"X-Name9"), [true; 3]);
        assert_eq!(passed(b"my_name"), [false, true, true]);
        assert_eq!(passed(b"x.y!"), [false, false, true]);
    }
}
