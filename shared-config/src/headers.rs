//! The names of headers and cookies that parts share, and the one rule which incoming headers are reserved.

use http::HeaderName;

/// The tenant that the sidecar resolved.
pub const TENANT: HeaderName = HeaderName::from_static("x-kyros-tenant");
/// The dashboard that the sidecar guards.
pub const DASHBOARD: HeaderName = HeaderName::from_static("x-kyros-dashboard");
/// The person's subject (`sub`).
pub const USER: HeaderName = HeaderName::from_static("x-kyros-user");
/// The person's e-mail address.
pub const EMAIL: HeaderName = HeaderName::from_static("x-kyros-email");
/// The person's roles in the tenant, separated by commas.
pub const ROLES: HeaderName = HeaderName::from_static("x-kyros-roles");
/// An opaque id that lives as long as the session; the sidecar's egress takes it in place of a token.
pub const SESSION: HeaderName = HeaderName::from_static("x-kyros-session");
/// The id of a decision, the same as in the audit log.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Client addresses, newest last.
pub const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `http` or `https`, as the client sees it.
pub const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the client asked for.
pub const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Paths under this prefix of a dashboard's host belong to the sidecar.
pub const SIDECAR_PREFIX: &str = "/.kyros/";
/// Where the portal sends the authorization code.
pub const CALLBACK_PATH: &str = "/.kyros/callback";

/// Names equal to one of these, once lower-cased and with `_` and `.` as `-`, come from outside only to deceive.
const RESERVED: [&str; 9] = [
    "authorization",
    "forwarded",
    "proxy",
    "remote-user",
    "tenant-id",
    "x-http-method-override",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];
/// Likewise for names that start with one of these.
const RESERVED_PREFIXES: [&str; 9] = [
    "proxy-",
    "x-auth-request-",
    "x-forwarded-",
    "x-kyros-",
    "x-original-",
    "x-remote-",
    "x-rewrite-",
    "x-scope-",
    "x-tenant",
];

/// Whether a header from outside must never reach a dashboard.
///
/// Refused first: any name with `_` or `.`, which WSGI and CGI servers fold into `-` (CVE-2025-64484), and any name that
/// folds to a reserved one. What is left is the dashboard's own business.
pub fn is_reserved(name: &str) -> bool {
    if name.bytes().any(|byte| matches!(byte, b'_' | b'.')) {
        return true;
    }
    // Asked of every header of every request: hardly any begins like a reserved one.
    let first = name.as_bytes().first().map(u8::to_ascii_lowercase);
    if !matches!(first, Some(b'a' | b'f' | b'p' | b'r' | b't' | b'x')) {
        return false;
    }
    let starts_with = |prefix: &&str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
        // Every prefix begins with one of these.
        || (matches!(first, Some(b'p' | b'x')) && RESERVED_PREFIXES.iter().any(starts_with))
}

/// Whether a header tries to choose a tenant. The tenant comes from the token alone, so this is an error, not a hint.
pub fn selects_tenant(name: &str) -> bool {
    // Asked of every header of every request, so nothing is copied.
    let folded = || name.bytes().map(|byte| if matches!(byte, b'_' | b'.') { b'-' } else { byte.to_ascii_lowercase() });
    let is = |wanted: &str| folded().eq(wanted.bytes());
    let prefix = "x-tenant";
    folded().take(prefix.len()).eq(prefix.bytes()) || is("x-kyros-tenant") || is("x-scope-orgid") || is("tenant-id")
}

/// Cookie names. Over https they carry the `__Host-` prefix, which a sibling host cannot set (RFC 6265bis, section 4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieNames {
    /// The portal's session.
    pub session: &'static str,
    /// The app session on a dashboard's host.
    pub app: &'static str,
    /// How the cookies of sign-ins under way on a dashboard's host begin (PKCE verifier and `state`, sealed).
    pub transaction: &'static str,
    /// The CSRF seed of forms shown before sign-in.
    pub csrf: &'static str,
    /// What the person opened last on the portal.
    pub recent: &'static str,
    /// Whether the person likes the portal light or dark.
    pub theme: &'static str,
}

impl CookieNames {
    /// The names for a public URL that is, or is not, served over https.
    pub const fn new(secure: bool) -> Self {
        if secure {
            Self {
                session: "__Host-kyros-session",
                app: "__Host-kyros-app",
                transaction: "__Host-kyros-tx",
                csrf: "__Host-kyros-csrf",
                recent: "__Host-kyros-recent",
                theme: "__Host-kyros-theme",
            }
        } else {
            Self {
                session: "kyros-session",
                app: "kyros-app",
                transaction: "kyros-tx",
                csrf: "kyros-csrf",
                recent: "kyros-recent",
                theme: "kyros-theme",
            }
        }
    }
}

/// Whether a cookie belongs to Kyros and must not reach a dashboard, nor be set by one.
pub fn is_kyros_cookie(name: &str) -> bool {
    // Without regard to case or quotes: how a dashboard's library reads a name is its own affair.
    let name = name.trim_start_matches('"');
    let without = |prefix: &str| name.get(..prefix.len()).filter(|start| start.eq_ignore_ascii_case(prefix));
    let prefix = without("__Host-").or_else(|| without("__Secure-")).map_or(0, str::len);
    let bare = &name[prefix..];
    bare.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("kyros-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_identity_header_is_reserved() {
        for name in [
            "X-Kyros-Tenant",
            "x_kyros_tenant",
            "X.Kyros.Tenant",
            "x-kyros-anything",
            "Authorization",
            "X-Forwarded-For",
            "Forwarded",
            "Remote-User",
            "X-Request-Id",
            "some_header",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["accept", "cookie", "host", "x-custom", "sec-websocket-key", "traceparent"] {
            assert!(!is_reserved(name), "{name}");
        }
    }

    #[test]
    fn headers_that_choose_a_tenant_are_recognised() {
        for name in
            ["X-Tenant", "x-tenant-id", "X_Tenant_Id", "x.tenants", "X-Kyros-Tenant", "X_Scope-OrgID", "TENANT.ID"]
        {
            assert!(selects_tenant(name), "{name}");
        }
        for name in ["x-kyros-session", "x-tenan", "tenant", "tenant-ids", "x-scope", ""] {
            assert!(!selects_tenant(name), "{name}");
        }
        for name in ["Tenant-Id", "X-Tenant", "X-Scope-OrgID"] {
            assert!(is_reserved(name), "{name} reaches a dashboard");
        }
    }

    #[test]
    fn cookies_of_kyros_are_known_under_every_prefix() {
        for name in ["kyros-session", "__Host-kyros-app", "__Secure-kyros-x", "KYROS-app"] {
            assert!(is_kyros_cookie(name), "{name}");
        }
        assert!(!is_kyros_cookie("session"));
        assert!(!is_kyros_cookie("kyros"));
    }
}
