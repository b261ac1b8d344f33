-- Precious: what people and workloads were given. Written only by the API. No token and no handle is stored, only digests.
CREATE TABLE sessions (
    handle_hash BLOB PRIMARY KEY CHECK (length(handle_hash) = 32),
    sid         TEXT NOT NULL UNIQUE,
    issuer      TEXT NOT NULL,
    subject     TEXT NOT NULL,
    email       TEXT,
    name        TEXT,
    groups      TEXT NOT NULL CHECK (json_valid(groups)),
    tenant_ids  TEXT NOT NULL CHECK (json_valid(tenant_ids)),
    csrf        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;

CREATE TABLE app_sessions (
    handle_hash BLOB PRIMARY KEY CHECK (length(handle_hash) = 32),
    sid         TEXT NOT NULL UNIQUE,
    session_sid TEXT NOT NULL REFERENCES sessions (sid) ON DELETE CASCADE,
    tenant_id   TEXT NOT NULL,
    tenant_uid  TEXT NOT NULL,
    dashboard   TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    ended_at    INTEGER
) STRICT;
CREATE INDEX app_sessions_by_session ON app_sessions (session_sid);

CREATE TABLE authorization_codes (
    code_hash      BLOB PRIMARY KEY CHECK (length(code_hash) = 32),
    session_sid    TEXT NOT NULL REFERENCES sessions (sid) ON DELETE CASCADE,
    tenant_id      TEXT NOT NULL,
    dashboard      TEXT NOT NULL,
    redirect_uri   TEXT NOT NULL,
    code_challenge TEXT NOT NULL,
    expires_at     INTEGER NOT NULL,
    app_sid        TEXT
) STRICT;

CREATE TABLE exchanges (
    sid        TEXT PRIMARY KEY,
    identity   TEXT NOT NULL CHECK (json_valid(identity)),
    tenant_id  TEXT NOT NULL,
    tenant_uid TEXT NOT NULL,
    dashboard  TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

CREATE TABLE revocations (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    at    INTEGER NOT NULL,
    event TEXT NOT NULL CHECK (json_valid(event))
) STRICT;

CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY,
    at_ms     INTEGER NOT NULL,
    decision  TEXT NOT NULL,
    action    TEXT NOT NULL,
    outcome   TEXT NOT NULL CHECK (outcome IN ('allowed', 'denied')),
    reason    TEXT NOT NULL,
    subject   TEXT,
    tenant    TEXT,
    dashboard TEXT,
    prev_hash BLOB NOT NULL,
    hash      BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_never_shortened BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
