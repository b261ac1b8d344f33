-- Whose pages, besides the portal's, may show a tenant's dashboards in a frame.
ALTER TABLE tenants ADD COLUMN allowed_origins TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(allowed_origins));
