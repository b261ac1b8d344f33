-- Which version of a resource a row shows: what the drift check compares with the cluster.
ALTER TABLE tenants ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dashboards ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
