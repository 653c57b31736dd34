//! Basic authentication: users and the hashes of their passwords from a Secret.

use std::hash::BuildHasher;
use std::sync::{Arc, LazyLock};

use cluster::{Key, Secret};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};

use super::authentication::{is_exempt, namespace_error};
use super::{Annotation, AnnotationFamily, Rule, SettingReader, Settings};
use crate::credentials::BasicCredentials;
use crate::exchange::Exchange;
use crate::password::PasswordHash;
use crate::plan::Plan;
use crate::plan::access::{AccessOutcome, AccessRule, Services};
use crate::plan::filter::{DirectResponse, RequestHeadFilter};
use crate::plan::head_edits::HeadEdits;
use crate::plan::password_check::PasswordCheck;
use crate::plan::phase::Phase;
use crate::problem::Effect;

pub(super) const FAMILY: AnnotationFamily = AnnotationFamily {
    name: "basic auth",
    doc: "Basic authentication. The Secret is followed; without it, and with an invalid value, the routes answer 503. Hashes are \
          bcrypt, SHA-crypt (`$5$`, `$6$`), MD5-crypt (`$apr1$`, `$1$`), `{SHA}`, `{SSHA}` or `{PLAIN}`; a user with another one, \
          or with one that takes seconds to check, is reported and refused. Endpoints do not get the password.",
    annotations: &[
        Annotation {
            name: "auth-type",
            values: "basic",
            doc: "Requires a user name and password. `digest` is not supported, and closes the routes.",
        },
        Annotation {
            name: "auth-secret",
            values: "namespace/name or the name of a Secret in the namespace of the Ingress",
            doc: "The users. A Secret of another namespace needs the key allow-cross-namespace-resources.",
        },
        Annotation {
            name: "auth-secret-type",
            values: "auth-file, auth-map; default auth-file",
            doc: "`auth-file`: the entry `auth` has lines of htpasswd; `auth-map`: each entry is a user with the hash as value.",
        },
        Annotation {
            name: "auth-realm",
            values: "text",
            doc: "The name that clients show when they ask for the password.",
        },
    ],
    phases: &[Phase::Access, Phase::UpstreamRequest],
    syntax: "auth-type: basic\n\
             auth-secret: users\n\
             auth-secret-type: auth-map\n\
             auth-realm: Members only",
    read,
    plan,
    ..AnnotationFamily::NONE
};

const TYPE: &str = "auth-type";
const SECRET: &str = "auth-secret";
const SECRET_TYPE: &str = "auth-secret-type";
const REALM: &str = "auth-realm";

/// The annotations of an Ingress.
#[derive(Debug, PartialEq)]
struct BasicAuth {
    secret: Key,
    /// Why there are no users. Reported only if the Ingress may read the Secret.
    users: Result<Arc<Users>, String>,
    /// The value of `WWW-Authenticate`.
    challenge: HeaderValue,
}

/// Users and hashes.
#[derive(PartialEq)]
struct Users {
    /// Sorted by name.
    users: Box<[(String, Arc<PasswordHash>)]>,
    /// Differs between different users and hashes.
    fingerprint: u64,
}

/// Plans are compared by their `Debug` text, so it differs for different users, and tells nothing about their passwords.
impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Users({}, {:x})", self.users.len(), self.fingerprint)
    }
}

impl Users {
    /// Of a user with several hashes the first counts, as in nginx.
    fn new(mut users: Vec<(String, Arc<PasswordHash>)>) -> Self {
        static HASHER: LazyLock<foldhash::quality::RandomState> = LazyLock::new(Default::default);
        users.sort_by(|one, other| one.0.cmp(&other.0));
        users.dedup_by(|later, first| later.0 == first.0);
        let texts: Vec<_> = users.iter().map(|(user, hash)| (user, hash.text())).collect();
        let fingerprint = HASHER.hash_one(texts);
        Self { users: users.into(), fingerprint }
    }

    fn hash(&self, user: &str) -> Option<&Arc<PasswordHash>> {
        let at = self.users.binary_search_by(|(known, _)| known.as_str().cmp(user)).ok()?;
        Some(&self.users[at].1)
    }
}

fn read(reader: &mut SettingReader<'_>, settings: &mut Settings) {
    let kind = |value: &str| (value == "basic").then_some(());
    if reader.text(TYPE).is_none() {
        if let Some(name) = [SECRET, REALM, SECRET_TYPE].into_iter().find(|name| reader.text(name).is_some())
        {
            reader.problem(name, "has no effect without auth-type".into(), Effect::Differs);
        }
        return;
    }
    if reader.value(TYPE, "basic (digest is not supported)", Effect::Closed, kind).is_none() {
        return;
    }
    let is_map = |value: &str| match value {
        "auth-file" => Some(false),
        "auth-map" => Some(true),
        _ => None,
    };
    let is_map = match reader.text(SECRET_TYPE) {
        None => Some(false),
        Some(_) => reader.value(SECRET_TYPE, "auth-file or auth-map", Effect::Closed, is_map),
    };
    let Some(value) = reader.text(SECRET) else {
        reader.problem(TYPE, "needs auth-secret".into(), Effect::Closed);
        return;
    };
    let named = reader.object_key(value);
    let named =
        reader.value(SECRET, "the name of a Secret, or its namespace/name", Effect::Closed, |_| named);
    let (Some(is_map), Some(secret)) = (is_map, named) else { return };
    let users = match reader.secret(&secret) {
        None => Err(format!("Secret {secret} does not exist")),
        Some(found) => users(reader, found, is_map),
    };
    // Other namespaces' Secrets are not described before it is known that they may be read.
    if let Err(what) = &users
        && secret.namespace == reader.namespace()
    {
        reader.problem(SECRET, what.clone(), Effect::Closed);
    }
    let challenge = reader.value(REALM, "text that can be in a header", Effect::DefaultUsed, challenge);
    let challenge = challenge.unwrap_or_else(|| HeaderValue::from_static("Basic realm=\"\""));
    settings.values.set(BasicAuth { secret, users, challenge });
}

