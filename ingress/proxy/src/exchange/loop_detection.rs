//! Recognises requests that have come back to this proxy by `CDN-Loop` (RFC 8586). It is sent where a request may come back: to ExternalName
//! Services and to authentication servers.

/// How often the proxy sends such a request on before it counts as a loop.
pub(crate) const MAX_PASSES: usize = 8;
/// This proxy's name in the field.
pub(crate) const LOOP_ID: &[u8] = b"portolan";

/// How often a request has passed through here, by the members of its field.
pub(crate) fn passes<'f>(members: impl Iterator<Item = &'f [u8]>) -> usize {
    members.filter(|id| id.eq_ignore_ascii_case(LOOP_ID)).count()
}
