-- The projection of the custom resources. Disposable: delete the file and the controller writes it anew.
CREATE TABLE tenants (
    id           TEXT PRIMARY KEY CHECK (id GLOB '[a-z0-9]*' AND length(id) <= 30),
    uid          TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    suspended    INTEGER NOT NULL CHECK (suspended IN (0, 1)),
    accent_color TEXT NOT NULL,
    logo_url     TEXT NOT NULL,
    concurrent_queries  INTEGER NOT NULL CHECK (concurrent_queries > 0),
    requests_per_second INTEGER NOT NULL CHECK (requests_per_second > 0),
    epoch        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind      TEXT NOT NULL CHECK (kind IN ('user', 'group')),
    subject   TEXT NOT NULL,
    roles     TEXT NOT NULL CHECK (json_valid(roles)),
    PRIMARY KEY (tenant_id, kind, subject)
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
    tenant_id TEXT NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    dashboard TEXT NOT NULL,
    position  INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, dashboard)
) STRICT, WITHOUT ROWID;

CREATE TABLE dashboards (
    slug        TEXT PRIMARY KEY CHECK (slug GLOB '[a-z0-9]*' AND length(slug) <= 30),
    uid         TEXT NOT NULL UNIQUE,
    title       TEXT NOT NULL,
    description TEXT NOT NULL,
    isolation   TEXT NOT NULL CHECK (isolation IN ('Shared', 'PerTenant')),
    datasets    TEXT NOT NULL CHECK (json_valid(datasets)),
    epoch       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE projection (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    epoch      INTEGER NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;
INSERT INTO projection (id, epoch, applied_at) VALUES (1, 0, 0);
