-- Where the data of a tenant or a dashboard comes from: a name that the API's operator gave a source. NULL is the API's own disk.
ALTER TABLE tenants ADD COLUMN source TEXT CHECK (source GLOB '[a-z0-9]*' AND length(source) <= 30);
ALTER TABLE dashboards ADD COLUMN source TEXT CHECK (source GLOB '[a-z0-9]*' AND length(source) <= 30);