fn challenge(realm: &str) -> Option<HeaderValue> {
    let escaped = realm.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_bytes(format!("Basic realm=\"{escaped}\"").as_bytes()).ok()
}

/// The users of a Secret. Those with an invalid hash are left out.
fn users(reader: &mut SettingReader<'_>, secret: &Secret, is_map: bool) -> Result<Arc<Users>, String> {
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let pairs: Vec<(&str, &str)> = if is_map {
        secret.other.iter().map(|(user, hash)| (user.as_str(), text(hash))).collect()
    } else {
        let file = secret.entry("auth").ok_or_else(|| format!("Secret {} has no entry auth", secret.key))?;
        let lines = file.split(|byte| *byte == b'\n').map(text);
        let lines = lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        // What follows a second colon is a comment.
        lines.map(|line| line.split_once(':').unwrap_or((line, ""))).collect()
    };
    let mut invalid = Vec::new();
    let mut valid = Vec::with_capacity(pairs.len());
    for (user, hash) in pairs {
        let hash = hash.trim_end();
        let hash = if is_map { hash } else { hash.split(':').next().unwrap_or_default() };
        match PasswordHash::parse(hash) {
            Some(hash) => valid.push((user.to_owned(), Arc::new(hash))),
            None => invalid.push(user),
        }
    }
    if let Some(first) = invalid.first() {
        let more = match invalid.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let what =
            format!("the password hash of user {first:?}{more} in Secret {} is not supported", secret.key);
        reader.problem(SECRET, what, Effect::LeftOut);
    }
    Ok(Arc::new(Users::new(valid)))
}

fn plan(settings: &Settings, rule: &Rule<'_>, plan: &mut Plan) {
    let Some(auth) = settings.values.get::<BasicAuth>() else { return };
    if let Some(what) = namespace_error(rule, "Secret", &auth.secret) {
        plan.closed = Some((SECRET, what));
        return;
    }
    match &auth.users {
        // If the Secret is in the namespace of the Ingress, the Ingress is closed already.
        Err(what) if rule.ingress.is_none_or(|ingress| ingress.namespace != auth.secret.namespace) => {
            plan.closed = Some((SECRET, what.clone()));
        }
        Err(_) => {}
        Ok(_) if is_exempt(rule) => {}
        Ok(users) => {
            let (users, challenge) = (users.clone(), auth.challenge.clone());
            plan.access.rules.push(Box::new(BasicAuthRule { users, challenge }));
            // First, so that other settings may still set the field.
            plan.request_head.insert(0, Box::new(WithoutPassword));
        }
    }
}

/// nginx's `auth_basic`.
#[derive(Debug)]
struct BasicAuthRule {
    users: Arc<Users>,
    challenge: HeaderValue,
}

impl BasicAuthRule {
    fn outcome(&self, is_valid: bool) -> AccessOutcome {
        if is_valid {
            return AccessOutcome::Allow;
        }
        let response = DirectResponse::status(StatusCode::UNAUTHORIZED);
        AccessOutcome::Refuse(response.with(WWW_AUTHENTICATE, self.challenge.clone()))
    }
}

impl AccessRule for BasicAuthRule {
    // Hot: no allocation for a password that is remembered.
    fn check(&self, exchange: &mut Exchange, services: &dyn Services) -> AccessOutcome {
        let Some(credentials) = BasicCredentials::of(exchange) else { return self.outcome(false) };
        // No user has a name that is not UTF-8.
        let Ok(user) = std::str::from_utf8(credentials.user()) else { return self.outcome(false) };
        let password = credentials.password();
        match self.users.hash(user) {
            None => self.outcome(false),
            Some(hash) if hash.is_fast() => self.outcome(hash.verify(password)),
            Some(hash) if services.remembers(&hash.remembered, password) => AccessOutcome::Allow,
            Some(hash) => {
                let check = PasswordCheck::new(user.to_owned(), hash.clone(), password.to_vec());
                AccessOutcome::Verify(Box::new(check))
            }
        }
    }

    fn verified(&self, _: &mut Exchange, is_valid: bool) -> AccessOutcome {
        self.outcome(is_valid)
    }
}

/// Endpoints do not get the password.
#[derive(Debug)]
struct WithoutPassword;

impl RequestHeadFilter for WithoutPassword {
    fn edit<'r>(&'r self, _: &'r Exchange, edits: &mut HeadEdits<'r>) {
        edits.remove("Authorization");
    }
}

#[cfg(test)]
mod tests;
