//! The known directives, one file a group.

mod access;
mod main_context;
mod headers;
mod proxying;
mod refused;
mod rewriting;

pub(super) use self::access::ACCESS;
pub(super) use self::headers::HEADERS;
pub(super) use self::main_context::MAIN;
pub(super) use self::proxying::{PROXYING, WITHOUT_EFFECT};
pub(super) use self::refused::REFUSED;
pub(super) use self::rewriting::{REWRITING, condition};
