-- Directives have a name, so that their owner can put one again, replace it and end it.

-- Name of the directive within its owner. NULL for a directive from before this column.
ALTER TABLE placement_directive ADD COLUMN key text;
ALTER TABLE placement_directive ADD CONSTRAINT placement_directive_owner_key UNIQUE (owner, key);
-- Finds the directives of an application when that application is deleted.
CREATE INDEX placement_directive_app ON placement_directive (app);
-- Finds the next directive that ends by itself.
CREATE INDEX placement_directive_until ON placement_directive (until);
