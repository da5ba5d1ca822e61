-- What tells an order of the hub from an earlier state of the hub.

-- Objects of Applications that were deleted and forgotten. A hub that is restored from before shows them again. Rows older than
-- 90 days are pruned when one is added: longer than backups of a hub are kept.
CREATE TABLE forgotten_application (
  object_uid   text PRIMARY KEY,
  forgotten_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX forgotten_application_at ON forgotten_application (forgotten_at);

-- How often a person accepted an intent whose source was lost. An acceptance names this number, so none counts twice.
ALTER TABLE application ADD COLUMN acceptances bigint NOT NULL DEFAULT 0;

-- resourceVersion of the object as taken in; NULL for an object taken in before this column, until it is seen again. Labels do
-- not raise the generation.
ALTER TABLE cluster ADD COLUMN resource_version bigint;
ALTER TABLE cell ADD COLUMN resource_version bigint;
